/** What a pair of proxies adds to the slowest percent of requests at a modest, even rate. */

import { openLoop, quantile } from '../../support/load.ts';
import { forthAndBack, median, type Subject } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import { weft } from '../peers/weft.ts';
import { differenceLine } from '../report.ts';
import type { Bench, Scenario } from '../scenario.ts';

const RATE = 1_000;
const CONNECTIONS = 16;

export const latency: Scenario = {
  name: 'latency',
  isQuick: false,
  run: (bench) =>
    withDeployments(bench.site, [weft, ...bench.peers], 'pair', async (pairs) => {
      const none = async (): Promise<void> => undefined;
      const direct = { port: bench.site.origin.port, host: 'backend', preamble: '', pids: [], stop: none };
      const subjects = [{ name: 'direct', deployment: direct }, ...pairs];
      for (const subject of pairs) await p99(bench, subject);
      const added: number[][] = pairs.map(() => []);
      for (let block = 0; block < bench.blocks; block += 1) {
        const times = subjects.map(() => 0);
        for (const index of forthAndBack(subjects.length)) {
          const subject = subjects[index];
          if (subject !== undefined) times[index] = (times[index] ?? 0) + (await p99(bench, subject)) / 2;
        }
        added.forEach((list, index) => list.push((times[index + 1] ?? Number.NaN) - (times[0] ?? Number.NaN)));
      }
      const [own = Number.NaN, ...others] = added.map(median);
      return others.map((figure, index) => {
        const peer = pairs[index + 1]?.name ?? '';
        const figures = { name: 'p99 added by the pair, 1000 req/s', unit: 'ms', weft: own, peer, peerFigure: figure };
        return differenceLine(figures, own - figure, peer === 'nginx' ? { target: 0 } : {});
      });
    }),
};

async function p99(bench: Bench, { name, deployment }: Subject): Promise<number> {
  const { port, host } = deployment;
  const durationMs = bench.seconds * 2_000;
  const report = await openLoop({
    port,
    path: '/1k',
    headers: { host },
    connections: CONNECTIONS,
    rate: RATE,
    durationMs,
  });
  if (report.failures.size > 0) throw new Error(`${name}: ${JSON.stringify([...report.failures])}`);
  return quantile(report.latencies, 0.99);
}
