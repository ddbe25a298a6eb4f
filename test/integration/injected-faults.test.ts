/** What is told of faults that policy makes: to callers, to dashboards, in the log. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EchoCaller } from '../interop/grpc-echo.ts';
import { startBackend, text } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { trafficPolicy } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, logLine, plain, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend(text('good')));
let weft: Weft;

function faulty(name: string, faultInjection: object): string[] {
  return [...plain({ name, endpoints: [app.port] }), trafficPolicy(name, { faultInjection })];
}

beforeAll(async () => {
  weft = await mesh.start({
    account: 'caller',
    flags: ['--access-log', 'json'],
    documents: [
      ...faulty('teapot', { abort: { httpStatus: 418 } }),
      ...faulty('gone', { abort: { httpStatus: 404 } }),
      ...faulty('rpc', { abort: { grpcStatus: 5 } }),
      ...faulty('late', { delay: { fixedDelay: '10ms' } }),
      ...faulty('late-teapot', { delay: { fixedDelay: '10ms' }, abort: { httpStatus: 418 } }),
      ...faulty('never', { delay: { fixedDelay: '1h' } }),
    ],
  });
});
afterAll(() => mesh[Symbol.asyncDispose]());

test('a fault has its word, flag and count, and the text that Envoy gives it', async () => {
  const answer = await ask(weft.ports.outbound, get('teapot', '/tea'));
  expect([answer.status, answer.body.toString(), wordOf(answer)]).toEqual([
    418,
    'fault filter abort',
    'fault_filter_abort',
  ]);
  const line = await logLine(weft, (each) => each['path'] === '/tea');
  expect(line).toMatchObject({ status: 418, word: 'fault_filter_abort', flag: 'FI' });
  expect(await weft.metric('weft_refusals_total', 'word="fault_filter_abort"')).toBe(1);
  const counted = await weft.metric('istio_requests_total', 'response_flags="FI"', 'response_code="418"');
  expect(counted).toBe(1);
  expect(app.requests).toEqual([]);
});

test.each([
  ['late', 200, '', 'DI'],
  ['late-teapot', 418, 'fault_filter_abort', 'DI,FI'],
])('a delay has its flag in log and metrics, beside that of an abort: %s', async (name, status, word, flag) => {
  expect((await ask(weft.ports.outbound, get(name, `/${name}`))).status).toBe(status);
  expect(await logLine(weft, (each) => each['path'] === `/${name}`)).toMatchObject({ status, word, flag });
  expect(await weft.metric('istio_requests_total', `response_flags="${flag}"`)).toBe(1);
});

test('a caller that goes during a delay is noticed at once, and was delayed all the same', async () => {
  const client = await openClient(weft.ports.outbound);
  await client.exchange(get('late', '/first'));
  await client.write(get('never', '/never'));
  await expect.poll(() => weft.metric('weft_active_requests')).toBe(1);
  client.close();
  const line = await logLine(weft, (each) => each['path'] === '/never');
  expect(line).toMatchObject({ status: 0, word: 'client_gone', flag: 'DI,DC' });
});

test.each([
  ['gone', 12],
  ['rpc', 5],
])('an RPC to %s ends with code %i', async (authority, code) => {
  using caller = new EchoCaller(weft.ports.outbound, authority);
  expect(await caller.unary(Buffer.from('x'))).toMatchObject({ code, details: 'fault filter abort', messages: [] });
  const flags = ['response_flags="FI"', `grpc_response_status="${code}"`];
  expect(await weft.metric('istio_requests_total', ...flags)).toBe(1);
});
