/** Mutual TLS handshakes, full and resumed: what one costs the accepting side. */
import { compareCpu } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import { bareTls } from '../peers/bare-tls.ts';
import { weft } from '../peers/weft.ts';
import { type Line, ratioLine } from '../report.ts';
import type { Scenario } from '../scenario.ts';
import { callerContext, shakeHands, takeTicket } from '../tls-load.ts';

const PARALLEL = 8;
/** Four fifths of the handshakes that `node:tls` by itself does in the same CPU time. */
const MOST_OF_BARE = 1.25;

export const handshakes: Scenario = {
  name: 'handshakes',
  isQuick: false,
  run: (bench) =>
    withDeployments(bench, [weft, bareTls, ...bench.peers], 'callee', async (subjects) => {
      const context = callerContext(bench.site.callerCerts);
      const lines: Line[] = [];
      for (const kind of ['full', 'resumed']) {
        const costs = await compareCpu(
          subjects,
          async ({ port }) => {
            const ticket = kind === 'resumed' ? await takeTicket(port, context) : undefined;
            return shakeHands(port, context, ticket, PARALLEL, bench.seconds * 1_000);
          },
          bench.blocks,
        );
        const [first, ...others] = costs;
        for (const { name, micros, ratio } of others) {
          const figures = { name: `${kind} mTLS handshake`, unit: 'µs', weft: first?.micros ?? Number.NaN };
          const bounds = name === bareTls.name ? { target: MOST_OF_BARE } : {};
          lines.push(ratioLine({ ...figures, peer: name, peerFigure: micros }, ratio, bounds));
        }
      }
      return lines;
    }),
};
