import { expect, test } from 'vitest';
import { READ_BUFFER_BYTES, readBuffer, readInto } from '../../../proxy/net/raw-reads.ts';
import { eventually } from '../../support/eventually.ts';
import { plainEnds, tlsEnds } from './sockets.ts';

test.each([
  ['plain', plainEnds],
  ['TLS', tlsEnds],
])('an accepted %s socket reads into the shared buffer, whole and in order, with pauses', async (name, open) => {
  using pair = await open();
  const sent = Buffer.from(Array.from({ length: 500_000 }, (_, i) => (i * 7) % 251));
  const parts: Buffer[] = [];
  let length = 0;
  let shared = true;
  let pauses = 0;
  readInto(pair.near, (count, bytes) => {
    shared &&= bytes.buffer === readBuffer.buffer && count <= READ_BUFFER_BYTES;
    parts.push(Buffer.from(bytes.subarray(0, count)));
    length += count;
    if (++pauses % 3 !== 0) return true;
    setImmediate(() => pair.near.resume());
    return false;
  });
  if (name === 'TLS') pair.near.read(0);
  pair.near.resume();
  pair.far.write(sent);
  await eventually('all is there', () => length >= sent.length || undefined);
  expect(shared).toBe(true);
  expect(Buffer.concat(parts).equals(sent)).toBe(true);
});

test('a socket that is closed already is left alone', async () => {
  using pair = await plainEnds();
  pair.near.destroy();
  expect(() => readInto(pair.near, () => true)).not.toThrow();
});
