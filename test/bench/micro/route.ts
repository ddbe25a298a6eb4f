/** Route lookup at 10, 100 and 1000 routes: `node test/bench/micro/route.ts`. */
import { Fields } from '../../../proxy/http/message.ts';
import { type RouteEntry, type RouteMatch, RouteTable } from '../../../proxy/policy/route.ts';
import { compare, type Variant } from './timing.ts';

const SIZES = [10, 100, 1000];
/** As many paths asked at every size: what differs is the table, not how much of it the caller walks over. */
const ASKED = 8;

const FIELDS = new Fields(
  ['Host', 'User-Agent', 'Accept', 'Accept-Encoding', 'X-Request-Id', 'X-Canary'],
  ['catalog', 'curl/8.5', '*/*', 'gzip', '7c0e6bd1-7e1e-4c66-9f1d-2f6a3c6b8f10', 'yes'],
);

/** Of one length at every size: longer names cost more by themselves. */
function service(i: number): string {
  return `service-${String(i).padStart(4, '0')}`;
}

function tableOf(count: number, more: (i: number) => Partial<RouteMatch>): RouteTable<number> {
  const entries = Array.from({ length: count }, (_, i): RouteEntry<number> => {
    const path = { type: i % 2 === 0 ? 'PathPrefix' : 'Exact', value: `/api/v1/${service(i)}/items` } as const;
    return { match: { path, method: null, headers: [], query: [], ...more(i) }, target: i };
  });
  return new RouteTable(entries);
}

function variant(name: string, table: RouteTable<number>, paths: readonly string[]): Variant {
  return {
    name,
    run: (count) => {
      let found = 0;
      for (let i = 0; i < count; i++) found += table.lookup('GET', paths[i % paths.length] ?? '', FIELDS) ?? 0;
      if (found < 0) throw new Error('unreachable');
    },
  };
}

/** Paths as a parser hands them over: slices of a longer string, not literals. */
function asked(count: number, path: (i: number) => string): string[] {
  const step = Math.max(1, Math.floor(count / ASKED));
  return Array.from({ length: Math.min(ASKED, count) }, (_, k) => {
    const line = `GET ${path(k * step)} HTTP/1.1`;
    return line.slice(4, -9);
  });
}

compare(
  'prefix or exact path, as it comes',
  SIZES.map((n) =>
    variant(
      `${n} routes`,
      tableOf(n, () => ({})),
      asked(n, (i) => `/api/v1/${service(i)}/items`),
    ),
  ),
);
compare(
  'prefix, two elements deeper, with a query that nobody reads',
  SIZES.map((n) =>
    variant(
      `${n} routes`,
      tableOf(n, () => ({})),
      asked(n, (i) => `/api/v1/${service(i & ~1)}/items/17/price?currency=EUR`),
    ),
  ),
);
compare(
  'no route',
  SIZES.map((n) =>
    variant(
      `${n} routes`,
      tableOf(n, () => ({})),
      asked(n, (i) => `/other/v1/${service(i)}/items`),
    ),
  ),
);
compare(
  'with a method, a header and a query parameter',
  SIZES.map((n) => {
    const more = (): Partial<RouteMatch> => ({
      method: 'GET',
      headers: [{ name: 'x-canary', type: 'Exact', value: 'yes' }],
      query: [{ name: 'v', type: 'Exact', value: '2' }],
    });
    return variant(
      `${n} routes`,
      tableOf(n, more),
      asked(n, (i) => `/api/v1/service-${i}/items?v=2`),
    );
  }),
);
