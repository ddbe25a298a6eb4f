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
  return withDeployments(bench, peers, kind, async (subjects) => {
    const lines: Line[] = [];
    for (const load of loads) {
      const costs = await compareCpu(subjects, wrkLoad(bench, load), bench.blocks);
      lines.push(...costLines(load.label, costs, load.bounds));
    }
    return lines;
  });
}

export function wrkLoad(bench: Bench, { connections, paths }: RequestLoad): Load {
  const { site, seconds } = bench;
  return ({ port, host }) => runWrk({ port, host, connections, seconds, paths, folder: site.folder });
}

/** The first cost beside each of the others; `bounds` by the name of the other. */
export function costLines(
  name: string,
  [first, ...others]: readonly Cost[],
  bounds: Readonly<Record<string, Bounds>>,
): Line[] {
  return others.map(({ name: peer, micros, ratio }) => {
    const figures = { name, unit: 'µs', weft: first?.micros ?? Number.NaN, peer, peerFigure: micros };
    return ratioLine(figures, ratio, bounds[peer]);
  });
}
