/** client → proxy → mutual TLS → proxy → origin: the mesh hop, both proxies counted. */
import { nginx } from '../peers/nginx.ts';
import { weft } from '../peers/weft.ts';
import { type RequestLoad, requestLines } from '../requests.ts';
import type { Scenario } from '../scenario.ts';

const MULTIPLEXED = { nginx: { target: 0.6, stretch: 0.45 } };

const LOADS: readonly RequestLoad[] = [
  { label: 'mTLS pair, 64 connections, 1 KB', connections: 64, paths: ['/1k'], bounds: MULTIPLEXED },
  { label: 'mTLS pair, 1 connection, 1 KB', connections: 1, paths: ['/1k'], bounds: { nginx: { target: 1.2 } } },
  { label: 'mTLS pair, 16 connections, 1 KB', connections: 16, paths: ['/1k'], bounds: MULTIPLEXED },
  { label: 'mTLS pair, 64 connections, 100 KB', connections: 64, paths: ['/100k'], bounds: {} },
];

export const mtlsPair: Scenario = {
  name: 'mtls-pair',
  isQuick: true,
  run(bench) {
    if (bench.isQuick) return requestLines(bench, 'pair', [weft, nginx], LOADS.slice(0, 2));
    return requestLines(bench, 'pair', [weft, ...bench.peers], LOADS);
  },
};
