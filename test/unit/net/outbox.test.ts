import { describe, expect, test, vi } from 'vitest';
import { Outbox, type OutboxOwner } from '../../../proxy/net/outbox.ts';
import { plainEnds, read, tlsEnds } from './sockets.ts';

class Owner implements OutboxOwner {
  readonly socket: OutboxOwner['socket'];
  readonly encrypted: boolean;
  congestions = 0;
  relieved = 0;
  readonly whenCongested: () => void;

  constructor(socket: OutboxOwner['socket'], encrypted: boolean, whenCongested: () => void = () => {}) {
    this.socket = socket;
    this.encrypted = encrypted;
    this.whenCongested = whenCongested;
  }

  onCongested(): void {
    this.congestions++;
    this.whenCongested();
  }

  onWritable(): void {
    this.relieved++;
  }

  onWriteFailed(): void {}
}

/** Bytes in which every misplaced one shows. */
function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + seed * 17 + (i >> 8)) & 0xff;
  return bytes;
}

const KINDS = [
  ['plain', plainEnds, false],
  ['TLS', tlsEnds, true],
] as const;

describe.each(KINDS)('an outbox over %s', (_name, open, encrypted) => {
  test('writes everything that one turn appends in one piece', async () => {
    using pair = await open();
    const outbox = new Outbox();
    const owner = new Owner(pair.near, encrypted);
    const before = pair.near.bytesWritten;
    outbox.begin();
    outbox.begin();
    outbox.appendText(owner, 'head ');
    outbox.appendBytes(owner, Buffer.from('xbodyx'), 1, 5);
    outbox.end();
    expect(pair.near.bytesWritten).toBe(before);
    outbox.end();
    expect((await read(pair.far, 9)).toString()).toBe('head body');
  });

  test('keeps the bytes apart of two sockets that one turn writes to', async () => {
    using one = await open();
    using two = await open();
    const outbox = new Outbox();
    const [first, second] = [new Owner(one.near, encrypted), new Owner(two.near, encrypted)];
    outbox.begin();
    for (let i = 0; i < 5; i++) {
      outbox.appendText(first, `a${i}`);
      outbox.appendText(second, `b${i}`);
    }
    outbox.end();
    expect((await read(one.far, 10)).toString()).toBe('a0a1a2a3a4');
    expect((await read(two.far, 10)).toString()).toBe('b0b1b2b3b4');
  });

  test('never changes bytes that a socket still holds, however its memory is reused', async () => {
    using pair = await open();
    const outbox = new Outbox();
    const owner = new Owner(pair.near, encrypted);
    // More than the kernel takes while nobody reads.
    const chunks = Array.from({ length: 120 }, (_, i) => pattern(70_000 + i, i));
    for (const chunk of chunks) outbox.appendBytes(owner, chunk, 0, chunk.length);
    expect(owner.congestions).toBeGreaterThan(0);
    const expected = Buffer.concat(chunks);
    expect((await read(pair.far, expected.length)).equals(expected)).toBe(true);
  });

  test('keeps its order where an owner appends when it is told of congestion', async () => {
    using pair = await open();
    const outbox = new Outbox();
    let said = false;
    const owner: Owner = new Owner(pair.near, encrypted, () => {
      if (said) return;
      said = true;
      outbox.appendText(owner, 'congested');
    });
    const chunks = Array.from({ length: 100 }, (_, i) => pattern(60_000, i));
    for (const chunk of chunks) outbox.appendBytes(owner, chunk, 0, chunk.length);
    const received = await read(pair.far, 100 * 60_000 + 'congested'.length);
    const at = received.indexOf('congested');
    expect(at % 60_000).toBe(0);
    const rest = Buffer.concat([received.subarray(0, at), received.subarray(at + 'congested'.length)]);
    expect(rest.equals(Buffer.concat(chunks))).toBe(true);
  });
});

