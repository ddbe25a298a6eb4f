/** CHECKS, "slow regular expressions": linear time, below 10 ms on an 8 KB path. */
import { expect, test } from 'vitest';
import { Fields } from '../../proxy/http/message.ts';
import { loadExpressions } from '../../proxy/policy/expression.ts';
import { RouteTable } from '../../proxy/policy/route.ts';

await loadExpressions();

const FIELDS = new Fields();
const LENGTH = 8192;
/** A machine that does other things too disturbs some runs; an engine that backtracks would need years for any of them. */
const RUNS = 8;

/** Milliseconds of the quickest of some lookups of `path`. */
function quickest(table: RouteTable<number>, path: string): number {
  const times = Array.from({ length: RUNS }, () => {
    const start = performance.now();
    table.lookup('GET', path, FIELDS);
    return performance.now() - start;
  });
  return Math.min(...times);
}

test.each([
  ['/(a+)+$', 'a', '!'],
  ['/([a-zA-Z]+)*', 'a', '!'],
  ['/(a|aa)+', 'a', '!'],
  ['/(a|a?)+', 'a', '!'],
  ['/(.*a){11}', 'a', '!'],
  ['/.*.*.*.*.*.*z', 'a', '!'],
  ['/(x+x+)+y', 'x', ''],
  ['/((ab)*|a*)*b', 'ab', 'c'],
  ['/.*a[ab]{60}c', 'ab', 'c'],
  ['/(?:[^/]+/)*end', 'a/', ''],
])('%s takes less than 10 ms on 8 KB that almost match', (value, repeated, end) => {
  const match = { path: { type: 'RegularExpression', value }, method: null, headers: [], query: [] } as const;
  const table = new RouteTable([{ match, target: 0 }]);
  const path = `/${repeated.repeat(LENGTH / repeated.length)}${end}`;
  expect(quickest(table, path)).toBeLessThan(10);
});
