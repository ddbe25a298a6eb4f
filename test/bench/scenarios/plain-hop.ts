/** client → proxy → origin, plain HTTP/1.1, every default policy on. */
import { haproxy } from '../peers/haproxy.ts';
import { weft } from '../peers/weft.ts';
import { type RequestLoad, requestLines } from '../requests.ts';
import type { Scenario } from '../scenario.ts';

const LOADS: readonly RequestLoad[] = [
  {
    label: 'plain hop, 64 connections, 1 KB',
    connections: 64,
    paths: ['/1k'],
    bounds: { haproxy: { target: 1.35, stretch: 1.1 } },
  },
  { label: 'plain hop, 16 connections, 1 KB', connections: 16, paths: ['/1k'], bounds: {} },
  { label: 'plain hop, 1 connection, 1 KB', connections: 1, paths: ['/1k'], bounds: {} },
  { label: 'plain hop, 64 connections, 100 KB', connections: 64, paths: ['/100k'], bounds: {} },
];

export const plainHop: Scenario = {
  name: 'plain-hop',
  isQuick: true,
  run(bench) {
    if (bench.isQuick) return requestLines(bench, 'hop', [weft, haproxy], LOADS.slice(0, 1));
    return requestLines(bench, 'hop', [weft, ...bench.peers], LOADS);
  },
};
