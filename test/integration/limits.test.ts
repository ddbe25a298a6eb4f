import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { after, type Backend, reset, slow, startBackend, status, text } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { closedLoop } from '../support/load.ts';
import { document, httpRoute, trafficPolicy } from '../support/policy.ts';
import { startProgram } from '../support/process.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, logLine, plain, STALL_MS, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
const app: Backend = mesh.own(await startBackend(text('fine')));
let weft: Weft;

beforeAll(async () => {
  weft = await mesh.start({ account: 'caller' });
});
afterAll(() => mesh[Symbol.asyncDispose]());

async function apply(documents: readonly string[]): Promise<void> {
  await mesh.apply(weft, 'caller', documents);
}

async function refusal(request: string): Promise<[number, string | undefined]> {
  const answer = await ask(weft.ports.outbound, request);
  return [answer.status, wordOf(answer)];
}

describe('timeouts', () => {
  test('the request timeout of a TrafficPolicy answers 504 with its word and cancels the request', async () => {
    app.behaviour = slow(60_000, text('late'));
    await apply([
      ...plain({ name: 'slow', endpoints: [app.port] }),
      trafficPolicy('slow', { timeout: { http: { requestTimeout: '150ms' } } }),
    ]);
    const started = performance.now();
    expect(await refusal(get('slow'))).toEqual([504, 'request_timeout']);
    expect(performance.now() - started).toBeGreaterThan(140);
    expect(await weft.metric('weft_active_requests')).toBe(0);
    expect(await weft.metric('istio_requests_total', 'response_code="504"', 'response_flags="UT"')).toBe(1);
  });

  test("a rule's own request timeout wins over the TrafficPolicy's", async () => {
    await apply([
      ...plain({ name: 'ruled', endpoints: [app.port] }),
      trafficPolicy('ruled', { timeout: { http: { requestTimeout: '30s' } } }),
      httpRoute({
        name: 'ruled',
        parent: 'ruled',
        rules: [{ timeouts: { request: '100ms' }, backendRefs: [{ name: 'ruled', port: 80 }] }],
      }),
    ]);
    expect(await refusal(get('ruled'))).toEqual([504, 'request_timeout']);
  });

  test('the timeout of an attempt makes a GET try another endpoint, and answers 504 when none is left', async () => {
    app.behaviour = slow(60_000, text('late'));
    await using quick = await startBackend(text('quick'));
    const route = (name: string, backendRequest: string): string =>
      httpRoute({
        name,
        parent: name,
        rules: [{ timeouts: { request: '10s', backendRequest }, backendRefs: [{ name, port: 80 }] }],
      });
    await apply([
      ...plain({ name: 'mixed', endpoints: [app.port, quick.port] }),
      route('mixed', '1s'),
      ...plain({ name: 'stuck', endpoints: [app.port] }),
      route('stuck', '150ms'),
    ]);
    for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('mixed'))).body.toString()).toBe('quick');
    expect(await refusal(get('stuck'))).toEqual([504, 'attempt_timeout']);
  });

  test('a connection that is never accepted answers 504 with its word', async () => {
    // Listens with the shortest queue and never accepts: when the queue is full, the kernel drops what comes.
    const source = `const server = require('node:net').createServer();
      server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
        require('node:fs').writeSync(1, 'port ' + server.address().port + '\\n');
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      });`;
    await using deaf = startProgram({ command: process.execPath, args: ['-e', source] });
    const port = Number(await deaf.waitForLine((line) => /^port (\d+)$/.exec(line)?.[1]));
    const fillers = await Promise.all([openClient(port), openClient(port)]);
    await apply([
      ...plain({ name: 'deaf', endpoints: [port] }),
      trafficPolicy('deaf', { timeout: { tcp: { connectTimeout: '150ms' } }, retry: { numRetries: 0 } }),
    ]);
    expect(await refusal(get('deaf'))).toEqual([504, 'connect_timeout']);
    for (const filler of fillers) filler.close();
  });
});

