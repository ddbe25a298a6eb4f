/**
 * The floods of http2-floods.test.ts against a real sidecar, a few hundred connections of each: every one is ended and
 * freed, memory stays flat, and a well-behaved caller is served meanwhile.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import * as f from '../../proxy/http/h2-frames.ts';
import { DEFAULT_H2_LIMITS as L } from '../../proxy/http/h2-limits.ts';
import { ask, get, plain, residentBytes, TinyMesh } from '../integration/mesh.ts';
import { type Backend, startBackend, text } from '../support/backend.ts';
import { openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { frame, GET, headers, type Pair, settings, uint32 } from '../support/h2.ts';
import type { Weft } from '../support/weft.ts';

const START_MS = 60_000;
vi.setConfig({ testTimeout: 60_000 });

const MIB = 2 ** 20;
const CONNECTIONS = 60;
const AT_ONCE = 4;
/** How long a flood may have no effect before the attacker goes on. */
const PATIENCE_MS = 2_000;
/** What one round of a flood may add to that before it, and what 100 streams with header bombs may. */
const MOST_GROWTH = 20 * MIB;
/** A collector that takes its time lets one round or the other grow; what is not freed grows in all of them. */
const MOST_ROUNDS = 6;

const HELLO = Buffer.concat([f.PREFACE, settings(), frame(f.SETTINGS, f.ACK, 0)]);
const REQUEST: readonly Pair[] = [...GET.slice(0, 3), [':authority', 'app']];

const mesh = new TinyMesh();
let app: Backend;
let weft: Weft;

beforeAll(async () => {
  app = mesh.own(await startBackend(text('served')));
  weft = await mesh.start({
    account: 'edge',
    documents: plain({ name: 'app', endpoints: [app.port], appProtocol: 'http' }),
  });
  // Code is loaded and compiled, and what the first connections cost for good is paid, before anything is measured.
  for (const flood of FLOODS) await each(CONNECTIONS, () => provoke(flood));
  await nobodyIsLeft();
}, START_MS);
afterAll(() => mesh[Symbol.asyncDispose]());

interface Flood {
  readonly name: string;
  /** Sent after the preface, in one write. */
  readonly bytes: Buffer;
  readonly code: number;
  /** What the attacker sends, counted from 1, while its connection has not ended. */
  readonly goOn?: (part: number) => Buffer;
}

