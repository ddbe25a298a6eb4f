/**
 * How much later the greeting of a server that speaks first arrives through a sidecar pair: the target is 8 ms, and
 * 5 ms where the sidecars have talked before. The port is undeclared, so that both have to find out that nobody speaks.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, beforeAll, test, vi } from 'vitest';
import { meshed, TinyMesh } from '../integration/mesh.ts';
import { openClient } from '../support/client.ts';
import type { Weft } from '../support/weft.ts';
import { DELAY_TEST_MS, expectDelay, MOST_SAMPLES } from './delay.ts';

const STRANGERS_MS = 8;
const ESTABLISHED_MS = 5;
const GREETING = '220 ready\r\n';
vi.setConfig({ testTimeout: DELAY_TEST_MS });

const mesh = new TinyMesh();
const server = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.setNoDelay(true).end(GREETING);
});
let serverPort: number;
let caller: Weft;
/** To each of these Services, all of them the same server, exactly one connection is made. */
const STRANGERS = Array.from({ length: MOST_SAMPLES }, (_, i) => `stranger-${i}`);

beforeAll(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  serverPort = (server.address() as AddressInfo).port;
  const callee = await mesh.start({ account: 'callee', app: serverPort });
  const endpoints = [callee.ports.inbound];
  const documents = ['friend', ...STRANGERS].flatMap((name) => meshed({ name, port: 25, endpoints }));
  caller = await mesh.start({ account: 'caller', documents });
  await throughSidecars('friend');
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  server.close();
});

/** Milliseconds from the first packet to the greeting. */
async function directly(): Promise<number> {
  const from = performance.now();
  const socket = connect({ port: serverPort, host: '127.0.0.1' });
  await once(socket, 'data');
  const took = performance.now() - from;
  socket.destroy();
  return took;
}

async function throughSidecars(service: string): Promise<number> {
  const from = performance.now();
  using client = await openClient(caller.ports.outbound);
  await client.write(`CONNECT ${service}:25 HTTP/1.1\r\nHost: ${service}:25\r\n\r\n`);
  await client.until(() => client.text.endsWith(GREETING) || undefined);
  return performance.now() - from;
}

test('a greeting over a mesh connection that has to be made from nothing comes at most 8 ms later', () =>
  expectDelay(STRANGERS_MS, directly, (sample) => throughSidecars(STRANGERS[sample] ?? '')));

test('a greeting between sidecars that have talked before comes at most 5 ms later', () =>
  expectDelay(ESTABLISHED_MS, directly, () => throughSidecars('friend')));
