import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Backend, type Behaviour, fixed, reset, slow, startBackend, status, text } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { closedLoop } from '../support/load.ts';
import { document, trafficPolicy } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, header, meshed, plain, post, TinyMesh, wordOf } from './mesh.ts';

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

function route(name: string, rule: Readonly<Record<string, unknown>>): string {
  return document({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name }],
      rules: [{ backendRefs: [{ name, port: 80 }], ...rule }],
    },
  });
}

/** Answers 503 to every request but each `nth`. */
function goodEach(nth: number, fields: Readonly<Record<string, string>> = {}): Behaviour {
  let asked = 0;
  return (request, response) => {
    asked++;
    if (asked % nth === 0) return text('good')(request, response);
    response.writeHead(503, { 'content-length': 0, ...fields });
    response.end();
  };
}

const RETRY_503 = { triggers: ['retriable-status-codes'], httpStatusCodes: [503] };

test('a status that policy names is retried for a GET, with its answer the only one that the caller sees', async () => {
  first.behaviour = goodEach(2);
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's1', endpoints: [first.port] }),
    trafficPolicy('s1', { retry: { retryOn: RETRY_503 } }),
  ]);
  const before = first.requests.length;
  const answer = await ask(weft.ports.outbound, get('s1'));
  expect([answer.status, answer.body.toString()]).toEqual([200, 'good']);
  expect(first.requests.length - before).toBe(2);
});

test('a POST is not retried by status, unless it has an Idempotency-Key and policy gives its leave', async () => {
  first.behaviour = goodEach(2);
  const services = plain({ name: 's2', endpoints: [first.port] });
  await mesh.apply(weft, 'caller', [...services, trafficPolicy('s2', { retry: { retryOn: RETRY_503 } })]);
  expect((await ask(weft.ports.outbound, post('s2', 'x', '/', 'Idempotency-Key: 1'))).status).toBe(503);
  expect((await ask(weft.ports.outbound, post('s2', 'x'))).status).toBe(200);
  await mesh.apply(weft, 'caller', [
    ...services,
    trafficPolicy('s2', { retry: { retryOn: { ...RETRY_503, idempotencyKey: true } } }),
  ]);
  expect((await ask(weft.ports.outbound, post('s2', 'body', '/', 'Idempotency-Key: 1'))).status).toBe(200);
  expect(first.requests.slice(-2).map(({ body }) => body.toString())).toEqual(['body', 'body']);
  expect((await ask(weft.ports.outbound, post('s2', 'x'))).status).toBe(503);
});

test('the codes of an HTTPRoute rule are retried as often as its attempts say', async () => {
  first.behaviour = status(500);
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's3', endpoints: [first.port] }),
    route('s3', { retry: { codes: [500], attempts: 3, backoff: '1ms' } }),
  ]);
  const before = first.requests.length;
  expect((await ask(weft.ports.outbound, get('s3'))).status).toBe(500);
  expect(first.requests.length - before).toBe(4);
});

test('a Retry-After that is longer than the longest pause goes to the caller instead of being ignored', async () => {
  first.behaviour = goodEach(2, { 'retry-after': '7' });
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's4', endpoints: [first.port] }),
    trafficPolicy('s4', { retry: { retryOn: RETRY_503 } }),
  ]);
  const before = first.requests.length;
  const answer = await ask(weft.ports.outbound, get('s4'));
  expect([answer.status, header(answer, 'retry-after')]).toEqual([503, '7']);
  expect(first.requests.length - before).toBe(1);
});

test('failures that policy does not name are not retried', async () => {
  first.behaviour = reset;
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's5', endpoints: [first.port] }),
    trafficPolicy('s5', { retry: { retryOn: { triggers: ['connect-failure'] } } }),
  ]);
  const before = first.requests.length;
  expect(wordOf(await ask(weft.ports.outbound, get('s5')))).toBe('upstream_reset');
  expect(first.requests.length - before).toBe(1);
});

test('an attempt that takes longer than perRetry.timeout is made again elsewhere', async () => {
  [first.behaviour, second.behaviour] = [slow(9_000, text('late')), text('good')];
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's6', endpoints: [first.port, second.port] }),
    trafficPolicy('s6', { loadBalancer: { type: 'RoundRobin' }, retry: { perRetry: { timeout: '1s' } } }),
  ]);
  for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('s6'))).body.toString()).toBe('good');
});

test('a timeout says which one it was', async () => {
  first.behaviour = slow(5_000, text('late'));
  const services = plain({ name: 's7', endpoints: [first.port] });
  await mesh.apply(weft, 'caller', [
    ...services,
    trafficPolicy('s7', { timeout: { http: { requestTimeout: '50ms' } } }),
  ]);
  const whole = await ask(weft.ports.outbound, get('s7'));
  await mesh.apply(weft, 'caller', [
    ...services,
    trafficPolicy('s7', { retry: { numRetries: 0, perRetry: { timeout: '50ms' } } }),
  ]);
  const attempt = await ask(weft.ports.outbound, get('s7'));
  await mesh.apply(weft, 'caller', [
    ...services,
    trafficPolicy('s7', { timeout: { http: { streamIdleTimeout: '50ms' } } }),
  ]);
  const idle = await ask(weft.ports.outbound, get('s7'));
  expect([whole, attempt, idle].map((answer) => [answer.status, wordOf(answer)])).toEqual([
    [504, 'request_timeout'],
    [504, 'attempt_timeout'],
    [504, 'stream_idle'],
  ]);
});

