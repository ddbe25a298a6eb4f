/** CPU per request of one proxy beside others, under wrk: what most scenarios are made of. */
import { type Cost, compareCpu, type Load } from './compare.ts';
import { withDeployments } from './deploy.ts';
import type { Kind, Peer } from './peer.ts';
import { type Bounds, type Line, ratioLine } from './report.ts';
import type { Bench } from './scenario.ts';
import { runWrk } from './wrk.ts';

export interface RequestLoad {
  readonly label: string;
  readonly connections: number;
  readonly paths: readonly string[];
  /** What is aimed at, by the name of the peer. */
  readonly bounds: Readonly<Record<string, Bounds>>;
}

/** A line for each load and peer; the first of `peers` is the one that the others are set beside. */
export async function requestLines(
  bench: Bench,
  kind: Kind,
  peers: readonly Peer[],
  loads: readonly RequestLoad[],
): Promise<Line[]> {
  return withDeployments(bench.site, peers, kind, async (subjects) => {
    const lines: Line[] = [];
    for (const load of loads) {
      const costs = await compareCpu(subjects, wrkLoad(bench, load), bench.blocks);
      lines.push(...linesOf(load, costs));
    }
    return lines;
  });
}

export function wrkLoad(bench: Bench, { connections, paths }: RequestLoad): Load {
  const { site, seconds } = bench;
  return ({ port, host }) => runWrk({ port, host, connections, seconds, paths, folder: site.folder });
}

function linesOf(load: RequestLoad, [first, ...others]: readonly Cost[]): Line[] {
  return others.map(({ name, micros, ratio }) => {
    const figures = { name: load.label, unit: 'µs', weft: first?.micros ?? Number.NaN, peer: name, peerFigure: micros };
    return ratioLine(figures, ratio, load.bounds[name]);
  });
}
