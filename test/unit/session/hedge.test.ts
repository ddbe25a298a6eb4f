import { expect, test } from 'vitest';
import { Fields } from '../../../proxy/http/message.ts';
import { mayHedge } from '../../../proxy/session/hedge.ts';
import { requestHead } from '../policy/heads.ts';

const SPEC = { delayMs: 50, grpc: false };
const RPC = new Fields(['content-type'], ['application/grpc']);

test('only methods that read are sent to two at a time, and none without a policy', () => {
  for (const method of ['GET', 'HEAD', 'OPTIONS']) {
    expect(mayHedge(requestHead(new Fields(), { method }), SPEC), method).toBe(true);
    expect(mayHedge(requestHead(new Fields(), { method }), null), method).toBe(false);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'CONNECT', 'TRACE', 'get']) {
    expect(mayHedge(requestHead(new Fields(), { method }), SPEC), method).toBe(false);
  }
});

test('an RPC is where policy says that it only reads', () => {
  const head = requestHead(RPC, { method: 'POST' });
  expect([mayHedge(head, SPEC), mayHedge(head, { ...SPEC, grpc: true })]).toEqual([false, true]);
  expect(mayHedge(requestHead(new Fields(), { method: 'POST' }), { ...SPEC, grpc: true })).toBe(false);
});

test('what is a further attempt of another sidecar is not multiplied', () => {
  const head = requestHead();
  head.attempt = 2;
  expect(mayHedge(head, SPEC)).toBe(false);
});
