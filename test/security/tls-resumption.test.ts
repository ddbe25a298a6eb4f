/** What a sidecar that calls does with session tickets: they serve only while both ends are what they were. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { ask, get, meshed, TinyMesh, wordOf } from '../integration/mesh.ts';
import { rotate } from '../integration/rotating.ts';
import { TestCa } from '../support/certificates.ts';
import { type Answer, openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { answerWith } from './stage.ts';

const mesh = new TinyMesh();
const other = new TestCa('other root');
const both = mesh.ca.trustBundle + other.trustBundle;
/** Enough for two calls, however slow the machine. */
const SHORT_LIFE_SECONDS = 6;
let caller: Weft;
let server: Server;
/** Of each connection: was it resumed, and by which certificate is the caller known? */
const seen: { readonly reused: boolean; readonly serial: string }[] = [];

function secrets({ certificateChain, privateKey }: Identity): { cert: string; key: string; ca: string } {
  return { cert: certificateChain, key: privateKey, ca: both };
}

beforeAll(async () => {
  server = createServer(
    {
      ...secrets(mesh.ca.identity('default/callee')),
      requestCert: true,
      rejectUnauthorized: false,
      sessionIdContext: 'callee',
      ALPNProtocols: ['istio'],
    },
    (socket) => {
      const serial = socket.getPeerX509Certificate()?.serialNumber ?? '';
      seen.push({ reused: socket.isSessionReused(), serial });
      socket.on('error', () => socket.destroy());
      socket.on('data', () => socket.write(answerWith('served')));
    },
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const endpoints = [(server.address() as AddressInfo).port];
  caller = await mesh.start({ account: 'caller', documents: meshed({ name: 'raw', endpoints, appProtocol: 'tcp' }) });
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  server.close();
});

/** A tunnel has a connection of its own, so each of these is a dial. */
async function tunnel(): Promise<Answer> {
  using client = await openClient(caller.ports.outbound);
  const opened = await client.exchange('CONNECT raw:80 HTTP/1.1\r\nHost: raw:80\r\n\r\n', 'CONNECT');
  return opened.status === 200 ? await client.exchange(get('raw')) : opened;
}

/** The caller has a ticket that works. */
async function resumed(): Promise<void> {
  await eventually('the session is resumed', async () => {
    expect((await tunnel()).status).toBe(200);
    return seen.at(-1)?.reused || undefined;
  });
}

/** A new identity, with which no ticket was made yet. */
function renew(): Promise<void> {
  return rotate(mesh, caller, 'caller', mesh.ca.identity('default/caller', { trustBundle: both }));
}

beforeEach(async () => {
  await renew();
  await resumed();
});

test('a ticket is not offered any more when the own certificate is renewed: the far side would judge the old one', async () => {
  const renewed = mesh.ca.identity('default/caller', { trustBundle: both });
  await rotate(mesh, caller, 'caller', renewed);
  expect((await tunnel()).status).toBe(200);
  expect(seen.at(-1)).toEqual({ reused: false, serial: renewed.serialNumber });
});

test('a ticket is not offered any more when the bundle changes, and who is no longer trusted is not called', async () => {
  await rotate(mesh, caller, 'caller', other.identity('default/caller', { trustBundle: other.trustBundle }));
  const calls = seen.length;
  const answer = await tunnel();
  expect([answer.status, wordOf(answer)]).toEqual([502, 'upstream_untrusted_ca']);
  expect(seen.slice(calls).filter(({ reused }) => reused)).toEqual([]);
});

test('a ticket is not offered any more when the certificate that it was made with has expired', {
  timeout: 40_000,
}, async () => {
  const documents = meshed({
    name: 'raw',
    endpoints: [(server.address() as AddressInfo).port],
    appProtocol: 'tcp',
    annotations: { 'weft.dev/identities': 'spiffe://cluster.local/ns/shop/sa/cart' },
  });
  await mesh.apply(caller, 'caller', documents);
  await renew();
  const notAfter = (Math.floor(Date.now() / 1000) + SHORT_LIFE_SECONDS) * 1000;
  const { certificate, key } = mesh.ca.bent((template) => ({ ...template, notAfter }));
  server.setSecureContext({ cert: certificate, key, ca: both, sessionIdContext: 'callee' });
  await resumed();
  await eventually('it has expired', () => Date.now() > notAfter || undefined);
  const calls = seen.length;
  const answer = await ask(caller.ports.outbound, 'CONNECT raw:80 HTTP/1.1\r\nHost: raw:80\r\n\r\n', 'CONNECT');
  expect([answer.status, wordOf(answer)]).toEqual([502, 'upstream_certificate_expired']);
  expect(seen.slice(calls).filter(({ reused }) => reused)).toEqual([]);
});
