import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { READ_BUFFER_BYTES } from '../../../proxy/net/raw-reads.ts';
import { Transport, type TransportOwner } from '../../../proxy/net/transport.ts';
import { Tunnel, type TunnelEnd } from '../../../proxy/session/l4.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { eventually } from '../../support/eventually.ts';
import { Heard } from '../../support/heard.ts';
import { type Ends, plainEnds, tlsEnds } from '../net/sockets.ts';
import { RoomStage } from './room-stage.ts';

const NOBODY: TransportOwner = { onBytes() {}, onEof() {}, onClosed() {}, onCongested() {}, onWritable() {} };
const HOUR_MS = 3_600_000;
/** So few that TLS holds one of them without a word. */
const CHUNK = Buffer.alloc(16_384);

describe.each([
  ['plain', plainEnds],
  ['TLS', tlsEnds],
] as const)('a tunnel to a %s upstream', (_name, open) => {
  const owned: Disposable[] = [];
  afterEach(() => {
    for (const pair of owned.splice(0)) pair[Symbol.dispose]();
  });

  async function tunnel(idleMs: number): Promise<{
    clock: ManualClock;
    caller: Heard;
    server: Heard;
    /** Sockets of the tunnel. */
    downstream: Ends<Heard['socket']>['near'];
    upstream: Ends<Heard['socket']>['near'];
    ends: TunnelEnd[];
    tunnel: Tunnel;
  }> {
    const clock = new ManualClock();
    const io = new IoThread(clock, new Random(1));
    const down = await plainEnds();
    const up = await open();
    owned.push(down, up);
    const near = new Transport(down.near, false, io.outbox, NOBODY);
    const far = new Transport(up.near, open === tlsEnds, io.outbox, NOBODY);
    const ends: TunnelEnd[] = [];
    const made = new Tunnel(io, near, far, idleMs, (end) => ends.push(end));
    near.adopt(null);
    far.adopt(null);
    const [caller, server] = [new Heard(down.far), new Heard(up.far)];
    return { clock, caller, server, downstream: down.near, upstream: up.near, ends, tunnel: made };
  }

  test('keeps a bounded number of bytes for a side that does not read, and loses none of them', async () => {
    const { caller, server, downstream, upstream } = await tunnel(HOUR_MS);
    server.socket.pause();
    const bytes = Buffer.alloc(24_000_000, Buffer.from(Array.from({ length: 65_521 }, (_, i) => (i * 31) & 0xff)));
    let most = 0;
    caller.socket.write(bytes);
    await eventually('the source is stopped', () => {
      most = Math.max(most, heldFor(upstream));
      return downstream.isPaused() || undefined;
    });
    for (let turn = 0; turn < 100; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, heldFor(upstream));
    }
    await eventually('the source is stopped for good', () => downstream.isPaused() || undefined);
    expect(most).toBeLessThanOrEqual(2 * (upstream.writableHighWaterMark + READ_BUFFER_BYTES));
    server.socket.resume();
    await eventually('all has arrived', () => server.length === bytes.length || undefined);
    expect(server.bytes.equals(bytes)).toBe(true);
  });

  test('ends when nothing has moved for the idle time, at most a quarter later, and not before', async () => {
    const { clock, caller, server, ends } = await tunnel(60_000);
    clock.advance(50_000);
    caller.socket.write('x');
    await server.until('x');
    clock.advance(59_000);
    expect([caller.end, server.end, ends]).toEqual(['open', 'open', []]);
    clock.advance(16_000);
    expect([await caller.untilEnd(), await server.untilEnd()]).toEqual(['fin', 'fin']);
    await eventually('it has ended', () => ends[0]);
    expect(ends[0]?.failure?.word).toBe('stream_idle');
  });

  test('with an idle time of 0 stays for ever', async () => {
    const { clock, caller, server } = await tunnel(0);
    clock.advance(100 * HOUR_MS);
    caller.socket.write('still here');
    await server.until('still here');
  });

  test('that is idle because a side does not read is cut: nobody takes the loss for the end', async () => {
    const { clock, caller, server, downstream, ends } = await tunnel(60_000);
    server.socket.pause();
    caller.socket.write(Buffer.alloc(24_000_000));
    await eventually('the source is stopped', () => downstream.isPaused() || undefined);
    clock.advance(1);
    clock.advance(90_000);
    server.socket.resume();
    expect(await server.untilEnd()).toBe('reset');
    await eventually('it has ended', () => ends[0]);
  });

  test('is cut on both sides when it is reset, also where its caller is gone and only the server owes something', async () => {
    const { caller, server, downstream, upstream, ends, tunnel: made } = await tunnel(HOUR_MS);
    server.socket.pause().end();
    await caller.untilEnd();
    for (let sent = CHUNK.length; heldFor(upstream) === 0; sent += CHUNK.length) {
      caller.socket.write(CHUNK);
      // A chunk that comes in two reads may be stopped between them.
      const passedOn = (): true | undefined => made.received === sent || heldFor(upstream) > 0 || undefined;
      await eventually('the chunk is passed on', passedOn);
    }
    caller.socket.end();
    // What the kernel does not take of plain bytes stops their source at once; TLS holds a little, and sees the end.
    await eventually('all is said', () => downstream.destroyed || downstream.isPaused() || undefined);
    expect(ends).toEqual([]);
    made.reset();
    await eventually('it has ended', () => ends[0]);
    server.socket.resume();
    expect(await server.untilEnd()).toBe('reset');
  });

  test('has the kernel ask after both far sides when they are silent', async () => {
    const { downstream, upstream } = await tunnel(HOUR_MS);
    for (const socket of [downstream, upstream]) {
      await eventually(
        'the keepalive timer runs',
        () => timerOf(socket.localPort ?? 0, socket.remotePort ?? 0) === 2 || undefined,
      );
    }
  });

  test.each(['caller', 'server'] as const)('says who ended it: the %s', async (who) => {
    const { ends, tunnel: made, ...sides } = await tunnel(HOUR_MS);
    const other = who === 'caller' ? sides.server : sides.caller;
    sides[who].socket.end('1234');
    await other.until('1234');
    other.socket.end('56');
    await eventually('it has ended', () => ends[0]);
    expect(ends).toEqual([{ failure: null, detail: `the ${who === 'caller' ? 'caller' : 'upstream'} ended first` }]);
    expect(who === 'caller' ? [made.received, made.sent] : [made.sent, made.received]).toEqual([4, 2]);
  });

  test('says who was cut', async () => {
    const { ends, caller } = await tunnel(HOUR_MS);
    caller.socket.resetAndDestroy();
    await eventually('it has ended', () => ends[0]);
    expect([ends[0]?.failure?.word, ends[0]?.detail]).toEqual([
      'client_gone',
      'the caller was cut: ECONNRESET read ECONNRESET',
    ]);
  });
});

/** Bytes that Node and libuv hold for a socket. */
function heldFor(socket: Heard['socket']): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly writeQueueSize: number } };
  return socket.writableLength + handle.writeQueueSize;
}

/** What the kernel waits for on this connection (Documentation/networking/proc_net_tcp): 2 is keepalive. */
function timerOf(localPort: number, remotePort: number): number | undefined {
  const hex = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1)) {
    const [, local = '', remote = '', , , timer = ''] = line.trim().split(/ +/);
    if (local.endsWith(hex(localPort)) && remote.endsWith(hex(remotePort))) return Number.parseInt(timer, 16);
  }
  return undefined;
}

test('the metrics are told of bytes that have passed while the connection is still open', async () => {
  await using stage = await RoomStage.open({ protocol: 'tcp' });
  using client = await stage.connect();
  const server = await stage.connection(0);
  await client.write('12345');
  await server.until('12345');
  server.socket.write('678');
  await client.until(() => client.text === '678' || undefined);
  const told = (): number[] => {
    stage.room.report();
    return [...stage.metrics.report().tcp.cells];
  };
  const first = told();
  expect(first).toContain(5);
  expect(first).toContain(3);
  expect(told()).toEqual(first);
});
