/** Revocation lists (`ca.crl` beside `ca.crt`) against a real sidecar. */

import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { startBackend, text } from '../support/backend.ts';
import { TestCa } from '../support/certificates.ts';
import { openTlsClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { revocationList } from '../support/revocation.ts';
import type { Weft } from '../support/weft.ts';
import { ask, countLines, get, logLine, logLines, meshed, TinyMesh, wordOf } from './mesh.ts';
import { asPeer } from './rotating.ts';

const mesh = new TinyMesh();
const good = mesh.ca.identity('default/good');
const bad = mesh.ca.identity('default/bad');
let callee: Weft;

beforeAll(async () => {
  const app = mesh.own(await startBackend(text('served')));
  mesh.folder.write('callee-certs/ca.crl', revocationList(mesh.ca, [bad]));
  callee = await mesh.start({ account: 'callee', app: app.port });
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** Replaces the lists; resolves when they are in use. */
async function revoke(lists: string): Promise<void> {
  const before = countLines(callee, 'certificate in use');
  mesh.folder.write('callee-certs/ca.crl', lists);
  await eventually('it is in use', () => countLines(callee, 'certificate in use') > before || undefined);
}

function open(identity: Identity): Promise<RawClient> {
  return openTlsClient(callee.ports.inbound, asPeer(identity));
}

async function isServed(identity: Identity): Promise<boolean> {
  using client = await open(identity);
  return await client.exchange(get('callee')).then(
    ({ status }) => status === 200,
    () => false,
  );
}

/** The fine reason of the last refusal with this word. */
function reasonOf(word: string): string | undefined {
  const line = logLines(callee).findLast((each) => each['word'] === word);
  return String(line?.['detail']).split(': ')[0];
}

test('a peer that the list names is refused with a word of its own, others are served', async () => {
  expect(await isServed(good)).toBe(true);
  expect(await isServed(bad)).toBe(false);
  expect(await logLine(callee, (line) => line['word'] === 'peer_certificate_revoked')).toMatchObject({
    detail: expect.stringMatching(/^revoked: /),
  });
  expect(await callee.metric('weft_refusals_total', 'word="peer_certificate_revoked"')).toBe(1);
});

test('a new list counts at once: for new handshakes, and for connections that are open', async () => {
  await revoke(revocationList(mesh.ca, []));
  expect(await isServed(bad)).toBe(true);
  using staying = await open(good);
  using going = await open(bad);
  expect((await going.exchange(get('callee'))).status).toBe(200);
  expect((await staying.exchange(get('callee'))).status).toBe(200);
  await revoke(revocationList(mesh.ca, [bad]));
  expect(await isServed(bad)).toBe(false);
  await going.ended;
  expect((await staying.exchange(get('callee'))).status).toBe(200);
});

test('an endpoint that the list names is not called', async () => {
  const server = createServer({ cert: bad.certificateChain, key: bad.privateKey, ALPNProtocols: ['istio-http/1.1'] });
  server.on('secureConnection', (socket) => socket.on('error', () => socket.destroy()));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const endpoints = [(server.address() as AddressInfo).port];
  await mesh.apply(callee, 'callee', meshed({ name: 'far', endpoints }));
  const answer = await ask(callee.ports.outbound, get('far'));
  expect([answer.status, wordOf(answer)]).toEqual([502, 'upstream_certificate_revoked']);
  server.close();
});

test.each([
  ['of another CA only', 'no_revocation_list', () => revocationList(new TestCa('other root'), [])],
  [
    'that has expired',
    'revocation_list_expired',
    () => revocationList(mesh.ca, [], { thisUpdate: Date.now() - 120_000, nextUpdate: Date.now() - 60_000 }),
  ],
  ['that is forged', 'revocation_list_refused', () => revocationList(mesh.ca, [], { signer: new TestCa() })],
])('with a list %s nobody is let in, and it is told why: %s', async (_what, reason, list) => {
  await revoke(list());
  const before = await callee.metric('weft_refusals_total', 'word="peer_certificate_revoked"');
  expect(await isServed(good)).toBe(false);
  await eventually('it is counted', async () => {
    const now = await callee.metric('weft_refusals_total', 'word="peer_certificate_revoked"');
    return now > before || undefined;
  });
  // The line goes another way than the metric.
  await eventually('it is told', () => reasonOf('peer_certificate_revoked') === reason || undefined);
});

test('a file that is no list is told of, and the last good one stays in use', async () => {
  await revoke(revocationList(mesh.ca, [bad]));
  mesh.folder.write('callee-certs/ca.crl', revocationList(mesh.ca, []).slice(0, 100));
  const line = await logLine(callee, (each) => each['part'] === 'revocation');
  expect(line.msg).toBe('certificate problem: the last good certificate stays in use');
  expect([await isServed(good), await isServed(bad)]).toEqual([true, false]);
});

test('without a list revocation is not checked', async () => {
  const before = countLines(callee, 'certificate in use');
  rmSync(join(mesh.folder.path, 'callee-certs/ca.crl'));
  await eventually('it is in use', () => countLines(callee, 'certificate in use') > before || undefined);
  expect(await isServed(bad)).toBe(true);
});
