/** Callers that send or take next to nothing cost little memory, and harm neither others nor an honest slow caller. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { detect, MAX_DETECT_BYTES } from '../../proxy/session/detect.ts';
import { get, post, residentBytes } from '../integration/mesh.ts';
import type { RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { answerWith, echoTarget, Stage } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({ nodeFlags: ['--max-semi-space-size=4'] });
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => stage.begin());

const KIB = 1024;
const MIB = 1024 * KIB;

async function open(count: number, connect: () => Promise<RawClient>): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let i = 0; i < count; i += 50) {
    clients.push(...(await Promise.all(Array.from({ length: Math.min(50, count - i) }, connect))));
  }
  return clients;
}

async function closeAll(clients: readonly RawClient[]): Promise<void> {
  for (const client of clients) client.close();
  await eventually(
    'they are gone',
    async () => (await stage.weft.metric('weft_downstream_connections')) < 10 || undefined,
  );
}

/** How much more memory the sidecar has, a connection, with `count` connections that have sent `bytes` and no more. */
async function costOf(count: number, bytes: string, parts = 1): Promise<number> {
  const before = residentBytes(stage.weft.pid);
  const clients = await open(count, () => stage.outbound());
  try {
    for (let part = 0; part < parts; part++) {
      await Promise.all(clients.map((client) => client.write(bytes)));
      expect((await stage.victim('/good')).body.toString()).toBe('/good');
    }
    return (residentBytes(stage.weft.pid) - before) / count;
  } finally {
    await closeAll(clients);
  }
}

test('connections that say nothing, stop in a head or in a body cost at most 16 KiB each', {
  timeout: 60_000,
}, async () => {
  const count = 1000;
  await costOf(count, 'GET /x HTTP/1.1\r\n');
  expect(await costOf(count, '')).toBeLessThan(16 * KIB);
  expect(await costOf(count, 'G')).toBeLessThan(16 * KIB);
  expect(await costOf(count, 'GET /x HTTP/1.1\r\nHost: app\r\nX-Slow: ')).toBeLessThan(16 * KIB);
});

test.for([
  ['all at once', 1000],
  ['one by one', 1],
] as const)(
  'a caller that sends requests %s and takes no answer is not answered without end',
  { timeout: 30_000 },
  async ([, batch]) => {
    const small = answerWith('x'.repeat(64 * KIB));
    stage.app.respond = (_seen, socket) => void socket.write(small);
    using client = await stage.outbound();
    client.socket.pause();
    const before = residentBytes(stage.weft.pid);
    const most = 1000;
    let sent = 0;
    let isAnswering = true;
    while (isAnswering && sent < most) {
      void client.write(get('app', '/small').repeat(batch));
      sent += batch;
      const seen = (): true | undefined => stage.app.seen.length >= sent || undefined;
      isAnswering = await eventually('the application is asked', seen, 500).catch(() => false);
    }
    // 64 MB of answers would be waiting; what the kernel holds is a few.
    expect(stage.app.seen.length).toBeLessThan(most * 0.5);
    expect((residentBytes(stage.weft.pid) - before) / MIB).toBeLessThan(24);
  },
);

test('a caller that reads slowly gets the whole of its last answer', { timeout: 60_000 }, async () => {
  const body = 'x'.repeat(12 * MIB);
  stage.app.respond = (_seen, socket) => void socket.write(answerWith(body));
  using client = await stage.outbound();
  await client.write(get('app', '/last', 'Connection: close'));
  await client.until(() => (client.received.length > 0 ? true : undefined));
  let total = client.received.length;
  client.socket.removeAllListeners('data');
  client.socket.on('data', (chunk: Buffer) => {
    total += chunk.length;
    client.socket.pause();
    // About 6 MB/s: longer than a second for what the kernel and the sidecar hold together.
    setTimeout(() => client.socket.resume(), chunk.length / 6_000);
  });
  await client.ended;
  expect(total).toBeGreaterThan(body.length);
});

test('an honest caller that sends one byte at a time is served', async () => {
  stage.app.respond = echoTarget;
  using client = await stage.outbound();
  await client.writeBytewise(get('app', '/bytewise'));
  expect((await client.answer()).body.toString()).toBe('/bytewise');
});

test('a ClientHello in records of one byte is given up before looking at it costs anything', () => {
  const record = Buffer.from([22, 3, 1, 0, 1, 1]);
  const records = Buffer.concat(Array.from({ length: 200 }, () => record));
  expect(detect(records)).toEqual({ protocol: 'opaque' });
  const honest = Buffer.concat([Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 200]), Buffer.from([22, 3, 1, 0, 1, 7])]);
  expect(detect(honest)).toEqual({ protocol: 'more' });
  expect(MAX_DETECT_BYTES).toBeLessThanOrEqual(16 * KIB);
});

/** How much more memory the sidecar has, a request, while so many wait for an answer and others with bodies pass by. */
async function costOfWaiting(count: number, body: string): Promise<number> {
  stage.app.respond = (seen, socket) => {
    if (!seen.head.includes('/wait')) echoTarget(seen, socket);
  };
  const before = residentBytes(stage.weft.pid);
  const clients = await open(count, () => stage.outbound());
  try {
    using other = await stage.outbound();
    for (const client of clients) {
      await client.write(post('app', body, '/wait'));
      for (let i = 0; i < 4; i++) await other.exchange(post('app', 'x'.repeat(16 * KIB), '/good'));
    }
    return (residentBytes(stage.weft.pid) - before) / count;
  } finally {
    await closeAll(clients);
  }
}

test('a small body that waits for its answer holds no more memory than its own, whatever passes by', {
  timeout: 60_000,
  // A second try would find the memory that the first one took.
  retry: 0,
}, async () => {
  const count = 400;
  await costOfWaiting(count, '');
  expect(await costOfWaiting(count, 'x'.repeat(100))).toBeLessThan(32 * KIB);
});
