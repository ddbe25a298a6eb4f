/** Unary gRPC calls over one plain hop and through a pair with mutual TLS, HTTP/2 on every leg. */
import { compareCpu } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import { runH2load } from '../h2load.ts';
import { envoy } from '../peers/envoy.ts';
import { nodeHttp2 } from '../peers/node-http2.ts';
import { weft } from '../peers/weft.ts';
import { costLines } from '../requests.ts';
import type { Bench, Scenario } from '../scenario.ts';

const BOUNDS = { [nodeHttp2.name]: { target: 0.6 } };

/** Calls open at a time, spread over connections as the channels of that many clients would be. */
const LOADS = [
  { label: '64 calls on 16 connections', calls: 64, connections: 16 },
  { label: '16 calls on 1 connection', calls: 16, connections: 1 },
  { label: '1 call at a time', calls: 1, connections: 1 },
] as const;

const KINDS = { grpcHop: 'gRPC hop', grpcPair: 'gRPC mTLS pair' } as const;

export const grpc: Scenario = {
  name: 'grpc',
  isQuick: false,
  async run(bench) {
    return [...(await measure(bench, 'grpcHop')), ...(await measure(bench, 'grpcPair'))];
  },
};

function measure(bench: Bench, kind: keyof typeof KINDS): ReturnType<Scenario['run']> {
  const { site, seconds, blocks } = bench;
  const { folder } = site;
  const peers = [weft, nodeHttp2, ...bench.peers.filter((peer) => peer === envoy)];
  return withDeployments(bench, peers, kind, async (subjects) => {
    const lines = [];
    for (const { label, calls, connections } of LOADS) {
      const load = { connections, streams: calls / connections, seconds, folder };
      const costs = await compareCpu(subjects, ({ port, host }) => runH2load({ ...load, port, host }), blocks);
      lines.push(...costLines(`${KINDS[kind]}, ${label}`, costs, BOUNDS));
    }
    return lines;
  });
}
