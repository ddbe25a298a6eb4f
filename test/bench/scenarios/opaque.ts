/** Opaque TCP: what a megabyte through established tunnels costs, over one plain hop and through a pair with mutual TLS. */
import { compareCpu } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import type { Kind } from '../peer.ts';
import { weft } from '../peers/weft.ts';
import { type Line, ratioLine } from '../report.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { readStream } from '../stream.ts';

const CONNECTIONS = 4;

export const opaque: Scenario = {
  name: 'opaque',
  isQuick: false,
  async run(bench) {
    return [
      ...(await measure(bench, 'tunnel', 'opaque TCP, MB per CPU second')),
      ...(await measure(bench, 'tunnelPair', 'opaque TCP, pair with mTLS, MB per CPU second')),
    ];
  },
};

function measure(bench: Bench, kind: Kind, name: string): Promise<Line[]> {
  return withDeployments(bench, [weft, ...bench.peers], kind, async (subjects) => {
    const costs = await compareCpu(
      subjects,
      ({ port, preamble }) => readStream(port, preamble, CONNECTIONS, bench.seconds * 1_000),
      bench.blocks,
    );
    const [first, ...others] = costs;
    // Bytes per CPU microsecond are megabytes per CPU second.
    return others.map(({ name: peer, micros, ratio }) => {
      const rates = { weft: 1 / (first?.micros ?? Number.NaN), peerFigure: 1 / micros };
      return ratioLine({ name, unit: 'MB', peer, ...rates }, ratio);
    });
  });
}
