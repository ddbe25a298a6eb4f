import { expect, test } from 'vitest';
import type { AccessLine } from '../../../deploy/demo/access-lines.ts';
import * as claims from '../../../deploy/demo/claims.ts';
import type { Span } from '../../../deploy/demo/otlp.ts';

const answers: claims.Answers = {
  sent: 100,
  failures: new Map(),
  byInstance: new Map([
    ['catalog-v1-a', 60],
    ['catalog-v1-c', 30],
    ['catalog-v2-a', 10],
  ]),
};

const line: AccessLine = {
  direction: 'outbound',
  method: 'GET',
  authority: 'catalog',
  status: 200,
  word: '',
  cluster: 'default/catalog-v1:80',
  upstream: '127.0.0.1:1',
  attempts: 1,
  downstream_principal: 'spiffe://cluster.local/ns/default/sa/storefront',
  upstream_principal: '',
  trace_id: '',
};

function span(spanId: string, parentSpanId: string, service: string, kind: Span['kind']): Span {
  return {
    traceId: 't',
    spanId,
    parentSpanId,
    service,
    kind,
    name: 'GET',
    start: 0n,
    end: 1n,
    failed: false,
    attributes: new Map(),
  };
}

test('a load holds only if something was sent and nothing failed', () => {
  expect(claims.noneFailed(answers, [line])).toMatchObject({ holds: true, observed: '100 of 100 answered with 200' });
  const failed = {
    ...answers,
    failures: new Map([
      ['status 503', 2],
      ['timeout', 1],
    ]),
  };
  expect(claims.noneFailed(failed, [line, { ...line, status: 503, word: 'request_limit' }])).toMatchObject({
    holds: false,
    observed: '97 of 100 answered with 200; 2 × status 503, 1 × timeout (1 × request_limit)',
  });
  expect(claims.noneFailed({ ...answers, sent: 0 }, []).holds).toBe(false);
});

test('a split holds within four percent of the share', () => {
  expect(claims.splitIs(answers, 'catalog-v2', 10)).toMatchObject({ holds: true, observed: '10 of 100 (10.0 %)' });
  expect(claims.splitIs(answers, 'catalog-v2', 15).holds).toBe(false);
  expect(claims.splitIs({ ...answers, byInstance: new Map() }, 'catalog-v2', 10).holds).toBe(false);
});

test('a dead instance is routed around only if it lived before and every retried request was saved', () => {
  const saved = { ...line, attempts: 2 };
  expect(claims.routedAround(answers, 'catalog-v1-c', [line, saved]).holds).toBe(true);
  expect(claims.routedAround(answers, 'catalog-v1-c', [line]).holds).toBe(false);
  expect(claims.routedAround(answers, 'catalog-v1-c', [saved, { ...saved, status: 503 }]).holds).toBe(false);
  expect(claims.routedAround(answers, 'catalog-v1-x', [saved]).holds).toBe(false);
});

test('a caller is who it is claimed to be only if every line says so', () => {
  const storefront = line.downstream_principal;
  expect(claims.calledBy('catalog', storefront, [line, line])).toMatchObject({
    holds: true,
    observed: '2 of 2 requests',
  });
  expect(claims.calledBy('catalog', storefront, [line, { ...line, downstream_principal: '' }]).holds).toBe(false);
  expect(claims.calledBy('catalog', storefront, []).holds).toBe(false);
});

test('plain text is refused only if nothing came back and the sidecar counted it', () => {
  expect(claims.plaintextRefused(0, 1).holds).toBe(true);
  expect(claims.plaintextRefused(12, 1).holds).toBe(false);
  expect(claims.plaintextRefused(0, 0).holds).toBe(false);
});

test('metrics agree with the log only if both counted the same requests', () => {
  expect(claims.metricsAgree(2, [line, line]).holds).toBe(true);
  expect(claims.metricsAgree(3, [line, line]).holds).toBe(false);
  expect(claims.metricsAgree(0, []).holds).toBe(false);
});

test('a trace is whole only with one root and a server span in every service', () => {
  const whole = [
    span('a', 'client', 'shop', 'SERVER'),
    span('b', 'a', 'shop', 'CLIENT'),
    span('c', 'b', 'stock', 'SERVER'),
  ];
  expect(claims.traceIsWhole(whole, ['shop', 'stock'])).toMatchObject({
    holds: true,
    observed: '3 spans with 3 IDs, of shop, stock, under 1 root',
  });
  expect(claims.traceIsWhole(whole.slice(0, 2), ['shop', 'stock']).holds).toBe(false);
  expect(claims.traceIsWhole([whole[0] as Span, whole[2] as Span], ['shop', 'stock']).holds).toBe(false);
  expect(claims.traceIsWhole([...whole, span('b', 'a', 'shop', 'CLIENT')], ['shop', 'stock']).holds).toBe(false);
  expect(claims.traceIsWhole([], ['shop']).holds).toBe(false);
});

test('a drain holds only if no sidecar ended badly', () => {
  expect(claims.drained(5, [])).toMatchObject({ holds: true, observed: '5 of 5' });
  expect(claims.drained(5, ['inventory'])).toMatchObject({ holds: false, observed: 'not inventory' });
});
