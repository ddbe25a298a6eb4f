import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Backend, startBackend, status, text } from '../support/backend.ts';
import { trafficPolicy } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, type LogLine, logLine, plain, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
let weft: Weft;
let app: Backend;

beforeAll(async () => {
  app = mesh.own(await startBackend(text('good')));
  weft = await mesh.start({ account: 'caller' });
});
afterAll(() => mesh[Symbol.asyncDispose]());

function policy(name: string, errorRate: Readonly<Record<string, unknown>>): string {
  return trafficPolicy(name, { circuitBreaker: { errorRate } });
}

/** What the log says of the first time that the breaker of a Service is in this state. */
function becomes(name: string, state: string): Promise<LogLine> {
  return logLine(weft, ({ msg, cluster, to }) => {
    return msg === 'circuit breaker' && cluster === `default/${name}:80` && to === state;
  });
}

test('a breaker that opens says why in the log, on /clusters and in metrics', async () => {
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'b1', endpoints: [app.port] }),
    policy('b1', { threshold: 50, minimumRequests: 4, openTime: '1h' }),
  ]);
  app.behaviour = status(500);
  for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('b1'))).status).toBe(500);
  expect(wordOf(await ask(weft.ports.outbound, get('b1')))).toBe('breaker_open');
  expect(await becomes('b1', 'ejected')).toMatchObject({ failures: 4, total: 4 });
  expect(await weft.metric('weft_breaker_state', 'cluster="default/b1:80"', 'state="ejected"')).toBe(1);
  expect(await weft.metric('weft_breaker_refused', 'cluster="default/b1:80"')).toBe(1);
  expect(await (await weft.ask('admin', '/clusters')).text()).toContain('default/b1:80::breaker_failures::4 of 4\n');
});

test('a breaker closes when a probe goes well', async () => {
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'b3', endpoints: [app.port] }),
    policy('b3', { threshold: 50, minimumRequests: 4, openTime: '300ms' }),
  ]);
  app.behaviour = status(500);
  for (let i = 0; i < 4; i++) expect((await ask(weft.ports.outbound, get('b3'))).status).toBe(500);
  await becomes('b3', 'ejected');
  app.behaviour = text('good');
  await becomes('b3', 'probing');
  expect((await ask(weft.ports.outbound, get('b3'))).status).toBe(200);
  await becomes('b3', 'admitting');
  expect(await weft.metric('weft_breaker_state', 'cluster="default/b3:80"', 'state="admitting"')).toBe(1);
});

test('what counts as an error is for policy to say', async () => {
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'b2', endpoints: [app.port] }),
    policy('b2', { threshold: 50, minimumRequests: 4, errors: ['429'] }),
  ]);
  app.behaviour = status(500);
  for (let i = 0; i < 8; i++) expect((await ask(weft.ports.outbound, get('b2'))).status).toBe(500);
  app.behaviour = status(429);
  for (let i = 0; i < 8; i++) expect((await ask(weft.ports.outbound, get('b2'))).status).toBe(429);
  expect(wordOf(await ask(weft.ports.outbound, get('b2')))).toBe('breaker_open');
});

test('a breaker that policy takes away, or whose Service is gone, has no series any more', async () => {
  const kept = plain({ name: 'b5', endpoints: [app.port] });
  const errorRate = { threshold: 50, minimumRequests: 4, openTime: '1h' };
  const states = async (name: string): Promise<number> =>
    (await weft.metrics()).split('\n').filter((line) => line.includes(`cluster="default/${name}:80"`)).length;
  await mesh.apply(weft, 'caller', [
    ...kept,
    policy('b5', errorRate),
    ...plain({ name: 'b6', endpoints: [app.port] }),
    policy('b6', errorRate),
  ]);
  expect([await states('b5'), await states('b6')]).toEqual([4, 4]);
  await mesh.apply(weft, 'caller', kept);
  expect([await states('b5'), await states('b6')]).toEqual([0, 0]);
});
