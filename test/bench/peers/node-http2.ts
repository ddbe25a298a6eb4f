/** `node:http2` as a proxy: what a JavaScript sidecar costs that takes its HTTP/2 from Node. gRPC only. */
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { answersOn, freePort } from '../../support/ports.ts';
import { startProgram } from '../../support/process.ts';
import { type Deployment, deploymentOf, type Peer, pairOf } from '../peer.ts';
import type { Site } from '../site.ts';

const PROXY = join(import.meta.dirname, '../programs/http2-proxy.ts');

export const nodeHttp2: Peer = {
  name: 'node:http2',
  compilesUnderLoad: true,
  missing: () => null,

  grpcHop: (site) => start(site, [String(site.grpc.port)]),

  async grpcPair(site) {
    const callee = await start(site, [String(site.grpc.port), 'callee', site.calleeCerts]);
    return pairOf(await start(site, [String(callee.port), 'caller', site.callerCerts]), callee);
  },
};

async function start(site: Site, args: readonly string[]): Promise<Deployment> {
  const port = await freePort();
  const program = startProgram({
    command: process.execPath,
    args: [PROXY, String(port), ...args],
    cpu: site.proxyCpu,
  });
  await eventually('node:http2 accepts', () => answersOn(program, [port]));
  return deploymentOf(program, port);
}