const times = (count: number, make: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

function resets(part: number): Buffer {
  const count = 2 * L.resetBurst;
  return times(count, (i) => {
    const id = 2 * (part * count + i) + 1;
    return Buffer.concat([headers(id, REQUEST), frame(f.RST_STREAM, 0, id, uint32(f.CANCEL))]);
  });
}

/** Each is sent in one write, long enough that what refills meanwhile on a slow machine does not carry it. */
const FLOODS: readonly Flood[] = [
  {
    name: 'rapid reset',
    bytes: resets(0),
    code: f.ENHANCE_YOUR_CALM,
    // A sidecar whose loop comes round late refuses requests at once, and the reset of what has its answer counts for less.
    goOn: resets,
  },
  {
    name: 'CONTINUATION without end',
    bytes: Buffer.concat([
      headers(1, REQUEST, 0x1),
      times(L.continuations + 10, () => frame(f.CONTINUATION, 0, 1, Buffer.alloc(1000, 0x10))),
    ]),
    code: f.ENHANCE_YOUR_CALM,
  },
  { name: 'SETTINGS', bytes: times(L.settingsBurst + 50, () => settings([3, 100])), code: f.ENHANCE_YOUR_CALM },
  {
    name: 'PING',
    bytes: times(5 * L.pingBurst, () => frame(f.PING, 0, 0, Buffer.alloc(8))),
    code: f.ENHANCE_YOUR_CALM,
  },
  {
    name: 'empty DATA',
    bytes: Buffer.concat([
      headers(1, [[':method', 'POST'], ...REQUEST.slice(1)], 0x4),
      times(L.emptyBurst + 50, () => frame(f.DATA, 0, 1)),
    ]),
    code: f.ENHANCE_YOUR_CALM,
  },
];

describe(`${CONNECTIONS} connections of each flood are ended, and ${CONNECTIONS} more leave memory as it was`, () => {
  test.each(FLOODS)('$name', async (flood) => {
    const { name, code } = flood;
    const requests = app.requests.length;
    const levels: number[] = [];
    const growth = (): number => (levels.at(-1) ?? 0) - (levels.at(-2) ?? 0);
    while (levels.length < 2 || (growth() > MOST_GROWTH && levels.length < MOST_ROUNDS)) {
      const codes = await each(CONNECTIONS, () => provoke(flood));
      expect(new Set(codes)).toEqual(new Set([code]));
      await nobodyIsLeft();
      levels.push(residentBytes(weft.pid));
    }
    console.log(`${name}: RSS ${levels.map(inMib).join(' MB, then ')} MB`);
    expect(growth()).toBeLessThanOrEqual(MOST_GROWTH);
    expect(app.requests.length - requests).toBeLessThanOrEqual((levels.length * CONNECTIONS) / 2);
    expect((await ask(weft.ports.outbound, get('app'))).status).toBe(200);
  });
});

test('header bombs on 100 streams of one connection add at most 20 MB, each refused', async () => {
  const before = residentBytes(weft.pid);
  // One-byte fields by index, decoded to far more than they are: 60,000 of `:status`-like static entries in one block.
  const bomb = Buffer.concat([
    Buffer.from([0x82, 0x86, 0x84, 0x41, 3]),
    Buffer.from('app'),
    Buffer.alloc(16_000, 0x90),
  ]);
  using client = await hello();
  await client.write(times(100, (i) => frame(f.HEADERS, 0x5, 2 * i + 1, bomb)));
  const most = await client.until(() => (answered(client.received) >= 100 ? residentBytes(weft.pid) : undefined));
  console.log(`header bombs: RSS +${inMib(most - before)} MB`);
  expect(most - before).toBeLessThanOrEqual(MOST_GROWTH);
});

test('100 streams whose windows never open hold what one read brought each, and end with their connection', async () => {
  app.behaviour = text('x'.repeat(MIB));
  const before = residentBytes(weft.pid);
  using client = await openClient(weft.ports.outbound);
  await client.write(
    Buffer.concat([
      f.PREFACE,
      settings([4, 0]),
      frame(f.SETTINGS, f.ACK, 0),
      times(100, (i) => headers(2 * i + 1, REQUEST)),
    ]),
  );
  const held = await client.until(
    () => (answered(client.received) >= 100 ? residentBytes(weft.pid) : undefined),
    10_000,
  );
  console.log(`stalled windows: RSS +${inMib(held - before)} MB`);
  expect(held - before).toBeLessThanOrEqual(MOST_GROWTH);
  client.reset();
  await nobodyIsLeft();
  app.behaviour = text('served');
});

/** One connection that floods: the code of the GOAWAY that ends it, or -1. */
async function provoke({ bytes, goOn = () => Buffer.alloc(0) }: Flood): Promise<number> {
  using client = await hello();
  await client.write(bytes);
  const over = client.ended.then(() => true);
  for (let part = 1; !(await Promise.race([over, pause(PATIENCE_MS, false)])); part++) await client.write(goOn(part));
  return (
    framesOf(client.received)
      .findLast(({ type }) => type === f.GOAWAY)
      ?.payload.readUInt32BE(4) ?? -1
  );
}

async function hello(): Promise<RawClient> {
  const client = await openClient(weft.ports.outbound);
  await client.write(HELLO);
  return client;
}

/** Makes `count` of something, some at once. */
async function each<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  const take = async (): Promise<void> => {
    while (count-- > 0) made.push(await make());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, take));
  return made;
}

async function nobodyIsLeft(): Promise<void> {
  await eventually('no caller is connected and no request open', async () => {
    const open = (await weft.metric('weft_downstream_connections')) + (await weft.metric('weft_active_requests'));
    return open === 0 || undefined;
  });
}

function inMib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}

interface Frame {
  readonly type: number;
  readonly id: number;
  readonly payload: Buffer;
}

function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    frames.push({
      type: bytes.readUInt8(at + 3),
      id: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return frames;
}

/** Streams that have a response head. */
function answered(bytes: Buffer): number {
  return new Set(framesOf(bytes).flatMap(({ type, id }) => (type === f.HEADERS ? [id] : []))).size;
}
