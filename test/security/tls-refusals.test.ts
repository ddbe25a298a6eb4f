/** Every kind of bad peer against a real sidecar, presented by a TLS stack that is not ours. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { DAY_MS } from '../../certs/issue.ts';
import { FAILURES } from '../../shared/errors.ts';
import { get, logLines, TinyMesh } from '../integration/mesh.ts';
import { rotate } from '../integration/rotating.ts';
import { mirror, startBackend } from '../support/backend.ts';
import { type BadPeer, badPeers, type KeyedCertificate, TestCa } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { type Heard, OpenSsl } from '../support/openssl.ts';
import type { Weft } from '../support/weft.ts';

const mesh = new TinyMesh();
const openssl = new OpenSsl(mesh.folder);
const app = mesh.own(await startBackend(mirror));
const PEERS = badPeers(mesh.ca);
const REQUEST = get('callee', '/', 'Connection: close');
/** Enough for one call, however slow the machine. */
const SHORT_LIFE_SECONDS = 6;
let callee: Weft;

beforeAll(async () => {
  callee = await mesh.start({ account: 'callee', app: app.port });
});
afterAll(() => mesh[Symbol.asyncDispose]());

function call(credentials: KeyedCertificate | null, session: { resume?: string; save?: string } = {}): Promise<Heard> {
  return openssl.call({ port: callee.ports.inbound, credentials, request: REQUEST, ...session });
}

function refused(word: string): Promise<number> {
  return callee.metric('weft_refusals_total', `word="${word}"`);
}

function keyed({ certificateChain, privateKey }: Identity): KeyedCertificate {
  return { certificate: certificateChain, key: privateKey };
}

/**
 * Calls until the refusal stands in the log (of many in one second only the first are written) and expects that each
 * call was counted, and that nothing was answered or passed on.
 */
async function expectRefusal(
  { failure, reason }: Pick<BadPeer, 'failure' | 'reason'>,
  attempt: () => Promise<Heard>,
): Promise<void> {
  const { word } = FAILURES[failure];
  const before = { refused: await refused(word), requests: app.requests.length, lines: logLines(callee).length };
  const isTold = (): boolean =>
    logLines(callee)
      .slice(before.lines)
      .some((line) => line['word'] === word && String(line['detail']).startsWith(`${reason}: `));
  let calls = 0;
  await eventually(`a log line with ${word} and ${reason}`, async () => {
    calls++;
    expect((await attempt()).output).not.toContain('HTTP/1.1');
    await eventually('it is counted', async () => (await refused(word)) === before.refused + calls || undefined);
    return isTold() || undefined;
  });
  expect(app.requests.length).toBe(before.requests);
}

test('a good peer is answered, so that the others fail for what is bad about them', async () => {
  const heard = await call(keyed(mesh.ca.identity('shop/cart')));
  expect(heard.output).toContain('HTTP/1.1 200 OK');
});

test.each(PEERS)('a peer $name is refused: $reason', (peer) => expectRefusal(peer, () => call(peer.credentials)));

test('there are at least 25 of them', () => {
  expect(PEERS.length).toBeGreaterThanOrEqual(25);
});

test('a session is resumed while nothing changes, and the peer is known by it', async () => {
  const peer = keyed(mesh.ca.identity('shop/cart'));
  expect(await call(peer, { save: 'same' })).toMatchObject({ resumed: false });
  const again = await call(peer, { resume: 'same' });
  expect(again).toMatchObject({ resumed: true, output: expect.stringContaining('HTTP/1.1 200 OK') });
  expect(again.output).toContain('URI=spiffe://cluster.local/ns/shop/sa/cart');
});

test('after a change of our leaf an old session is not resumed, and its peer is verified anew', async () => {
  const peer = keyed(mesh.ca.identity('shop/cart'));
  await call(peer, { save: 'leaf' });
  await rotate(mesh, callee, 'callee', mesh.ca.identity('default/callee'));
  const heard = await call(peer, { resume: 'leaf' });
  expect(heard).toMatchObject({ resumed: false, output: expect.stringContaining('HTTP/1.1 200 OK') });
});

test('a peer that expired since its session began is refused when it resumes', { timeout: 40_000 }, async () => {
  const notAfter = (Math.floor(Date.now() / 1000) + SHORT_LIFE_SECONDS) * 1000;
  const peer = mesh.ca.bent((template) => ({ ...template, notAfter }));
  expect((await call(peer, { save: 'short' })).output).toContain('HTTP/1.1 200 OK');
  await eventually('it has expired', () => Date.now() > notAfter || undefined);
  await expectRefusal({ failure: 'peerExpired', reason: 'expired' }, async () => {
    const heard = await call(peer, { resume: 'short' });
    expect(heard.resumed).toBe(true);
    return heard;
  });
});

test('a peer whose root was removed is refused with the session of before', async () => {
  const gone = new TestCa('root that goes');
  const both = mesh.ca.trustBundle + gone.trustBundle;
  await rotate(mesh, callee, 'callee', mesh.ca.identity('default/callee', { trustBundle: both }));
  const peer = keyed(gone.identity('shop/cart'));
  expect((await call(peer, { save: 'gone' })).output).toContain('HTTP/1.1 200 OK');
  expect(await call(peer, { resume: 'gone' })).toMatchObject({ resumed: true });
  await rotate(mesh, callee, 'callee', mesh.ca.identity('default/callee', { lifetimeMs: DAY_MS }));
  await expectRefusal({ failure: 'peerUntrusted', reason: 'unknown_ca' }, async () => {
    const heard = await call(peer, { resume: 'gone' });
    expect(heard.resumed).toBe(false);
    return heard;
  });
});
