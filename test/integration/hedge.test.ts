import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Backend, type Behaviour, reset, slow, startBackend, status, text } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { closedLoop } from '../support/load.ts';
import { trafficPolicy } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, meshed, plain, post, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
let weft: Weft;
let first: Backend;
let second: Backend;

// Each test has a Service of its own: what a budget has counted outlives the policy.

beforeAll(async () => {
  [first, second] = [mesh.own(await startBackend()), mesh.own(await startBackend())];
  weft = await mesh.start({ account: 'caller' });
});
afterAll(() => mesh[Symbol.asyncDispose]());

function policy(name: string, spec: Readonly<Record<string, unknown>>): string {
  return trafficPolicy(name, { loadBalancer: { type: 'RoundRobin' }, ...spec });
}

/** Requests of this Service that a backend has seen. */
function seen(backend: Backend, host: string): number {
  return backend.requests.filter(({ headers }) => headers.host === host).length;
}

async function hedged(name: string, one: Behaviour, other: Behaviour, spec: object = {}): Promise<void> {
  first.behaviour = one;
  second.behaviour = other;
  await mesh.apply(weft, 'caller', [
    ...plain({ name, endpoints: [first.port, second.port] }),
    policy(name, { hedge: { delay: '30ms' }, ...spec }),
  ]);
}

test('a GET that waits longer than the delay is answered by another endpoint, and the slow attempt is cancelled', async () => {
  await hedged('h1', slow(15_000, text('slow')), text('quick'), { hedge: { delay: '1s' } });
  const startedAt = performance.now();
  for (let i = 0; i < 4; i++) {
    expect((await ask(weft.ports.outbound, get('h1'))).body.toString()).toBe('quick');
  }
  expect(performance.now() - startedAt).toBeLessThan(10_000);
  expect(seen(first, 'h1')).toBeGreaterThan(0);
  expect(await weft.metric('weft_retries_total', 'word="hedged"')).toBe(seen(first, 'h1'));
  await eventually('nothing is under way any more', async () => {
    const lines = await (await weft.ask('admin', '/clusters')).text();
    const active = [...lines.matchAll(/^default\/h1:80::.*rq_active::(\d+)$/gm)].map(([, count]) => Number(count));
    return (active.length === 3 && active.every((count) => count === 0)) || undefined;
  });
});

test('one that is answered in time, and any POST, is sent once', async () => {
  await hedged('h2', text('quick'), text('quick'), { hedge: { delay: '5s' } });
  for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('h2'))).status).toBe(200);
  expect(seen(first, 'h2') + seen(second, 'h2')).toBe(4);
  await hedged('h2-post', slow(150, text('slow')), slow(150, text('slow')));
  for (let i = 0; i < 2; i++) expect((await ask(weft.ports.outbound, post('h2-post', 'x'))).status).toBe(200);
  expect(seen(first, 'h2-post') + seen(second, 'h2-post')).toBe(2);
});

test('the first attempt may still win, and its answer is the only one', async () => {
  await hedged('h3', slow(100, text('first')), slow(9_000, text('second')));
  const bodies = [];
  for (let i = 0; i < 4; i++) bodies.push((await ask(weft.ports.outbound, get('h3'))).body.toString());
  expect(bodies).toEqual(['first', 'first', 'first', 'first']);
  expect(seen(second, 'h3')).toBeGreaterThan(1);
});

test('an attempt that fails leaves the one beside it to answer, whichever it is', async () => {
  // The second attempt must be under way when the first fails, however long the machine has stood still.
  const late = slow(1_000, reset);
  await hedged('h4', late, slow(1_200, text('good')), { retry: { numRetries: 0 } });
  for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('h4'))).body.toString()).toBe('good');
});

test('an answer that policy retries does not win while the other is to come', async () => {
  const retry = { numRetries: 1, retryOn: { triggers: ['retriable-status-codes'], httpStatusCodes: [503] } };
  await hedged('h5', slow(60, status(503)), slow(150, text('good')), { retry });
  for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('h5'))).body.toString()).toBe('good');
});

