import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Backend, reset, startBackend, startRawBackend, status, text } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { closedLoop } from '../support/load.ts';
import { trafficPolicy } from '../support/policy.ts';
import { freePort } from '../support/ports.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, meshed, plain, post, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
let weft: Weft;
let good: Backend;
let bad: Backend;

// Each test has a Service of its own: what a budget has counted outlives the policy.

beforeAll(async () => {
  [good, bad] = [mesh.own(await startBackend(text('good'))), mesh.own(await startBackend(reset))];
  weft = await mesh.start({ account: 'caller' });
});
afterAll(() => mesh[Symbol.asyncDispose]());

test('an endpoint that refuses connections is routed around, and no request fails', async () => {
  const dead = await freePort();
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'svc0', endpoints: [dead, good.port] }),
    // Half of the endpoints are dead: more than the default budget is made for.
    trafficPolicy('svc0', { circuitBreaker: { retryBudget: { percent: 100, minRetriesPerSecond: 1000 } } }),
  ]);
  const report = await closedLoop({
    port: weft.ports.outbound,
    headers: { host: 'svc0' },
    connections: 8,
    requests: 400,
  });
  expect([...report.failures]).toEqual([]);
});

test('a GET that is reset before its answer is sent again elsewhere, a POST is not', async () => {
  const services = plain({ name: 'svc1', endpoints: [bad.port, good.port] });
  await mesh.apply(weft, 'caller', [...services, trafficPolicy('svc1', { loadBalancer: { type: 'RoundRobin' } })]);
  bad.behaviour = reset;
  const gets = [];
  for (let i = 0; i < 4; i++) gets.push((await ask(weft.ports.outbound, get('svc1'))).status);
  expect(gets).toEqual([200, 200, 200, 200]);
  const before = [bad.requests.length, good.requests.length];
  const posts = [];
  for (let i = 0; i < 4; i++) posts.push(await ask(weft.ports.outbound, post('svc1', 'x')));
  // Whichever endpoint a POST met, it met that one alone.
  const words = posts.map((answer) => wordOf(answer) ?? 'answered');
  const met = (word: string): number => words.filter((said) => said === word).length;
  expect(met('upstream_reset')).toBeGreaterThan(0);
  expect(bad.requests.length - (before[0] ?? 0)).toBe(met('upstream_reset'));
  expect(good.requests.length - (before[1] ?? 0)).toBe(met('answered'));
  expect(met('upstream_reset') + met('answered')).toBe(posts.length);
});

test('a request is tried three times at most', async () => {
  await mesh.apply(weft, 'caller', plain({ name: 'svc2', endpoints: [bad.port] }));
  const before = bad.requests.length;
  const answer = await ask(weft.ports.outbound, get('svc2'));
  expect([answer.status, wordOf(answer)]).toEqual([502, 'upstream_reset']);
  expect(bad.requests.length - before).toBe(3);
});

test('numRetries of a TrafficPolicy says how often', async () => {
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'svc3', endpoints: [bad.port] }),
    trafficPolicy('svc3', { retry: { numRetries: 0 } }),
  ]);
  const before = bad.requests.length;
  expect((await ask(weft.ports.outbound, get('svc3'))).status).toBe(502);
  expect(bad.requests.length - before).toBe(1);
});

test('retries stay within their budget', async () => {
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'svc4', endpoints: [bad.port] }),
    trafficPolicy('svc4', { circuitBreaker: { retryBudget: { percent: 20, minRetriesPerSecond: 0 } } }),
  ]);
  const before = bad.requests.length;
  const report = await closedLoop({
    port: weft.ports.outbound,
    headers: { host: 'svc4' },
    connections: 4,
    requests: 200,
  });
  expect(report.sent).toBe(200);
  expect(bad.requests.length - before).toBeLessThanOrEqual(240);
  expect(bad.requests.length - before).toBeGreaterThan(200);
});

