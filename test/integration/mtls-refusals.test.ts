import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { duplexPair } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, createServer } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { FAILURES, type FailureName } from '../../shared/errors.ts';
import { mirror, startBackend } from '../support/backend.ts';
import { type BadPeer, badPeers, type KeyedCertificate, spiffeIdOf, TestCa } from '../support/certificates.ts';
import { openClient, openTlsClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, logLine, meshed, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend(mirror));
let callee: Weft;

beforeAll(async () => {
  callee = await mesh.start({ account: 'callee', app: app.port });
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** One of each word; the whole list is tested where certificates are judged (test/unit/certs/verify). */
const PEERS: BadPeer[] = [
  ...new Map(badPeers(mesh.ca).map((peer): [string, BadPeer] => [peer.failure, peer])).values(),
];

function presenting(peer: Pick<BadPeer, 'credentials'>): ConnectionOptions {
  const { credentials } = peer;
  const own = credentials === null ? {} : { cert: credentials.certificate, key: credentials.key };
  return {
    ca: mesh.ca.trustBundle,
    checkServerIdentity: () => undefined,
    ciphers: 'DEFAULT@SECLEVEL=0',
    ALPNProtocols: ['istio-http/1.1'],
    ...own,
  };
}

async function refused(word: string): Promise<number> {
  return callee.metric('weft_refusals_total', `word="${word}"`);
}

test.each(PEERS)('a peer $name is refused as $failure, in log and metric, and reaches nothing', async (peer) => {
  const { word } = FAILURES[peer.failure];
  const before = await refused(word);
  const requests = app.requests.length;
  using client = await openTlsClient(callee.ports.inbound, presenting(peer));
  client.socket.write(get('callee'));
  await client.ended;
  expect(client.text).toBe('');
  expect(await logLine(callee, (line) => line['word'] === word)).toMatchObject({
    msg: 'connection refused',
    direction: 'inbound',
    downstream: '127.0.0.1',
  });
  expect(await refused(word)).toBe(before + 1);
  expect(app.requests.length).toBe(requests);
});

test('plain text to a STRICT port is refused, in log and metric, and reaches nothing', async () => {
  const requests = app.requests.length;
  using client = await openClient(callee.ports.inbound);
  await client.write(get('callee'));
  await client.ended;
  expect(client.text).toBe('');
  expect(await logLine(callee, (line) => line['word'] === 'plaintext_refused')).toMatchObject({ direction: 'inbound' });
  expect(await refused('plaintext_refused')).toBe(1);
  expect(app.requests.length).toBe(requests);
});

test('a good peer is let through, with its identity in x-forwarded-client-cert', async () => {
  const credentials = keyed(mesh.ca.identity('default/friend'));
  using client = await openTlsClient(callee.ports.inbound, presenting({ credentials }));
  const answer = await client.exchange(get('callee'));
  const { headers } = JSON.parse(answer.body.toString());
  expect(headers['x-forwarded-client-cert']).toMatch(
    new RegExp(`^By=${spiffeIdOf('default/callee')};Hash=[0-9a-f]{64};Subject="";URI=${spiffeIdOf('default/friend')}$`),
  );
});

test('a handshake with an older TLS is refused', async () => {
  await expect(
    openTlsClient(callee.ports.inbound, { ...presenting({ credentials: null }), maxVersion: 'TLSv1.2' }),
  ).rejects.toThrow();
  await eventually('it is counted', async () => (await refused('tls_handshake_failed')) > 0 || undefined);
});

test('callers that reset in the middle of a handshake harm nobody', async () => {
  for (const bytes of ['\x16', '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00']) {
    const socket = connect(callee.ports.inbound, '127.0.0.1').on('error', () => {});
    await new Promise((resolve) => socket.write(bytes, 'latin1', resolve));
    socket.resetAndDestroy();
  }
  const credentials = keyed(mesh.ca.identity('default/friend'));
  using client = await openTlsClient(callee.ports.inbound, presenting({ credentials }));
  expect((await client.exchange(get('callee'))).status).toBe(200);
  expect(await callee.metric('weft_thread_restarts_total')).toBe(0);
});

test('a caller that goes in the middle of its handshake is let go of at once', async () => {
  const before = await refused('tls_handshake_timeout');
  const [near, far] = duplexPair();
  connectTls({ socket: near, rejectUnauthorized: false }).on('error', () => {});
  const [hello] = (await once(far, 'data')) as [Buffer];
  using client = await openClient(callee.ports.inbound);
  await client.write(hello);
  await once(client.socket, 'data');
  client.socket.end();
  await client.ended;
  far.destroy();
  expect(await refused('tls_handshake_timeout')).toBe(before);
});

/** Endpoints with the wrong certificate: who they are, the word for it, what they present. */
const SERVERS: readonly (readonly [string, FailureName, KeyedCertificate])[] = [
  ['of another namespace', 'upstreamNotAllowed', keyed(mesh.ca.identity('other/callee'))],
  ['of another CA', 'upstreamUntrusted', keyed(new TestCa('other').identity('default/callee'))],
  ['that has expired', 'upstreamExpired', bad('peerExpired')],
  ['without a SPIFFE ID', 'upstreamBadIdentity', bad('peerBadIdentity')],
];

test.each(SERVERS)('an endpoint %s is not called: %s', async (_name, failure, { certificate, key }) => {
  let bytes = 0;
  const server = createServer({ cert: certificate, key, minVersion: 'TLSv1.3', ALPNProtocols: ['istio-http/1.1'] });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await mesh.apply(callee, 'callee', meshed({ name: 'callee', endpoints: [port] }));
  const answer = await ask(callee.ports.outbound, get('callee'));
  expect([answer.status, wordOf(answer)]).toEqual([502, FAILURES[failure].word]);
  expect(await refused(FAILURES[failure].word)).toBeGreaterThan(0);
  expect(bytes).toBe(0);
  server.close();
});

test('an endpoint in plain text is not called: there is no silent fallback', async () => {
  await mesh.apply(callee, 'callee', meshed({ name: 'callee', endpoints: [app.port] }));
  const requests = app.requests.length;
  const answer = await ask(callee.ports.outbound, get('callee'));
  expect([answer.status, wordOf(answer)]).toEqual([502, 'upstream_tls_failed']);
  expect(app.requests.length).toBe(requests);
});

test('an endpoint of another namespace may serve a Service that names it', async () => {
  const other = await mesh.start({ account: 'other', app: app.port });
  const annotations = { 'weft.dev/identities': spiffeIdOf('default/other') };
  await mesh.apply(callee, 'callee', [
    ...meshed({ name: 'shop', namespace: 'shops', endpoints: [other.ports.inbound] }),
    ...meshed({ name: 'named', namespace: 'shops', endpoints: [other.ports.inbound], annotations }),
  ]);
  const wrong = await ask(callee.ports.outbound, get('shop.shops'));
  expect([wrong.status, wordOf(wrong)]).toEqual([502, 'upstream_identity_not_allowed']);
  expect((await ask(callee.ports.outbound, get('named.shops'))).status).toBe(200);
});

function keyed({ certificateChain, privateKey }: Identity): KeyedCertificate {
  return { certificate: certificateChain, key: privateKey };
}

function bad(failure: FailureName): KeyedCertificate {
  const peer = badPeers(mesh.ca).find((each) => each.failure === failure);
  if (peer?.credentials === null || peer?.credentials === undefined)
    throw new Error(`no peer is refused as ${failure}`);
  return peer.credentials;
}
