import { once } from 'node:events';
import { expect, test } from 'vitest';
import { writeNow } from '../../../proxy/net/raw-writes.ts';
import { plainEnds, read } from './sockets.ts';

const CHUNK = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * 7) % 251));
const NOBODY = { onWritable() {}, onWriteFailed() {} };

test('what the kernel takes whole is sent, and nothing is left to be told', async () => {
  using pair = await plainEnds();
  expect(writeNow(pair.near, Buffer.from('all of it'), NOBODY)).toBe(true);
  expect(pair.near.writableLength).toBe(0);
  expect((await read(pair.far, 9)).toString()).toBe('all of it');
});

test('what it does not take is sent later, in order with later writes of either kind, and its end is told', async () => {
  using pair = await plainEnds();
  const { promise, resolve } = Promise.withResolvers<void>();
  let queued = 0;
  for (let i = 0; i < 20; i++) if (!writeNow(pair.near, CHUNK, { ...NOBODY, onWritable: resolve })) queued++;
  expect(queued).toBeGreaterThan(0);
  pair.near.write('by the stream, ');
  writeNow(pair.near, Buffer.from('and by hand'), NOBODY);
  const tail = 'by the stream, and by hand';
  const received = await read(pair.far, 20 * CHUNK.length + tail.length);
  await promise;
  expect(received.subarray(0, 20 * CHUNK.length).equals(Buffer.concat(Array<Buffer>(20).fill(CHUNK)))).toBe(true);
  expect(received.subarray(20 * CHUNK.length).toString()).toBe(tail);
});

test.each(['end', 'destroySoon'] as const)('%s sends what waits before it closes', async (close) => {
  using pair = await plainEnds();
  for (let i = 0; i < 20; i++) writeNow(pair.near, CHUNK, NOBODY);
  pair.near[close]();
  const closed = once(pair.far, 'end');
  expect((await read(pair.far, 20 * CHUNK.length)).length).toBe(20 * CHUNK.length);
  await closed;
});

test('a far side that is gone is told with the error that a write of the socket itself would have', async () => {
  using pair = await plainEnds();
  pair.far.resetAndDestroy();
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException>();
  const timer = setInterval(() => writeNow(pair.near, CHUNK, { ...NOBODY, onWriteFailed: resolve }), 1);
  const error = await promise;
  clearInterval(timer);
  expect(error.syscall).toBe('write');
  expect(['EPIPE', 'ECONNRESET']).toContain(error.code);
  expect(pair.near.destroyed).toBe(false);
});

test('bytes that wait when the far side goes are told of as well', async () => {
  using pair = await plainEnds();
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException>();
  for (let i = 0; i < 20; i++) writeNow(pair.near, CHUNK, { ...NOBODY, onWriteFailed: resolve });
  pair.far.resetAndDestroy();
  expect(['EPIPE', 'ECONNRESET']).toContain((await promise).code);
});

test('a socket that is destroyed with bytes waiting tells nothing', async () => {
  using pair = await plainEnds();
  let told = 0;
  const count = { onWritable: () => told++, onWriteFailed: () => told++ };
  for (let i = 0; i < 20; i++) writeNow(pair.near, CHUNK, count);
  pair.near.destroy();
  await once(pair.near, 'close');
  expect(writeNow(pair.near, CHUNK, count)).toBe(true);
  expect(told).toBe(0);
});
