/**
 * The mesh hop over HTTP/1.1. Two wefts never choose it: between themselves they multiplex (istio-h2). Each half is measured
 * across from nginx instead, which speaks nothing else: wrk → weft → nginx → origin and wrk → nginx → weft → origin,
 * with weft's cost alone counted. Both halves together stand beside nginx's pair.
 */
import { measureCpu, relate } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import type { Deployment, Peer } from '../peer.ts';
import { nginx, nginxCallee, nginxCaller } from '../peers/nginx.ts';
import { weftCallee, weftCaller } from '../peers/weft.ts';
import type { Line } from '../report.ts';
import { costLines, type RequestLoad, wrkLoad } from '../requests.ts';
import type { Scenario } from '../scenario.ts';

const BOUNDS = { [nginx.name]: { target: 1.15, stretch: 0.95 } };

const LOADS: readonly Omit<RequestLoad, 'paths'>[] = [
  { label: 'mTLS pair over HTTP/1.1, 64 connections, 1 KB', connections: 64, bounds: BOUNDS },
  { label: 'mTLS pair over HTTP/1.1, 1 connection, 1 KB', connections: 1, bounds: BOUNDS },
];

/** Entered at the first, which calls the second; `counted` is the one of them whose cost counts. */
function chain(first: Deployment, second: Deployment, counted: Deployment): Deployment {
  return {
    ...first,
    pids: counted.pids,
    async stop() {
      await Promise.all([first.stop(), second.stop()]);
    },
  };
}

const callerHalf: Peer = {
  name: 'weft before nginx',
  compilesUnderLoad: true,
  missing: () => null,
  async pair(site) {
    const far = await nginxCallee(site);
    const near = await weftCaller(site, far.port);
    return chain(near, far, near);
  },
};

const calleeHalf: Peer = {
  name: 'weft behind nginx',
  compilesUnderLoad: true,
  missing: () => null,
  async pair(site) {
    const far = await weftCallee(site, site.origin.port);
    const near = await nginxCaller(site, far.port);
    return chain(near, far, far);
  },
};

export const http1Pair: Scenario = {
  name: 'http1-pair',
  isQuick: false,
  run: (bench) =>
    withDeployments(bench, [callerHalf, calleeHalf, nginx], 'pair', async (subjects) => {
      const lines: Line[] = [];
      for (const { label, connections, bounds } of LOADS) {
        const load = wrkLoad(bench, { label, connections, paths: ['/1k'], bounds });
        const blocks = await measureCpu(subjects, load, bench.blocks);
        const both = blocks.map(([caller = 0, callee = 0, pair = Number.NaN]) => [caller + callee, pair]);
        lines.push(...costLines(label, relate(['weft', nginx.name], both), bounds));
      }
      return lines;
    }),
};
