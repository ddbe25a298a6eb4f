import { expect, test } from 'vitest';
import { answer, refusal } from '../../../proxy/session/reply.ts';
import { FAILURES } from '../../../shared/errors.ts';

test('a refusal is the status of its row, one line of text, and a Proxy-Status that names the word', () => {
  const { head, body } = refusal(FAILURES.connectRefused, '127.0.0.1:80');
  expect([head.status, head.reason, head.length]).toEqual([502, 'Bad Gateway', body.length]);
  expect(head.fields.get('proxy-status')).toBe(
    'weft; error=connection_refused; details="connect_refused: 127.0.0.1:80"',
  );
  expect(head.fields.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(body.toString()).toBe('connect_refused: 127.0.0.1:80\n');
});

test('without a detail the advice of the row stands for it', () => {
  expect(refusal(FAILURES.noRoute, '').body.toString()).toBe(`no_route: ${FAILURES.noRoute.advice}\n`);
});

test.each(['a"b\\c', 'line\r\nX-Evil: 1', 'caf\u00e9\u2028', 'x'.repeat(1_000)])(
  'a detail %j stays inside its quotes, on one line and short',
  (detail) => {
    const status = refusal(FAILURES.badHost, detail).head.fields.get('proxy-status') ?? '';
    expect(status).toMatch(/^weft; error=http_request_error; details="bad_host: [\x20-\x21\x23-\x5b\x5d-\x7e]*"$/);
    expect(status.length).toBeLessThan(400);
  },
);

test('every row that has a status has a reason phrase', () => {
  for (const failure of Object.values(FAILURES)) {
    if (failure.status !== 0) expect(refusal(failure, '').head.reason, failure.word).not.toBe('');
  }
});

test('an answer that is no refusal carries its own headers and body, and no Proxy-Status', () => {
  const headers = [['location', '/there']] as const;
  const { head, body } = answer({ status: 302, failure: null, detail: '', headers, body: '' });
  expect([head.status, head.fields.get('location'), head.fields.has('proxy-status')]).toEqual([302, '/there', false]);
  expect([body.length, head.length, head.fields.has('content-type')]).toEqual([0, 0, false]);
});
