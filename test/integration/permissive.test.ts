import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mirror, startBackend } from '../support/backend.ts';
import { openClient, openTlsClient } from '../support/client.ts';
import { document } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend(mirror));
afterAll(() => mesh[Symbol.asyncDispose]());

function peerAuthentication(mode: string): string {
  return document({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'default' },
    spec: { mtls: { mode } },
  });
}

function credentials(): { cert: string; key: string; ca: string } {
  const { certificateChain: cert, privateKey: key } = mesh.ca.identity('default/friend');
  return { cert, key, ca: mesh.ca.trustBundle };
}

async function principalSeen(weft: Weft, alpn: readonly string[]): Promise<string> {
  const options = { ...credentials(), ALPNProtocols: [...alpn], checkServerIdentity: () => undefined };
  using client = await openTlsClient(weft.ports.inbound, options);
  const answer = await client.exchange(get('app'));
  return String(JSON.parse(answer.body.toString()).headers['x-forwarded-client-cert']);
}

describe('a PERMISSIVE port', () => {
  let weft: Weft;
  beforeAll(async () => {
    weft = await mesh.start({ account: 'app', app: app.port, documents: [peerAuthentication('PERMISSIVE')] });
  });

  test('takes plain HTTP, with forwarding fields of a caller that nobody verified replaced', async () => {
    const answer = await ask(weft.ports.inbound, get('app', '/', 'X-Forwarded-For: 10.1.1.1', 'X-Request-Id: mine'));
    const { headers } = JSON.parse(answer.body.toString());
    expect(headers['x-forwarded-for']).toBe('127.0.0.1');
    expect(headers['x-request-id']).not.toBe('mine');
    expect(headers['x-forwarded-client-cert']).toBeUndefined();
  });

  test.each([['istio-http/1.1'], ['istio']])('takes mutual TLS of a caller that offers %s', async (alpn) => {
    expect(await principalSeen(weft, [alpn])).toContain('URI=spiffe://cluster.local/ns/default/sa/friend');
  });

  test('names the application to itself for a caller of HTTP/1.0 that names nobody', async () => {
    const answer = await ask(weft.ports.inbound, 'GET / HTTP/1.0\r\n\r\n');
    expect(JSON.parse(answer.body.toString()).headers.host).toBe(`127.0.0.1:${app.port}`);
  });

  test('says in its metrics which requests were verified', async () => {
    const requests = (policy: string): Promise<number> =>
      weft.metric('istio_requests_total', 'reporter="destination"', `connection_security_policy="${policy}"`);
    expect(await requests('mutual_tls')).toBe(2);
    expect(await requests('none')).toBe(2);
  });
});

test('a PERMISSIVE port passes TLS of the application itself on, byte for byte', async () => {
  const identity = mesh.ca.identity('default/app', { dnsNames: ['app.example'] });
  const tlsApp = createTlsServer({ cert: identity.certificateChain, key: identity.privateKey }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.end('from the application');
  });
  await once(tlsApp.listen(0, '127.0.0.1'), 'listening');
  const { port } = tlsApp.address() as AddressInfo;
  const weft = await mesh.start({ account: 'tls', app: port, documents: [peerAuthentication('PERMISSIVE')] });
  using client = await openTlsClient(weft.ports.inbound, { ca: mesh.ca.trustBundle, servername: 'app.example' });
  expect(await client.ended).toBe('fin');
  expect(client.text).toBe('from the application');
  tlsApp.close();
});

test('a DISABLE port takes plain HTTP and passes every TLS on', async () => {
  const weft = await mesh.start({ account: 'off', app: app.port, documents: [peerAuthentication('DISABLE')] });
  expect((await ask(weft.ports.inbound, get('app'))).status).toBe(200);
});

test('opaque bytes to a PERMISSIVE port reach the application', async () => {
  const echo = createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket));
  await once(echo.listen(0, '127.0.0.1'), 'listening');
  const { port } = echo.address() as AddressInfo;
  const weft = await mesh.start({ account: 'bytes', app: port, documents: [peerAuthentication('PERMISSIVE')] });
  using client = await openClient(weft.ports.inbound);
  await client.write('\x00binary\x01');
  await client.until(() => client.text === '\x00binary\x01' || undefined);
  echo.close();
});

test('a sidecar without an application answers 503', async () => {
  const weft = await mesh.start({ account: 'alone', documents: [peerAuthentication('PERMISSIVE')] });
  const answer = await ask(weft.ports.inbound, get('app'));
  expect(answer.status).toBe(503);
  expect(answer.headers.get('proxy-status')?.[0]).toContain('no_application');
});