test("the time that a caller has left bounds its upstream's sidecar too, and what sidecars tell each other ends there", async () => {
  const app = mesh.own(await startBackend(slow(60_000, text('late'))));
  const peer = await mesh.start({ account: 'peer', app: app.port });
  await mesh.apply(weft, 'caller', [
    ...meshed({ name: 's8', endpoints: [peer.ports.inbound] }),
    trafficPolicy('s8', { timeout: { http: { requestTimeout: '1500ms' } } }),
  ]);
  expect(wordOf(await ask(weft.ports.outbound, get('s8', '/', 'weft-deadline-ms: 60000')))).toBe('request_timeout');
  expect(app.requests).toHaveLength(1);
  expect(Object.keys(app.requests[0]?.headers ?? {}).filter((name) => name.startsWith('weft-'))).toEqual([]);
  // The peer has given up by itself, or was told: its own gauge says that nothing is open any more.
  await eventually(
    'nothing is open at the peer',
    async () => (await peer.metric('weft_active_requests')) === 0 || undefined,
  );
  app.behaviour = text('good');
  expect((await ask(weft.ports.outbound, get('s8'))).body.toString()).toBe('good');
});

test('an upstream that always answers 503 sees at most 1.2 times the load and 10 a second, through both sidecars', async () => {
  const app = mesh.own(await startBackend(status(503)));
  const peer = await mesh.start({ account: 'failing', app: app.port });
  await mesh.apply(weft, 'caller', [
    ...meshed({ name: 's9', endpoints: [peer.ports.inbound] }),
    trafficPolicy('s9', {
      retry: { numRetries: 5, retryOn: { triggers: ['5xx'] }, perRetry: { backOff: { baseInterval: '1ms' } } },
    }),
  ]);
  const start = performance.now();
  const report = await closedLoop({
    port: weft.ports.outbound,
    headers: { host: 's9' },
    connections: 8,
    requests: 600,
  });
  const seconds = (performance.now() - start) / 1_000;
  expect([...report.failures]).toEqual([['status 503', 600]]);
  expect(app.requests.length).toBeGreaterThan(600);
  expect(app.requests.length).toBeLessThanOrEqual(600 * 1.2 + 10 * (seconds + 1));
});

test("what the caller's sidecar tries again is not tried again by that of the application as well", async () => {
  const app = mesh.own(await startBackend(reset));
  const peer = await mesh.start({ account: 'resetting', app: app.port });
  await mesh.apply(weft, 'caller', [
    ...meshed({ name: 's9b', endpoints: [peer.ports.inbound] }),
    trafficPolicy('s9b', { retry: { numRetries: 3 } }),
  ]);
  expect((await ask(weft.ports.outbound, get('s9b'))).status).toBe(502);
  expect(app.requests.length).toBe(1 + 3);
  expect(app.requests.some(({ headers }) => 'weft-attempt' in headers)).toBe(false);
});

test('a header keeps equal requests at one endpoint, others go where they may', async () => {
  [first.behaviour, second.behaviour] = [text('first'), text('second')];
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's10', endpoints: [first.port, second.port] }),
    trafficPolicy('s10', {
      loadBalancer: { type: 'ConsistentHash', consistentHash: { type: 'Header', header: { name: 'X-User' } } },
    }),
  ]);
  const seen = new Map<string, Set<string>>();
  // The ports are any, so who goes where is, too: forty users are not all of one mind.
  for (let i = 0; i < 120; i++) {
    const user = `user-${i % 40}`;
    const answer = await ask(weft.ports.outbound, get('s10', '/', `x-user: ${user}`));
    seen.set(user, (seen.get(user) ?? new Set()).add(answer.body.toString()));
  }
  expect([...seen.values()].map((each) => each.size)).toEqual(Array.from({ length: 40 }, () => 1));
  expect(new Set([...seen.values()].flatMap((each) => [...each]))).toEqual(new Set(['first', 'second']));
});