test('what waits behind other writes of TLS is not garbage when it has left', async () => {
  using pair = await tlsEnds();
  const outbox = new Outbox();
  const owner = new Owner(pair.near, true);
  const chunks = Array.from({ length: 40 }, (_, i) => pattern(30_000 + 1000 * i, i));
  const expected = Buffer.concat(chunks);
  const made = vi.spyOn(Buffer, 'allocUnsafeSlow');
  const copied = vi.spyOn(Buffer, 'from');
  // In the second round everything is there already.
  for (const round of [1, 2]) {
    made.mockClear();
    copied.mockClear();
    for (const chunk of chunks) outbox.appendBytes(owner, chunk, 0, chunk.length);
    const [allocations, copies] = [made.mock.calls.length, copied.mock.calls.length];
    expect((await read(pair.far, expected.length)).equals(expected)).toBe(true);
    await vi.waitFor(() => expect(pair.near.writableLength).toBe(0));
    if (round === 2) expect([allocations, copies]).toEqual([0, 0]);
  }
  vi.restoreAllMocks();
});

test('a text longer than the buffer arrives whole, after what was there before', async () => {
  using pair = await plainEnds();
  const outbox = new Outbox();
  const owner = new Owner(pair.near, false);
  const long = 'x'.repeat(200_000);
  outbox.begin();
  outbox.appendText(owner, 'first ');
  outbox.appendText(owner, long);
  outbox.end();
  expect((await read(pair.far, 200_006)).toString()).toBe(`first ${long}`);
});

test('what was collected for a socket that is destroyed is dropped, and nothing else', async () => {
  using one = await plainEnds();
  using two = await plainEnds();
  const outbox = new Outbox();
  outbox.begin();
  outbox.appendText(new Owner(one.near, false), 'never');
  outbox.appendText(new Owner(two.near, false), 'this');
  one.near.destroy();
  outbox.end();
  expect((await read(two.far, 4)).toString()).toBe('this');
});

test('what somebody else appends when told of congestion goes to that one, though it comes amid a long append', async () => {
  using one = await plainEnds();
  using two = await plainEnds();
  const outbox = new Outbox();
  const other = new Owner(two.near, false);
  const owner = new Owner(one.near, false, () => {
    if (owner.congestions === 1) outbox.appendText(other, 'for the other');
  });
  const chunks = Array.from({ length: 100 }, (_, i) => pattern(200_000, i));
  outbox.begin();
  for (const chunk of chunks) outbox.appendBytes(owner, chunk, 0, chunk.length);
  outbox.end();
  const [received, heard] = await Promise.all([read(one.far, 100 * 200_000), read(two.far, 13)]);
  expect(owner.congestions).toBeGreaterThan(0);
  expect(heard.toString()).toBe('for the other');
  expect(received.equals(Buffer.concat(chunks))).toBe(true);
});

describe('where a turn of the loop brings many reads', () => {
  /** As many events as it takes for an outbox to collect. */
  async function collecting(outbox: Outbox): Promise<void> {
    for (let i = 0; i < 200; i++) event(outbox, () => {});
    await nextTurn();
  }

  function event(outbox: Outbox, append: () => void): void {
    outbox.begin();
    append();
    outbox.end();
  }

  function nextTurn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  test('the writes of all of them are made at its end, each in one piece and in order', async () => {
    using one = await plainEnds();
    using two = await plainEnds();
    const outbox = new Outbox();
    const [first, second] = [new Owner(one.near, false), new Owner(two.near, false)];
    await collecting(outbox);
    for (let i = 0; i < 5; i++) {
      event(outbox, () => outbox.appendText(first, `a${i}`));
      event(outbox, () => outbox.appendText(second, `b${i}`));
    }
    expect([one.near.bytesWritten, two.near.bytesWritten]).toEqual([0, 0]);
    await nextTurn();
    expect([one.near.bytesWritten, two.near.bytesWritten]).toEqual([10, 10]);
    expect((await read(one.far, 10)).toString()).toBe('a0a1a2a3a4');
    expect((await read(two.far, 10)).toString()).toBe('b0b1b2b3b4');
  });

  test('what is much does not wait for that', async () => {
    using pair = await plainEnds();
    const outbox = new Outbox();
    const owner = new Owner(pair.near, false);
    await collecting(outbox);
    event(outbox, () => outbox.appendBytes(owner, pattern(70_000), 0, 70_000));
    expect(pair.near.bytesWritten).toBe(70_000);
  });

  test('where they have become few, a write leaves with the read that caused it', async () => {
    using pair = await plainEnds();
    const outbox = new Outbox();
    const owner = new Owner(pair.near, false);
    await collecting(outbox);
    event(outbox, () => outbox.appendText(owner, 'late '));
    await nextTurn();
    event(outbox, () => outbox.appendText(owner, 'at once'));
    expect(pair.near.bytesWritten).toBe('late at once'.length);
  });
});
