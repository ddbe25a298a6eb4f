import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fields, RequestHead, type ResponseHead } from '../../../proxy/http/message.ts';
import type { UpstreamStream } from '../../../proxy/http/stream.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { Endpoint } from '../../../proxy/upstream/endpoint.ts';
import { Pool, type PoolSettings, type StreamWaiter } from '../../../proxy/upstream/pool.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { FAILURES, type Failure } from '../../../shared/errors.ts';
import { Random } from '../../../shared/random.ts';
import { type RawBackend, startRawBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/ports.ts';
import { POOL_SETTINGS } from './pool-settings.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi';

let clock: ManualClock;
let app: RawBackend;
let other: RawBackend;
const endpoints = new Map<string, Endpoint>();

beforeEach(async () => {
  clock = new ManualClock();
  app = await startRawBackend((socket) => socket.write(OK));
  other = await startRawBackend((socket) => socket.write(OK));
  endpoints.clear();
});
afterEach(async () => {
  for (const endpoint of endpoints.values()) endpoint.closeIdle();
  await Promise.all([app.stop(), other.stop()]);
});

function poolWith(settings: Partial<PoolSettings> = {}): Pool {
  const secures = {
    secureDial: ({ meshTls }: Endpoint) => (meshTls ? { failure: FAILURES.notReady, detail: 'no identity' } : null),
  };
  return new Pool(new IoThread(clock, new Random(1)), { ...POOL_SETTINGS, ...settings }, secures, endpoints);
}

function endpointAt(port: number, meshTls = false): Endpoint {
  const endpoint = new Endpoint({ address: '127.0.0.1', port, ready: true, weight: 1, zone: '', meshTls });
  endpoints.set(endpoint.key, endpoint);
  return endpoint;
}

/** A request that is sent as soon as it has its stream. */
class Request implements StreamWaiter {
  readonly lane = 'h1';
  readonly done: Promise<string>;
  stream: UpstreamStream | null = null;
  private readonly end: (how: string) => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.done = promise;
    this.end = resolve;
  }

  onStream(stream: UpstreamStream): void {
    this.stream = stream;
    stream.sendHead(new RequestHead('GET', 'http', 'a', '/', new Fields(), 0, 11, false, false, false, null), 0, '');
    stream.sendEnd(null);
  }

  onNoStream(failure: Failure): void {
    this.end(failure.word);
  }

  onInterim(): void {}
  onHead(_head: ResponseHead): void {}
  onBytes(): void {}
  onCongested(): void {}
  onWritable(): void {}

  onEnd(): void {
    this.end('answered');
  }

  onFailure(failure: Failure): void {
    this.end(failure.word);
  }
}

async function ask(pool: Pool, endpoint: Endpoint): Promise<string> {
  const request = new Request();
  pool.lease(endpoint, request);
  return request.done;
}

test('a connection serves one request after the other', async () => {
  const [pool, endpoint] = [poolWith(), endpointAt(app.port)];
  for (let i = 0; i < 3; i++) expect(await ask(pool, endpoint)).toBe('answered');
  expect([app.sockets.length, pool.connections, endpoint.connections, endpoint.idle.length]).toEqual([1, 1, 1, 1]);
});

test('requests at the same time get a connection each', async () => {
  const [pool, endpoint] = [poolWith(), endpointAt(app.port)];
  expect(await Promise.all([ask(pool, endpoint), ask(pool, endpoint)])).toEqual(['answered', 'answered']);
  expect([app.sockets.length, endpoint.idle.length]).toEqual([2, 2]);
});

test('a connection that idles too long is closed, and so is one that the far side closes', async () => {
  const [pool, endpoint] = [poolWith(), endpointAt(app.port)];
  await ask(pool, endpoint);
  clock.advance(endpoint.idleMs);
  expect([pool.connections, endpoint.idle.length]).toEqual([0, 0]);
  await ask(pool, endpoint);
  app.sockets.at(-1)?.end();
  await eventually('it is gone', () => pool.connections === 0 || undefined);
  expect(endpoint.idle.length).toBe(0);
});

test('any byte on an idle connection ends it', async () => {
  const [pool, endpoint] = [poolWith(), endpointAt(app.port)];
  await ask(pool, endpoint);
  app.sockets[0]?.write(OK);
  await eventually('it is gone', () => pool.connections === 0 || undefined);
});

test('maxRequestsPerConnection retires a connection when it is reached', async () => {
  const [pool, endpoint] = [poolWith({ maxRequestsPerConnection: 2 }), endpointAt(app.port)];
  for (let i = 0; i < 4; i++) await ask(pool, endpoint);
  expect(app.sockets.length).toBe(2);
});

test('an endpoint that no snapshot names any more keeps no connection', async () => {
  const [pool, endpoint] = [poolWith(), endpointAt(app.port)];
  endpoint.wanted = false;
  await ask(pool, endpoint);
  expect([pool.connections, endpoint.idle.length]).toEqual([0, 0]);
});

describe('with all connections in use', () => {
  test('requests wait in their order, and one more than may wait is refused', async () => {
    const [pool, endpoint] = [poolWith({ maxConnections: 1, maxPending: 2 }), endpointAt(app.port)];
    const order: number[] = [];
    const all = [0, 1, 2].map((i) => ask(pool, endpoint).then((how) => (order.push(i), how)));
    expect(await ask(pool, endpoint)).toBe('pending_limit');
    expect(await Promise.all(all)).toEqual(['answered', 'answered', 'answered']);
    expect([order, app.sockets.length]).toEqual([[0, 1, 2], 1]);
  });

  test('one that gives up waiting leaves its place', async () => {
    const [pool, endpoint] = [poolWith({ maxConnections: 1, maxPending: 1 }), endpointAt(app.port)];
    const first = ask(pool, endpoint);
    pool.lease(endpoint, new Request())?.cancel();
    const second = ask(pool, endpoint);
    expect([await first, await second]).toEqual(['answered', 'answered']);
  });

  test('a connection that idles at another endpoint gives way at once', async () => {
    const pool = poolWith({ maxConnections: 1 });
    const [here, there] = [endpointAt(app.port), endpointAt(other.port)];
    expect(await ask(pool, here)).toBe('answered');
    expect(await ask(pool, there)).toBe('answered');
    expect([pool.connections, here.connections, there.connections]).toEqual([1, 0, 1]);
  });
});

test('a dial that nobody waits for any more is given up, with its place', async () => {
  const [pool, endpoint] = [poolWith(), endpointAt(app.port)];
  pool.lease(endpoint, new Request())?.cancel();
  expect([pool.connections, endpoint.connections]).toEqual([0, 0]);
});

test('a dial that fails says why and leaves nothing behind', async () => {
  const pool = poolWith();
  const endpoint = endpointAt(await freePort());
  expect(await ask(pool, endpoint)).toBe('connect_refused');
  expect([pool.connections, endpoint.connections]).toEqual([0, 0]);
});

test('without an identity nothing is dialled that needs one', async () => {
  const pool = poolWith();
  expect(await ask(pool, endpointAt(app.port, true))).toBe('not_ready');
  expect([pool.connections, app.sockets.length]).toEqual([0, 0]);
});
