/** Applications that answer an upload before they have read it, and go: their callers get the answer. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Answer, openClient } from '../support/client.ts';
import { OpenSslCa } from '../support/openssl-ca.ts';
import { document } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { meshed, plain, TinyMesh } from './mesh.ts';

const HOST = 'api.example.com';
const ANSWER = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig';
const CALLERS = 40;
const BODY = Buffer.alloc(4 << 20);

const mesh = new TinyMesh();
const servers: Server[] = [];
let weft: Weft;

/** With bytes of the caller unread, so that the kernel resets what is closed. */
function answerAndGo(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.once('data', () => {
    socket.pause();
    socket.write(ANSWER, () => socket.destroy());
  });
}

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  const ca = new OpenSslCa(mesh.folder, 'ours');
  const { certificate: cert, key } = ca.issue([`DNS:${HOST}`]);
  const validation = { caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'ours' }], hostname: HOST };
  weft = await mesh.start({
    account: 'caller',
    documents: [
      ...plain({ name: 'plain', endpoints: [await listen(createServer(answerAndGo))] }),
      ...meshed({ name: 'tls', endpoints: [await listen(createTlsServer({ cert, key }, answerAndGo))] }),
      document({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ours' }, data: { 'ca.crt': ca.certificate } }),
      document({
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'BackendTLSPolicy',
        metadata: { name: 'tls' },
        spec: { targetRefs: [{ group: '', kind: 'Service', name: 'tls' }], validation },
      }),
    ],
  });
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  for (const server of servers) server.close();
});

async function upload(host: string): Promise<Answer> {
  using client = await openClient(weft.ports.outbound);
  void client.write(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${BODY.length}\r\n\r\n`);
  void client.write(BODY);
  return await client.answer('POST');
}

test.each(['plain', 'tls'])('all callers of the %s Service get it, and no connection stays', async (host) => {
  const answers = await Promise.all(Array.from({ length: CALLERS }, () => upload(host)));
  for (const { status, body } of answers) expect([status, body.toString()]).toEqual([413, 'big']);
  await expect.poll(() => weft.metric('weft_upstream_connections')).toBe(0);
});
