/** Where one run takes place: scratch folder, certificates, the origin that everything is proxied to, and who runs on which core. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { buildBundle } from '../../deploy/build.ts';
import { Folder } from '../support/policy.ts';
import { runProgram } from '../support/process.ts';
import { issueWorkloads } from './certificates.ts';
import { startGrpcOrigin } from './grpc-origin.ts';
import { type Origin, startOrigin } from './origin.ts';
import { type StreamServer, startStreamServer } from './stream.ts';

export interface Site {
  readonly folder: string;
  /** weft as users run it: the bundle, built from this source tree. */
  readonly bundle: string;
  /** Folders with `tls.crt`, `tls.key`, `ca.crt`, and `both.pem` (certificate and key in one). */
  readonly callerCerts: string;
  readonly calleeCerts: string;
  readonly origin: Origin;
  /** Answers unary gRPC calls. */
  readonly grpc: Origin;
  readonly stream: StreamServer;
  /** URL of an OTLP/HTTP collector that takes everything and keeps nothing. */
  readonly collector: string;
  /** CPU of the proxies; the load and the origin have the other. */
  readonly proxyCpu: number;
  stop(): Promise<void>;
}

/** Moves this process (load, stream server) and so all it starts without a `cpu` of its own to the load's core. */
export async function openSite(): Promise<Site> {
  const cores = availableParallelism();
  if (cores < 2) console.log('one core only: proxies and load share it, so expect noise');
  await runProgram({ command: 'taskset', args: ['-a', '-p', '-c', '0', String(process.pid)] });
  const folder = new Folder('weft-bench-');
  process.once('exit', () => folder.remove());
  issueWorkloads(folder.path, ['caller', 'callee']);
  await buildBundle(join(folder.path, 'weft'));
  const origin = await startOrigin(folder.path);
  const grpc = await startGrpcOrigin();
  const stream = await startStreamServer();
  const collector = createServer((request, response) => {
    request.resume();
    response.end();
  }).listen(0, '127.0.0.1');
  await once(collector, 'listening');
  return {
    folder: folder.path,
    bundle: join(folder.path, 'weft/weft.js'),
    callerCerts: join(folder.path, 'caller'),
    calleeCerts: join(folder.path, 'callee'),
    origin,
    grpc,
    stream,
    collector: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
    proxyCpu: cores < 2 ? 0 : 1,
    async stop() {
      collector.close();
      collector.closeAllConnections();
      await Promise.all([origin.stop(), grpc.stop(), stream.stop()]);
    },
  };
}