test('an answer of the application is never retried, whatever its status', async () => {
  bad.behaviour = status(503);
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'svc5', endpoints: [bad.port, good.port] }),
    trafficPolicy('svc5', { loadBalancer: { type: 'RoundRobin' } }),
  ]);
  const statuses = new Set<number>();
  for (let i = 0; i < 12; i++) statuses.add((await ask(weft.ports.outbound, get('svc5'))).status);
  expect([...statuses].toSorted((a, b) => a - b)).toEqual([200, 503]);
  bad.behaviour = reset;
});

test('what a peer sidecar answers while its application is down is retried at another endpoint, POST too', async () => {
  const down = await mesh.start({ account: 'down', app: await freePort() });
  const up = await mesh.start({ account: 'up', app: good.port });
  await mesh.apply(weft, 'caller', [
    ...meshed({ name: 'svc6', endpoints: [down.ports.inbound, up.ports.inbound] }),
    trafficPolicy('svc6', { loadBalancer: { type: 'RoundRobin' } }),
  ]);
  const bodies = [];
  for (let i = 0; i < 6; i++) bodies.push((await ask(weft.ports.outbound, post('svc6', `body ${i}`))).body.toString());
  expect(bodies).toEqual(Array.from({ length: 6 }, () => 'good'));
  expect(good.requests.slice(-6).map(({ body }) => body.toString())).toEqual(
    [0, 1, 2, 3, 4, 5].map((i) => `body ${i}`),
  );
  expect(await down.metric('weft_refusals_total', 'word="connect_refused"')).toBeGreaterThan(0);
});

test('an application that resets everything sees no more than the budget of one sidecar, whatever is between', async () => {
  const resetting = mesh.own(await startBackend(reset));
  const callee = await mesh.start({ account: 'resetting', app: resetting.port });
  await mesh.apply(weft, 'caller', meshed({ name: 'svc20', endpoints: [callee.ports.inbound] }));
  const start = performance.now();
  const asked = 200;
  for (let i = 0; i < asked; i++) expect((await ask(weft.ports.outbound, get('svc20'))).status).toBe(502);
  // 20 % of the requests, and 10 in each second that has begun.
  const seconds = Math.ceil((performance.now() - start) / 1000) + 1;
  expect(resetting.requests.length).toBeLessThanOrEqual(asked * 1.2 + 10 * seconds);
});

test('a local answer that only an unverified upstream claims is passed on as it is', async () => {
  await using liar = await startRawBackend((socket) => {
    socket.write(
      'HTTP/1.1 502 Bad\r\nContent-Length: 0\r\nProxy-Status: weft; error=connection_refused; details="connect_refused: x"\r\n\r\n',
    );
  });
  await mesh.apply(weft, 'caller', plain({ name: 'svc7', endpoints: [liar.port] }));
  expect((await ask(weft.ports.outbound, get('svc7'))).status).toBe(502);
  expect(liar.received.join('').split('GET').length - 1).toBe(1);
});

test('a pooled connection that the application has closed meanwhile costs nobody an answer', async () => {
  // Closes each connection right after its first answer, without saying so: the race that pools must survive.
  await using closing = await startRawBackend((socket, received) => {
    const requests = received.toString('latin1').split('\r\n\r\n').length - 1;
    if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi');
    else socket.resetAndDestroy();
  });
  await mesh.apply(weft, 'caller', plain({ name: 'svc8', endpoints: [closing.port] }));
  using client = await openClient(weft.ports.outbound);
  for (let i = 0; i < 5; i++) expect((await client.exchange(get('svc8'))).status).toBe(200);
});

test('a body that is longer than what is kept for a retry is sent once', async () => {
  await mesh.apply(weft, 'caller', plain({ name: 'svc9', endpoints: [bad.port] }));
  const before = bad.requests.length;
  const body = 'x'.repeat(200_000);
  const answer = await ask(weft.ports.outbound, post('svc9', body).replace('POST', 'PUT'));
  expect([answer.status, wordOf(answer)]).toEqual([502, 'upstream_reset']);
  expect(bad.requests.length - before).toBe(1);
});
