import { expect, test } from 'vitest';
import type { Span } from '../../../deploy/demo/otlp.ts';
import { layOut, waterfall } from '../../../deploy/demo/waterfall.ts';

function span(spanId: string, parentSpanId: string, from: number, to: number, more: Partial<Span> = {}): Span {
  return {
    traceId: 't',
    spanId,
    parentSpanId,
    name: 'GET',
    kind: 'SERVER',
    start: 1_700_000_000_000_000_000n + BigInt(from * 1e6),
    end: 1_700_000_000_000_000_000n + BigInt(to * 1e6),
    failed: false,
    service: 'shop',
    attributes: new Map(),
    ...more,
  };
}

const client = { kind: 'CLIENT' as const };
const toCatalog = new Map<string, string | number>([
  ['http.request.method', 'GET'],
  ['server.address', 'catalog'],
  ['url.full', 'http://catalog/items?page=2'],
  ['http.response.status_code', 200],
]);

test('spans stand under their parents in the order of their start, with bars to one scale', () => {
  const lines = waterfall([
    span('d', 'c', 30, 40, { service: 'catalog' }),
    span('c', 'a', 20, 40, { ...client, attributes: toCatalog }),
    span('b', 'a', 10, 20, { ...client, failed: true, attributes: new Map([['error.type', 'connect_refused']]) }),
    span('a', 'the caller', 0, 40),
  ]);
  expect(layOut(lines, (bar) => bar)).toBe(
    [
      'shop server         ▕████████████████████████████████████████▏ 40.0 ms  GET',
      '  shop client       ▕          ██████████                    ▏ 10.0 ms  GET connect_refused',
      '  shop client       ▕                    ████████████████████▏ 20.0 ms  GET catalog/items 200',
      '    catalog server  ▕                              ██████████▏ 10.0 ms  GET',
    ].join('\n'),
  );
  expect(lines.map((line) => line.failed)).toEqual([false, true, false, false]);
});

test('a span too short to see still has a bar, inside the picture', () => {
  const lines = waterfall([span('a', '', 0, 100), span('b', 'a', 100, 100)]);
  expect(lines.map((line) => line.bar.length)).toEqual([40, 40]);
  expect(lines[1]?.bar.trim()).toBe('█');
});

test('nothing is lost where a parent is missing, and no spans are no lines', () => {
  expect(waterfall([span('b', 'gone', 5, 6), span('a', '', 0, 1)]).map((line) => line.label)).toEqual([
    'shop server',
    'shop server',
  ]);
  expect(waterfall([])).toEqual([]);
});
