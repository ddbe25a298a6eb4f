/** A caller that never finishes its TLS handshake is given up in time, however it sends what it sends. */
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { expect, test } from 'vitest';
import { MeshTls } from '../../proxy/net/mesh-tls.ts';
import { TestCa } from '../support/certificates.ts';
import { plainEnds } from '../unit/net/sockets.ts';

/** Long enough for whoever means to finish. */
const USUAL_MS = 10_000;
const SHORT_MS = 100;
const ca = new TestCa();

/** The far end of `socket`, with what the caller sends after its ClientHello passed on by `passOn`. */
function after(socket: Duplex, passOn: (bytes: Buffer) => void): Duplex {
  let isFirst = true;
  const through = new Duplex({
    read() {},
    write(bytes: Buffer, _encoding, written) {
      if (isFirst) socket.write(bytes);
      else passOn(bytes);
      isFirst = false;
      written();
    },
  });
  socket.on('data', (bytes) => through.push(bytes));
  socket.on('close', () => through.destroy());
  return through;
}

/** What becomes of a caller: the word that it is given up with, or `peer`. */
async function outcome(limitMs: number, passOn: (bytes: Buffer, socket: Duplex) => void): Promise<string> {
  const ended = Promise.withResolvers<string>();
  const mesh = new MeshTls(
    ca.identity('default/app'),
    Buffer.alloc(48),
    () => ({ trustDomain: 'cluster.local', aliases: [] }),
    { onPeer: () => ended.resolve('peer'), onRefused: ({ word }) => ended.resolve(word) },
    limitMs,
  );
  using ends = await plainEnds();
  mesh.handshake(ends.near, { sourceAddress: '192.0.2.1', sourcePort: 1, original: null });
  const { certificateChain: cert, privateKey: key } = ca.identity('default/friend');
  const socket = after(ends.far, (bytes) => passOn(bytes, ends.far));
  const client = connect({ socket, cert, key, ca: ca.trustBundle, checkServerIdentity: () => undefined });
  client.on('error', () => client.destroy());
  const word = await ended.promise;
  expect(ends.near.destroyed).toBe(word !== 'peer');
  client.destroy();
  return word;
}

test('a caller that finishes is a peer', async () => {
  expect(await outcome(USUAL_MS, (bytes, socket) => socket.write(bytes))).toBe('peer');
});

test('a caller that says no more than its ClientHello is given up', async () => {
  expect(await outcome(SHORT_MS, () => {})).toBe('tls_handshake_timeout');
});

test('a caller that sends the rest a byte at a time gains no time by it', async () => {
  let rest: Buffer = Buffer.alloc(0);
  let drip: NodeJS.Timeout | undefined;
  const word = await outcome(SHORT_MS, (bytes, socket) => {
    rest = Buffer.concat([rest, bytes]);
    drip ??= setInterval(() => {
      socket.write(rest.subarray(0, 1));
      rest = rest.subarray(1);
    }, 2);
  });
  clearInterval(drip);
  expect(word).toBe('tls_handshake_timeout');
  expect(rest.length).toBeGreaterThan(0);
});