describe('limits of a circuit breaker', () => {
  /** A Service whose application answers when the test says so, and requests that have reached it. */
  async function held(
    name: string,
    circuitBreaker: object,
    requests: number,
    reaching: number,
  ): Promise<() => Promise<void>> {
    const { promise, resolve } = Promise.withResolvers<void>();
    app.behaviour = after(promise, text('held'));
    await apply([...plain({ name, endpoints: [app.port] }), trafficPolicy(name, { circuitBreaker })]);
    const before = app.requests.length;
    const answers = Array.from({ length: requests }, () => ask(weft.ports.outbound, get(name)));
    await eventually('they wait', () => app.requests.length === before + reaching || undefined);
    await eventually(
      'all are known',
      async () => (await weft.metric('weft_active_requests')) === requests || undefined,
    );
    return async () => {
      resolve();
      for (const answer of await Promise.all(answers)) expect(answer.body.toString()).toBe('held');
    };
  }

  test('maxParallelRequests refuses one more', async () => {
    const release = await held('parallel', { maxParallelRequests: 2 }, 2, 2);
    expect(await refusal(get('parallel'))).toEqual([503, 'request_limit']);
    await release();
    expect((await ask(weft.ports.outbound, get('parallel'))).status).toBe(200);
  });

  test('maxConnections makes requests wait, and maxPendingRequests refuses one more', async () => {
    const release = await held('pending', { maxConnections: 1, maxPendingRequests: 1 }, 2, 1);
    expect(await refusal(get('pending'))).toEqual([503, 'pending_limit']);
    await release();
  });

  test('a connection that idles at one endpoint gives way to a request for another when maxConnections is reached', async () => {
    await using other = await startBackend(text('other'));
    app.behaviour = text('app');
    await apply([
      ...plain({ name: 'narrow', endpoints: [app.port, other.port] }),
      trafficPolicy('narrow', { loadBalancer: { type: 'RoundRobin' }, circuitBreaker: { maxConnections: 1 } }),
    ]);
    using client = await openClient(weft.ports.outbound);
    const started = performance.now();
    const bodies = [];
    for (let i = 0; i < 4; i++) bodies.push((await client.exchange(get('narrow'))).body.toString());
    expect(bodies.toSorted()).toEqual(['app', 'app', 'other', 'other']);
    expect(performance.now() - started).toBeLessThan(1_500 + STALL_MS);
  });

  test('an error rate opens the breaker, is logged, and the breaker closes when the application is well again', async () => {
    app.behaviour = status(500);
    const errorRate = { threshold: 50, window: '10s', minimumRequests: 10, openTime: '300ms' };
    await apply([
      ...plain({ name: 'sick', endpoints: [app.port] }),
      trafficPolicy('sick', { circuitBreaker: { errorRate } }),
    ]);
    const load = { port: weft.ports.outbound, headers: { host: 'sick' }, connections: 1 };
    const report = await closedLoop({ ...load, requests: 40 });
    expect(report.failures.get('status 503')).toBeGreaterThan(20);
    await logLine(weft, ({ msg, cluster }) => msg === 'circuit breaker' && cluster === 'default/sick:80');
    expect(await weft.metric('weft_refusals_total', 'word="breaker_open"')).toBeGreaterThan(20);
    app.behaviour = text('well');
    await eventually('it is closed again', async () => {
      const { failures } = await closedLoop({ ...load, requests: 5 });
      return failures.size === 0 || undefined;
    });
  });
});

