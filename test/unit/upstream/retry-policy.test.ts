import { expect, test } from 'vitest';
import { Fields, ResponseHead } from '../../../proxy/http/message.ts';
import { BreakerErrors } from '../../../proxy/upstream/breaker-errors.ts';
import { RetryPolicy, retryAfterMs } from '../../../proxy/upstream/retry-policy.ts';
import { FAILURES } from '../../../shared/errors.ts';

function policy(triggers: string[], statuses: number[] = []): RetryPolicy {
  return new RetryPolicy({ triggers, statuses, idempotencyKey: false, backOffMs: 25, maxBackOffMs: 250, hedge: null });
}

test('each trigger stands for what Envoy means by it', () => {
  const failures = [FAILURES.connectRefused, FAILURES.upstreamRefusedStream, FAILURES.upstreamReset];
  const wants = (...triggers: string[]): boolean[] => failures.map((failure) => policy(triggers).wantsFailure(failure));
  expect(wants('connect-failure')).toEqual([true, false, false]);
  expect(wants('refused-stream')).toEqual([false, true, false]);
  expect(wants('reset')).toEqual([true, true, true]);
  expect(wants('5xx')).toEqual([true, true, true]);
  expect(wants('gateway-error')).toEqual([false, false, false]);
});

test('statuses come from triggers and from the list', () => {
  const wanted = (of: RetryPolicy): number[] =>
    [200, 404, 409, 429, 500, 502, 503, 504].filter((s) => of.wantsStatus(s));
  expect(wanted(policy(['5xx']))).toEqual([500, 502, 503, 504]);
  expect(wanted(policy(['gateway-error']))).toEqual([502, 503, 504]);
  expect(wanted(policy(['retriable-4xx'], [429]))).toEqual([409, 429]);
  expect(wanted(policy(['reset']))).toEqual([]);
});

test('gRPC answers are looked into only where policy names codes', () => {
  expect(policy(['unavailable']).readsGrpc).toBe(true);
  expect([policy(['unavailable']).wantsGrpc(14), policy(['unavailable']).wantsGrpc(13)]).toEqual([true, false]);
  expect(policy(['5xx']).readsGrpc).toBe(false);
});

test('pauses double up to the longest, and a random share of them is waited', () => {
  expect([1, 2, 3, 4, 5, 6].map((attempts) => policy([]).pauseMs(attempts, 1))).toEqual([25, 50, 100, 200, 250, 250]);
  expect(policy([]).pauseMs(3, 0.5)).toBe(50);
});

test('Retry-After counts in seconds; a date is longer than anybody waits', () => {
  const head = (value?: string): ResponseHead =>
    new ResponseHead(
      503,
      '',
      new Fields(value ? ['Retry-After'] : [], value ? [value] : []),
      0,
      -1,
      11,
      false,
      -1,
      null,
    );
  expect([retryAfterMs(head()), retryAfterMs(head('3'))]).toEqual([0, 3_000]);
  expect(retryAfterMs(head('Fri, 31 Dec 1999 23:59:59 GMT'))).toBe(Number.POSITIVE_INFINITY);
});

test('a breaker counts what policy calls an error, slow answers too, and nobody else for a caller that left', () => {
  const errors = new BreakerErrors(['gateway-error', 'unavailable', '429', 'failure'], 100);
  const judged = [
    [500, -1],
    [503, -1],
    [429, -1],
    [200, 14],
    [200, 13],
    [200, 0],
  ] as const;
  expect(judged.map(([status, code]) => errors.isError(status, code, 10))).toEqual([
    false,
    true,
    true,
    true,
    false,
    false,
  ]);
  expect(errors.isError(200, -1, 101)).toBe(true);
  expect([FAILURES.upstreamReset, FAILURES.clientGone, FAILURES.requestLimit].map((f) => errors.outcomeOf(f))).toEqual([
    'fail',
    'ignore',
    'ignore',
  ]);
  expect(new BreakerErrors(['5xx'], 0).outcomeOf(FAILURES.upstreamReset)).toBe('ignore');
});