test('a request with a body of a safe method is sent whole to both', async () => {
  await hedged('h6', slow(9_000, text('slow')), text('quick'));
  const request = `GET / HTTP/1.1\r\nHost: h6\r\nContent-Length: 5\r\n\r\nhello`;
  for (let i = 0; i < 2; i++) expect((await ask(weft.ports.outbound, request)).body.toString()).toBe('quick');
  const bodies = second.requests.filter(({ headers }) => headers.host === 'h6').map(({ body }) => body.toString());
  expect(bodies).toEqual(['hello', 'hello']);
});

test('hedges stay within the retry budget', async () => {
  const retryBudget = { percent: 20, minRetriesPerSecond: 0 };
  await hedged('h7', slow(250, text('slow')), slow(250, text('slow')), { circuitBreaker: { retryBudget } });
  await closedLoop({ port: weft.ports.outbound, headers: { host: 'h7' }, connections: 10, requests: 100 });
  const all = seen(first, 'h7') + seen(second, 'h7');
  expect(all).toBeGreaterThan(105);
  expect(all).toBeLessThanOrEqual(120);
});

test('a single endpoint is never asked twice at a time', async () => {
  first.behaviour = slow(100, text('slow'));
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'h8', endpoints: [first.port] }),
    policy('h8', { hedge: { delay: '10ms' } }),
  ]);
  for (let i = 0; i < 3; i++) expect((await ask(weft.ports.outbound, get('h8'))).status).toBe(200);
  expect(seen(first, 'h8')).toBe(3);
});

test('with p95 the delay is what the Service usually takes: nothing is sent twice until that is known', async () => {
  await hedged('h9', text('quick'), text('quick'), { hedge: { delay: 'p95' } });
  first.behaviour = slow(400, text('slow'));
  const early = [];
  for (let i = 0; i < 2; i++) early.push((await ask(weft.ports.outbound, get('h9'))).body.toString());
  expect(early.toSorted()).toEqual(['quick', 'slow']);
  first.behaviour = text('quick');
  const load = { port: weft.ports.outbound, headers: { host: 'h9' }, connections: 2, requests: 200 };
  expect((await closedLoop(load)).failures.size).toBe(0);
  first.behaviour = slow(9_000, text('slow'));
  const late = [];
  for (let i = 0; i < 4; i++) late.push((await ask(weft.ports.outbound, get('h9'))).body.toString());
  expect(late).toEqual(['quick', 'quick', 'quick', 'quick']);
});

test('between sidecars a hedge says that it is one, so that no other layer multiplies it', async () => {
  const app = mesh.own(await startBackend(text('warm')));
  const other = mesh.own(await startBackend(text('quick')));
  const one = await mesh.start({ account: 'one', app: app.port });
  const two = await mesh.start({ account: 'two', app: other.port });
  await mesh.apply(weft, 'caller', [
    ...meshed({ name: 'h10', endpoints: [one.ports.inbound, two.ports.inbound] }),
    policy('h10', { hedge: { delay: '300ms' } }),
  ]);
  // With both connections there, a request has long arrived when it is hedged.
  await eventually('both have answered', async () => {
    await ask(weft.ports.outbound, get('h10'));
    return (app.requests.length > 0 && other.requests.length > 0) || undefined;
  });
  app.behaviour = slow(9_000, text('slow'));
  const before = { app: app.requests.length, other: other.requests.length };
  for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('h10'))).body.toString()).toBe('quick');
  expect(app.requests.length).toBeGreaterThan(before.app);
  expect(other.requests.length - before.other).toBe(4);
  for (const { headers } of [...app.requests, ...other.requests]) expect(headers['weft-attempt']).toBeUndefined();
  // The slow application's sidecar has let go of it, too.
  await eventually(
    'its requests are cancelled',
    async () => (await one.metric('weft_active_requests')) === 0 || undefined,
  );
});
