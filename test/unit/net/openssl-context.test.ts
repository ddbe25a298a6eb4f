/** What goes over the wire in handshakes of the mesh: no more certificates and tickets than the far side has a use for. */
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { connect, createSecureContext, createServer as createTlsServer, type Server } from 'node:tls';
import { expect, test } from 'vitest';
import type { Identity } from '../../../certs/identity.ts';
import { meshContext, meshServer } from '../../../proxy/net/mesh-context.ts';
import { contextOf, sendNoMoreThanOwn, sendTickets } from '../../../proxy/net/openssl-context.ts';
import { TestCa } from '../../support/certificates.ts';
import { eventually } from '../../support/eventually.ts';

const ca = new TestCa();
const near = ca.identity('default/near');
const far = ca.identity('default/far');
/** Bytes of a root as it would be sent. */
const ROOT_BYTES = Buffer.from(ca.trustBundle.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64').length;

interface Seen {
  readonly sent: number;
  readonly received: number;
  readonly tickets: number;
  readonly authorized: boolean;
  readonly callerAuthorized: boolean;
}

/** One handshake of a caller with a server that says a byte after it; what the caller's socket moved. */
async function shakeHands(server: Server, context: ReturnType<typeof createSecureContext>): Promise<Seen> {
  const listener = createServer((socket) => server.emit('connection', socket)).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const accepted = once(server, 'secureConnection');
  const raw = connectTcp((listener.address() as AddressInfo).port, '127.0.0.1');
  const socket = connect({
    socket: raw,
    secureContext: context,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  let tickets = 0;
  socket.on('session', () => tickets++).on('error', () => {});
  let greeting = '';
  socket.on('data', (bytes: Buffer) => (greeting += bytes.toString()));
  const [peer] = await accepted;
  peer.on('error', () => {}).write('!');
  await eventually('the greeting came, and all tickets before it', () => greeting === '!' || undefined);
  const seen = {
    sent: raw.bytesWritten,
    received: raw.bytesRead,
    tickets,
    authorized: socket.authorized,
    callerAuthorized: peer.authorized,
  };
  socket.destroy();
  peer.destroy();
  listener.close();
  return seen;
}

const SERVER_OPTIONS = { requestCert: true, rejectUnauthorized: false };

function meshEnds(own: Identity, caller: Identity): Promise<Seen> {
  return shakeHands(meshServer(own, SERVER_OPTIONS), meshContext(caller));
}

test('a leaf goes without its root, both ways, and each side still judges the other', async () => {
  const { certificateChain: cert, privateKey: key, trustBundle } = near;
  const asNodeDoes = createSecureContext({ cert, key, ca: trustBundle, minVersion: 'TLSv1.3' });
  const served = createTlsServer({
    ...SERVER_OPTIONS,
    cert: far.certificateChain,
    key: far.privateKey,
    ca: trustBundle,
  });
  const whole = await shakeHands(served, asNodeDoes);
  const lean = await meshEnds(far, near);
  expect(whole.sent - lean.sent).toBeGreaterThanOrEqual(ROOT_BYTES);
  expect(whole.received - lean.received).toBeGreaterThanOrEqual(ROOT_BYTES);
  expect([lean.authorized, lean.callerAuthorized]).toEqual([true, true]);
  const stranger = await meshEnds(far, new TestCa('another').identity('default/near'));
  expect([stranger.authorized, stranger.callerAuthorized]).toEqual([false, false]);
});

test('one ticket follows a handshake', async () => {
  expect((await meshEnds(far, near)).tickets).toBe(1);
});

test('an intermediate is sent along, given with the leaf or found in the bundle', async () => {
  const chained = ca.intermediate().identity('default/near');
  const [leaf = '', intermediate = ''] =
    chained.certificateChain.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----\n/g) ?? [];
  const alone: Identity = { ...chained, certificateChain: leaf, trustBundle: intermediate + ca.trustBundle };
  for (const identity of [chained, alone]) expect((await meshEnds(far, identity)).callerAuthorized).toBe(true);
});

test('a context that Node keeps elsewhere stays as it is', () => {
  const context = createSecureContext();
  for (const other of [
    undefined,
    {},
    { context: {} },
    { context: { _external: 1 } },
    { context: { _external: context } },
  ]) {
    expect(() => sendNoMoreThanOwn(other as typeof context)).not.toThrow();
    expect(() => sendTickets(other as typeof context, 1)).not.toThrow();
  }
  expect(contextOf(meshServer(near, SERVER_OPTIONS))).toHaveProperty('context');
});
