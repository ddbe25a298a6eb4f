import { expect, test } from 'vitest';
import { Fields, isGrpc } from '../../../proxy/http/message.ts';
import { endingCode, grpcRefusal, localReply } from '../../../proxy/session/grpc.ts';
import { refusal } from '../../../proxy/session/reply.ts';
import { FAILURES } from '../../../shared/errors.ts';
import { requestHead } from '../policy/heads.ts';

const FAULT = { failure: FAILURES.faultAbort, detail: '', headers: [], body: 'fault filter abort' };

// grpc/grpc, doc/http-grpc-status-mapping.md
test.each([
  [400, '13'],
  [401, '16'],
  [403, '7'],
  [404, '12'],
  [413, '2'],
  [418, '2'],
  [429, '14'],
  [500, '2'],
  [502, '14'],
  [503, '14'],
  [504, '14'],
])('a local answer with status %i tells an RPC code %s, in a head without content', (status, code) => {
  const { head, body } = localReply({ ...FAULT, status }, true);
  expect([head.status, head.fields.get('content-type'), body.length]).toEqual([200, 'application/grpc', 0]);
  expect([head.fields.get('grpc-status'), head.fields.get('grpc-message')]).toEqual([code, 'fault filter abort']);
  expect(head.fields.get('proxy-status')).toContain('fault_filter_abort');
});

test('a local answer that names a grpc-status has that one, and no content', () => {
  const headers = [['grpc-status', '5']] as const;
  const { head, body } = localReply({ ...FAULT, status: 200, headers, body: '' }, true);
  expect([head.fields.getAll('grpc-status'), body.length]).toEqual([['5'], 0]);
});

test('other requests are told the status itself', () => {
  const { head, body } = localReply({ ...FAULT, status: 418 }, false);
  expect([head.status, body.toString()]).toEqual([418, 'fault filter abort']);
});

test('what is no refusal stays as it is for an RPC, too', () => {
  const local = { status: 302, failure: null, detail: '', headers: [['location', '/']] as const, body: '' };
  expect(localReply(local, true).head.status).toBe(302);
});

test.each([
  ['requestTimeout', '4'],
  ['bodyTooLarge', '8'],
  ['headTooLarge', '13'],
  ['invalidBackend', '14'],
] as const)('%s has a code of its own: %s', (name, code) => {
  const failure = FAILURES[name];
  expect(grpcRefusal(refusal(failure, ''), failure).head.fields.get('grpc-status')).toBe(code);
});

test.each([
  ['its trailers', '9', 7, 200, 9],
  ['its head where the trailers name none', null, 7, 200, 7],
  ['its status where neither does', null, -1, 404, 12],
  ['its status where that has no code of its own', null, -1, 200, 2],
  ['its head where the trailers name no number', 'x', 5, 200, 5],
] as const)('the code of an answer is that of %s', (_which, trailer, code, status, expected) => {
  const trailers = new Fields();
  if (trailer !== null) trailers.append('grpc-status', trailer);
  expect(endingCode(trailers, code, status)).toBe(expected);
});

test.each([
  ['application/grpc', true],
  ['application/grpc+proto', true],
  ['application/grpc;charset=utf-8', true],
  ['application/grpc-web', false],
  ['application/grpc-web+proto', false],
  ['application/grpc-web-text', false],
  ['application/grpcish', false],
  ['application/json', false],
])('a POST of %s is an RPC: %j', (type, expected) => {
  const fields = new Fields(['content-type'], [type]);
  expect(isGrpc(requestHead(fields, { method: 'POST' }))).toBe(expected);
  expect(isGrpc(requestHead(fields, { method: 'GET' }))).toBe(false);
});
