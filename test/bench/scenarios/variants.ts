/** What a feature costs: weft with it beside weft without it, on the plain hop. */
import { compareCpu } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import { weftPeer } from '../peers/weft.ts';
import { routePath } from '../policies.ts';
import { type Bounds, differenceLine, type Line, ratioLine } from '../report.ts';
import { wrkLoad } from '../requests.ts';
import type { Bench, Scenario } from '../scenario.ts';

const few = weftPeer({ name: 'weft, 10 routes', routes: 10 });
const many = weftPeer({ name: 'weft, 1000 routes', routes: 1000 });

/** Each sidecar is asked over all of its routes in turn, so it is wrk's script that differs, not only the policy. */
export const routes: Scenario = {
  name: 'routes',
  isQuick: false,
  run: (bench) =>
    withDeployments(bench, [many, few], 'hop', async (subjects) => {
      const label = '1000 routes, 64 connections, 1 KB';
      const all = [1000, 10].map((count) => Array.from({ length: count }, (_, index) => routePath(index)));
      const costs = await compareCpu(
        subjects,
        (deployment) => {
          const paths = all[subjects[0]?.deployment === deployment ? 0 : 1] ?? [];
          return wrkLoad(bench, { label, connections: 64, paths, bounds: {} })(deployment);
        },
        bench.blocks,
      );
      return [asRatio(label, costs, { target: 1.05 })];
    }),
};

export const tracing: Scenario = {
  name: 'tracing',
  isQuick: false,
  async run(bench) {
    const label = 'tracing at 1 %, 64 connections, 1 KB';
    const pair = [weftPeer({ name: 'weft, traced' }), weftPeer({ name: 'weft, no tracing', tracing: false })];
    return [asRatio(label, await costsOf(bench, label, pair), { target: 1.03 })];
  },
};

export const accessLog: Scenario = {
  name: 'access-log',
  isQuick: false,
  async run(bench) {
    const name = 'JSON access log, 64 connections, 1 KB';
    const pair = [weftPeer({ name: 'weft, JSON log', accessLog: 'json' }), weftPeer({ name: 'weft, no log' })];
    const [logged, silent] = await costsOf(bench, name, pair);
    if (logged === undefined || silent === undefined) throw new Error('nothing was measured');
    const figures = { name, unit: 'µs', weft: logged.micros, peer: silent.name, peerFigure: silent.micros };
    return [differenceLine(figures, silent.difference, { target: 3 })];
  },
};

type Costs = Awaited<ReturnType<typeof compareCpu>>;

function costsOf(bench: Bench, label: string, pair: ReturnType<typeof weftPeer>[]): Promise<Costs> {
  const load = wrkLoad(bench, { label, connections: 64, paths: ['/1k'], bounds: {} });
  // Differences of a few percent: more blocks than where proxies are compared.
  return withDeployments(bench, pair, 'hop', (subjects) => compareCpu(subjects, load, bench.blocks * 2));
}

function asRatio(name: string, [first, second]: Costs, bounds: Bounds): Line {
  if (first === undefined || second === undefined) throw new Error('nothing was measured');
  const figures = { name, unit: 'µs', weft: first.micros, peer: second.name, peerFigure: second.micros };
  return ratioLine(figures, second.ratio, bounds);
}