describe('routes', () => {
  test('weights of 90 and 10 split requests by them', async () => {
    await using canary = await startBackend(text('canary'));
    app.behaviour = text('stable');
    const refs = [
      { name: 'stable', port: 80, weight: 90 },
      { name: 'canary', port: 80, weight: 10 },
    ];
    await apply([
      ...plain({ name: 'stable', endpoints: [app.port] }),
      ...plain({ name: 'canary', endpoints: [canary.port] }),
      httpRoute({ name: 'split', parent: 'stable', rules: [{ backendRefs: refs }] }),
    ]);
    const requests = 2_000;
    const report = await closedLoop({
      port: weft.ports.outbound,
      headers: { host: 'stable' },
      connections: 8,
      requests,
    });
    expect(report.failures.size).toBe(0);
    // Six standard deviations of the binomial distribution are 80.
    expect(Math.abs(canary.requests.length - requests / 10)).toBeLessThan(80);
  });

  test('a header match, a method and a query choose the backend; nothing that fits is 404', async () => {
    await using canary = await startBackend(text('canary'));
    app.behaviour = text('stable');
    const to = (name: string): object => ({ backendRefs: [{ name, port: 80 }] });
    await apply([
      ...plain({ name: 'stable2', endpoints: [app.port] }),
      ...plain({ name: 'canary2', endpoints: [canary.port] }),
      httpRoute({
        name: 'match',
        parent: 'stable2',
        rules: [
          {
            matches: [{ path: { type: 'PathPrefix', value: '/shop' }, headers: [{ name: 'X-Canary', value: 'yes' }] }],
            ...to('canary2'),
          },
          { matches: [{ path: { type: 'PathPrefix', value: '/shop' } }], ...to('stable2') },
          {
            matches: [{ path: { type: 'Exact', value: '/q' }, queryParams: [{ name: 'v', value: '2' }] }],
            ...to('canary2'),
          },
        ],
      }),
    ]);
    const body = async (request: string): Promise<string> => (await ask(weft.ports.outbound, request)).body.toString();
    expect(await body(get('stable2', '/shop/1'))).toBe('stable');
    expect(await body(get('stable2', '/shop/1', 'x-canary: yes'))).toBe('canary');
    expect(await body(get('stable2', '/q?v=2'))).toBe('canary');
    expect(await refusal(get('stable2', '/shopping'))).toEqual([404, 'no_route']);
    expect(await refusal(get('stable2', '/q?v=1'))).toEqual([404, 'no_route']);
  });

  test('a Service without a ready endpoint is 503, a missing backend 500, a missing port 404', async () => {
    await apply([
      ...plain({ name: 'none', endpoints: [] }),
      document({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'none-1', labels: { 'kubernetes.io/service-name': 'none' } },
        addressType: 'IPv4',
        ports: [{ name: 'main', port: app.port, protocol: 'TCP' }],
        endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: false } }],
      }),
      ...plain({ name: 'dangling', endpoints: [app.port] }),
      httpRoute({ name: 'dangling', parent: 'dangling', rules: [{ backendRefs: [{ name: 'gone', port: 80 }] }] }),
    ]);
    expect(await refusal(get('none'))).toEqual([503, 'no_ready_endpoint']);
    expect(await refusal(get('dangling'))).toEqual([500, 'invalid_backend']);
    expect(await refusal(get('dangling:8080'))).toEqual([404, 'no_service_port']);
  });
});

describe('destinations that no policy knows', () => {
  const REGISTRY_ONLY = document({
    apiVersion: 'weft.dev/v1',
    kind: 'Mesh',
    metadata: { name: 'mesh' },
    spec: { outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' } },
  });

  test('go where they say under ALLOW_ANY, and are refused under REGISTRY_ONLY', async () => {
    app.behaviour = text('direct');
    await apply(plain({ name: 'known', endpoints: [app.port] }));
    expect((await ask(weft.ports.outbound, get(app.address))).body.toString()).toBe('direct');
    expect(await refusal(get('no-such-host.invalid'))).toEqual([502, 'dns_error']);
    await apply([...plain({ name: 'known', endpoints: [app.port] }), REGISTRY_ONLY]);
    expect(await refusal(get(app.address))).toEqual([502, 'unknown_destination']);
    expect((await ask(weft.ports.outbound, get('known'))).body.toString()).toBe('direct');
  });

  test('are refused where they are this sidecar itself', async () => {
    await apply(plain({ name: 'known', endpoints: [app.port] }));
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]']) {
      expect(await refusal(get(`${host}:${weft.ports.outbound}`))).toEqual([502, 'loop_detected']);
    }
  });

  test('a Service whose endpoint is this sidecar is a loop that is found within a second', async () => {
    await apply(plain({ name: 'loop', endpoints: [weft.ports.outbound] }));
    const started = performance.now();
    expect(await refusal(get('loop'))).toEqual([502, 'loop_detected']);
    expect(performance.now() - started).toBeLessThan(1_000 + STALL_MS);
  });
});

test('a request that is reset when it has started to be answered leaves nothing behind', async () => {
  app.behaviour = reset;
  await apply([...plain({ name: 'end', endpoints: [app.port] }), trafficPolicy('end', { retry: { numRetries: 0 } })]);
  await closedLoop({ port: weft.ports.outbound, headers: { host: 'end' }, connections: 4, requests: 40 });
  await eventually('nothing is open', async () => (await weft.metric('weft_active_requests')) === 0 || undefined);
});
