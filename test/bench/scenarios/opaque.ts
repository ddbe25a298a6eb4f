/** Opaque TCP: what a megabyte through an established tunnel costs. */
import { compareCpu } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import { weft } from '../peers/weft.ts';
import { ratioLine } from '../report.ts';
import type { Scenario } from '../scenario.ts';
import { readStream } from '../stream.ts';

const CONNECTIONS = 4;

export const opaque: Scenario = {
  name: 'opaque',
  isQuick: false,
  run: (bench) =>
    withDeployments(bench.site, [weft, ...bench.peers], 'tunnel', async (subjects) => {
      const costs = await compareCpu(
        subjects,
        ({ port, preamble }) => readStream(port, preamble, CONNECTIONS, bench.seconds * 1_000),
        bench.blocks,
      );
      const [first, ...others] = costs;
      // Bytes per CPU microsecond are megabytes per CPU second.
      return others.map(({ name, micros, ratio }) => {
        const rates = { weft: 1 / (first?.micros ?? Number.NaN), peerFigure: 1 / micros };
        return ratioLine({ name: 'opaque TCP, MB per CPU second', unit: 'MB', peer: name, ...rates }, ratio);
      });
    }),
};