test('a session cookie keeps its caller at the endpoint that gave it, until that one is gone', async () => {
  [first.behaviour, second.behaviour] = [text('first'), text('second')];
  const both = plain({ name: 's11', endpoints: [first.port, second.port] });
  const sticky = route('s11', { sessionPersistence: { sessionName: 'seat' } });
  await mesh.apply(weft, 'caller', [...both, sticky]);
  const hello = await ask(weft.ports.outbound, get('s11'));
  const cookie = header(hello, 'set-cookie')?.split(';')[0] ?? '';
  expect(cookie).toMatch(/^seat=[a-z0-9]+$/);
  for (let i = 0; i < 8; i++) {
    const again = await ask(weft.ports.outbound, get('s11', '/', `Cookie: a=b; ${cookie}`));
    expect([again.body.toString(), header(again, 'set-cookie')]).toEqual([hello.body.toString(), undefined]);
  }
  const rest = hello.body.toString() === 'first' ? second : first;
  await mesh.apply(weft, 'caller', [...plain({ name: 's11', endpoints: [rest.port] }), sticky]);
  const moved = await ask(weft.ports.outbound, get('s11', '/', `Cookie: ${cookie}`));
  expect(moved.body.toString()).not.toBe(hello.body.toString());
  expect(header(moved, 'set-cookie')).toMatch(/^seat=/);
});

test('faults fall on the requests that policy names and on no others', async () => {
  first.behaviour = text('good');
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's12', endpoints: [first.port] }),
    trafficPolicy('s12', {
      faultInjection: { abort: { httpStatus: 418 }, headers: [{ name: 'X-Fault', value: 'yes' }] },
    }),
    ...plain({ name: 's13', endpoints: [first.port] }),
    trafficPolicy('s13', { faultInjection: { delay: { fixedDelay: '80ms' } } }),
  ]);
  expect((await ask(weft.ports.outbound, get('s12', '/', 'x-fault: yes'))).status).toBe(418);
  expect((await ask(weft.ports.outbound, get('s12', '/', 'x-fault: no'))).status).toBe(200);
  const start = performance.now();
  expect((await ask(weft.ports.outbound, post('s13', 'body'))).status).toBe(200);
  expect(performance.now() - start).toBeGreaterThanOrEqual(79);
});

test('a mirror sees the request, body included, and its troubles reach nobody', async () => {
  [first.behaviour, second.behaviour] = [text('good'), reset];
  const mirror = { type: 'RequestMirror', requestMirror: { backendRef: { name: 's14-shadow', port: 80 } } };
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's14', endpoints: [first.port] }),
    ...plain({ name: 's14-shadow', endpoints: [second.port] }),
    route('s14', { filters: [mirror] }),
  ]);
  const before = second.requests.length;
  for (let i = 0; i < 5; i++) {
    expect((await ask(weft.ports.outbound, post('s14', `body ${i}`))).body.toString()).toBe('good');
  }
  await eventually('the mirror has seen all', () => second.requests.length - before >= 5 || undefined);
  const bodies = second.requests.slice(before).map(({ body }) => body.toString());
  expect(bodies.toSorted()).toEqual([0, 1, 2, 3, 4].map((i) => `body ${i}`));
});

test("a backend's mirror sees what goes to that backend, and nothing else", async () => {
  [first.behaviour, second.behaviour] = [text('good'), text('copied')];
  const mirror = { type: 'RequestMirror', requestMirror: { backendRef: { name: 's16-shadow', port: 80 } } };
  const refs = [
    { name: 's16', port: 80, filters: [mirror] },
    { name: 's16-other', port: 80 },
  ];
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's16', endpoints: [first.port] }),
    ...plain({ name: 's16-other', endpoints: [first.port] }),
    ...plain({ name: 's16-shadow', endpoints: [second.port] }),
    route('s16', { backendRefs: refs }),
  ]);
  const before = second.requests.length;
  for (let i = 0; i < 40; i++) expect((await ask(weft.ports.outbound, get('s16'))).status).toBe(200);
  await eventually('some are copied', () => second.requests.length - before >= 5 || undefined);
  expect(second.requests.length - before).toBeLessThan(40);
});

test('what is answered on the spot counts for the Service that was asked, whichever was asked first', async () => {
  const redirect = { filters: [{ type: 'RequestRedirect', requestRedirect: { port: 8443 } }], backendRefs: [] };
  const names = ['s17', 's18'];
  await mesh.apply(
    weft,
    'caller',
    names.flatMap((name) => [...plain({ name, endpoints: [first.port] }), route(name, redirect)]),
  );
  for (const host of ['s17', 's17:999', 's18', 's18']) await ask(weft.ports.outbound, get(host));
  const counted = (name: string, code: number): Promise<number> =>
    weft.metric('istio_requests_total', `response_code="${code}"`, `destination_service_name="${name}"`);
  expect([await counted('s17', 302), await counted('s18', 302), await counted('unknown', 404)]).toEqual([1, 2, 1]);
});

test('a connection that is as old as policy allows takes no further request', async () => {
  const app = mesh.own(await startBackend(slow(20, fixed(1))));
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 's15', endpoints: [app.port] }),
    trafficPolicy('s15', { timeout: { http: { maxConnectionDuration: '10ms' } } }),
  ]);
  for (let i = 0; i < 3; i++) expect((await ask(weft.ports.outbound, get('s15'))).status).toBe(200);
  expect(app.connections).toBe(3);
});
