import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fields } from '../../proxy/http/message.ts';
import { type RouteMatch, RouteTable } from '../../proxy/policy/route.ts';

/** Few names, so that tables and requests meet often. */
const element = fc.constantFrom('a', 'b', 'ab', 'c', '');
const path = fc.array(element, { maxLength: 4 }).map((elements) => `/${elements.join('/')}`);
const name = fc.constantFrom('x', 'y');
const value = fc.constantFrom('1', '2', '1,2');
const pair = fc.record({ name, type: fc.constant('Exact' as const), value });
const match: fc.Arbitrary<RouteMatch> = fc.record({
  path: fc.record({ type: fc.constantFrom('Exact' as const, 'PathPrefix' as const), value: path }),
  method: fc.constantFrom(null, null, 'GET', 'POST'),
  headers: fc.uniqueArray(pair, { maxLength: 1, selector: (header) => header.name }),
  query: fc.uniqueArray(pair, { maxLength: 1, selector: (parameter) => parameter.name }),
});
const pairs = fc.array(fc.tuple(name, value), { maxLength: 3 });
const request = fc.record({ method: fc.constantFrom('GET', 'POST'), path, headers: pairs, query: pairs });

function elementsOf(value: string): string[] {
  const elements = value.split('/').slice(1);
  return elements.at(-1) === '' ? elements.slice(0, -1) : elements;
}

/** As the Gateway API words it, over lists of elements. */
function fits(
  match: RouteMatch,
  asked: { method: string; path: string; headers: [string, string][]; query: [string, string][] },
): boolean {
  const prefix = elementsOf(match.path.value);
  const pathFits =
    match.path.type === 'Exact'
      ? asked.path === match.path.value
      : prefix.every((wanted, i) => asked.path.split('/').slice(1)[i] === wanted);
  const joined = (wanted: string): string =>
    asked.headers
      .filter(([n]) => n === wanted)
      .map(([, v]) => v)
      .join(',');
  const first = (wanted: string): string | undefined => asked.query.find(([n]) => n === wanted)?.[1];
  return (
    pathFits &&
    (match.method === null || match.method === asked.method) &&
    match.headers.every((header) => joined(header.name) === header.value) &&
    match.query.every((parameter) => first(parameter.name) === parameter.value)
  );
}

/** Exact before prefixes, longer prefixes before shorter ones, then the order given. */
function rank(match: RouteMatch): number {
  const key = match.path.value.endsWith('/') ? match.path.value.length - 1 : match.path.value.length;
  return match.path.type === 'Exact' ? Number.POSITIVE_INFINITY : key;
}

test('the table finds what a walk over all entries finds', () => {
  let hits = 0;
  fc.assert(
    fc.property(fc.array(match, { minLength: 12, maxLength: 40, size: 'max' }), request, (matches, asked) => {
      const entries = matches.map((match, target) => ({ match, target }));
      const ordered = entries.toSorted((one, other) => {
        const [a, b] = [rank(one.match), rank(other.match)];
        return a === b ? one.target - other.target : b > a ? 1 : -1;
      });
      const expected = ordered.find((entry) => fits(entry.match, asked))?.target ?? null;
      const query = asked.query.map(([n, v]) => `${n}=${v}`).join('&');
      const fields = new Fields(
        asked.headers.map(([n]) => n.toUpperCase()),
        asked.headers.map(([, v]) => v),
      );
      if (expected !== null) hits++;
      expect(
        new RouteTable(entries).lookup(asked.method, query === '' ? asked.path : `${asked.path}?${query}`, fields),
      ).toBe(expected);
    }),
    { seed: 20_261, numRuns: 2000 },
  );
  expect(hits).toBeGreaterThan(500);
});
