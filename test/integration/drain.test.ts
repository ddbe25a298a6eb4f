import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { after, fixed, startBackend, text } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { closedLoop } from '../support/load.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, header, meshed, plain, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend(fixed(1024)));
afterAll(() => mesh[Symbol.asyncDispose]());

/** Less than any patience, however slow the machine is. */
const SOON_MS = 10_000;

async function endOf(weft: Weft): Promise<{ code: number | null; ms: number }> {
  const started = performance.now();
  const { code } = await weft.program.exit;
  return { code, ms: performance.now() - started };
}

/**
 * At once: well before a sidecar that was told at the same time and waits for two seconds of quiet, since it has a caller.
 * A slow machine slows both.
 */
async function expectEndsAtOnce(weft: Weft, busyAccount: string): Promise<void> {
  const documents = plain({ name: 'app', endpoints: [app.port] });
  const busy = await mesh.start({ account: busyAccount, documents });
  using client = await openClient(busy.ports.outbound);
  await client.exchange(get('app'));
  busy.program.signal('SIGTERM');
  weft.program.signal('SIGTERM');
  const ends = await Promise.all([endOf(weft), endOf(busy)]);
  expect(ends.map(({ code }) => code)).toEqual([0, 0]);
  expect(ends[0].ms).toBeLessThan(ends[1].ms - 500);
}

// Five programs start at once.
describe('an idle sidecar', { timeout: 60_000 }, () => {
  test.concurrent('ends at once with 0 on SIGTERM', async () => {
    const weft = await mesh.start({ account: 'idle', documents: plain({ name: 'app', endpoints: [app.port] }) });
    await expectEndsAtOnce(weft, 'beside-idle');
  });

  test.concurrent('ends at once after it has served, though its upstream connections are still pooled', async () => {
    const weft = await mesh.start({ account: 'served', documents: plain({ name: 'app', endpoints: [app.port] }) });
    await ask(weft.ports.outbound, get('app', '/', 'Connection: close'));
    await eventually(
      'its caller is gone',
      async () => (await weft.metric('weft_downstream_connections')) === 0 || undefined,
    );
    await expectEndsAtOnce(weft, 'beside-served');
  });

  test.concurrent('ends on POST /quitquitquit', async () => {
    const weft = await mesh.start({ account: 'quit' });
    expect((await weft.ask('admin', '/quitquitquit', { method: 'POST' })).status).toBe(200);
    expect((await endOf(weft)).code).toBe(0);
  });
});

describe('a sidecar with a request under way', () => {
  let weft: Weft;
  let release: () => void;
  const slow = async (account: string): Promise<Awaited<ReturnType<typeof openClient>>> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    release = resolve;
    const backend = mesh.own(await startBackend(after(promise, text('late'))));
    weft = await mesh.start({ account, documents: plain({ name: 'app', endpoints: [backend.port] }) });
    const client = await openClient(weft.ports.outbound);
    await client.write(get('app'));
    await eventually('the request is under way', () => backend.requests.length > 0 || undefined);
    return client;
  };

  test('is unready at once, answers it with Connection: close, and ends after 2 s of quiet', async () => {
    using client = await slow('busy');
    weft.program.signal('SIGTERM');
    const body = await eventually('it is unready', async () => {
      const answer = await weft.ask('ready', '/healthz/ready');
      return answer.status === 503 ? answer.text() : undefined;
    });
    expect(body).toContain('draining');
    expect(weft.program.exited).toBeNull();
    const end = endOf(weft);
    release();
    const answer = await client.answer();
    expect([answer.body.toString(), header(answer, 'connection')]).toEqual(['late', 'close']);
    const { code, ms } = await end;
    expect(code).toBe(0);
    expect(ms).toBeGreaterThan(1_900);
    expect(ms).toBeLessThan(SOON_MS);
  });

  test('ends at once on a second SIGTERM', async () => {
    using client = await slow('twice');
    weft.program.signal('SIGTERM');
    await weft.program.waitForLine((line) => line.includes('"draining"') || undefined);
    weft.program.signal('SIGTERM');
    const { code, ms } = await endOf(weft);
    expect(code).toBe(0);
    expect(ms).toBeLessThan(SOON_MS);
    await client.ended;
  });
});

test('--drain is the end of patience', async () => {
  const backend = mesh.own(await startBackend(after(new Promise(() => {}), text('never'))));
  const documents = plain({ name: 'app', endpoints: [backend.port] });
  const weft = await mesh.start({ account: 'impatient', documents, flags: ['--drain', '1'] });
  using client = await openClient(weft.ports.outbound);
  await client.write(get('app'));
  await eventually('the request is under way', () => backend.requests.length > 0 || undefined);
  weft.program.signal('SIGTERM');
  const { code, ms } = await endOf(weft);
  expect(code).toBe(0);
  expect(ms).toBeGreaterThan(900);
  expect(ms).toBeLessThan(1_000 + SOON_MS);
});

test('POST /drain makes it unready and lets it serve on', async () => {
  const weft = await mesh.start({ account: 'asked', documents: plain({ name: 'app', endpoints: [app.port] }) });
  expect((await weft.ask('admin', '/drain', { method: 'POST' })).status).toBe(202);
  const answer = await weft.ask('ready', '/healthz/ready');
  expect([answer.status, await answer.text()]).toEqual([503, 'not ready\ndraining\n']);
  const served = await ask(weft.ports.outbound, get('app'));
  expect([served.status, header(served, 'connection')]).toEqual([200, 'close']);
});

describe('SIGTERM under load fails no request', () => {
  let callee: Weft;
  let other: Weft;
  let caller: Weft;

  beforeAll(async () => {
    callee = await mesh.start({ account: 'callee', app: app.port });
    other = await mesh.start({ account: 'other', app: app.port });
    const endpoints = [callee.ports.inbound, other.ports.inbound];
    caller = await mesh.start({ account: 'caller', documents: meshed({ name: 'callee', endpoints }) });
  });

  /** Load through `caller` until `enough` resolves; POST, so that no retry hides a lost request. */
  async function load(enough: Promise<unknown>): Promise<[string, number][]> {
    const stop = new AbortController();
    void enough.then(() => stop.abort());
    const options = {
      port: caller.ports.outbound,
      headers: { host: 'callee' },
      connections: 16,
      method: 'POST',
      body: 'x',
    };
    const report = await closedLoop({ ...options, signal: stop.signal });
    expect(report.sent).toBeGreaterThan(100);
    return [...report.failures];
  }

  test('inbound, while its endpoint is taken out of the policy', async () => {
    const exit = callee.program.exit;
    const failures = load(exit);
    await eventually('it serves', async () => (await callee.metric('istio_requests_total')) > 50 || undefined);
    callee.program.signal('SIGTERM');
    await eventually('it is unready', async () => !(await callee.isReady()) || undefined);
    await mesh.apply(caller, 'caller', meshed({ name: 'callee', endpoints: [other.ports.inbound] }));
    expect(await failures).toEqual([]);
    expect((await exit).code).toBe(0);
  });

  test('outbound, while its application still calls', async () => {
    const enough = Promise.withResolvers<void>();
    const failures = load(enough.promise);
    await eventually('it serves', async () => (await caller.metric('istio_requests_total')) > 50 || undefined);
    const before = app.requests.length;
    caller.program.signal('SIGTERM');
    await eventually('it serves on', () => app.requests.length > before + 200 || undefined);
    enough.resolve();
    expect(await failures).toEqual([]);
    expect((await caller.program.exit).code).toBe(0);
  });
});
