/**
 * What explain says is what a real request through a real sidecar gets: generated policies, a Service each, many in one
 * folder and a reload for each lot of them.
 */
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { explain } from '../../proxy/answers/explain.ts';
import type { BackendView, Explanation, HeaderField } from '../../proxy/answers/explanation.ts';
import { OfflineLink } from '../../proxy/answers/offline.ts';
import { compile } from '../../proxy/config/compile.ts';
import type { Snapshot } from '../../proxy/config/snapshot.ts';
import { loadExpressions } from '../../proxy/policy/expression.ts';
import { type Answer, ask, header, plain, TinyMesh, wordOf } from '../integration/mesh.ts';
import { type Backend, mirror, startBackend } from '../support/backend.ts';
import { endpointSlice, httpRoute, PLAIN, policyText, service } from '../support/policy.ts';

await loadExpressions();

const LOTS = 5;
const LOT = 100;
const SEED = 20_261_122;
const SELF = { namespace: 'default', labels: {}, serviceAccount: 'default' };
/** Named by generated routes; the last is no Service. */
const TARGETS = ['v0', 'v1', 'v2', 'gone'] as const;

const mesh = new TinyMesh();
afterAll(() => mesh[Symbol.asyncDispose]());

/** Says which it is, and has a header that filters may take away. */
async function startTarget(): Promise<Backend> {
  const backend = await startBackend((request, response) => {
    response.setHeader('x-served-by', backend.address);
    response.setHeader('x-s', 'theirs');
    mirror(request, response);
  });
  return mesh.own(backend);
}

const path = fc.oneof(
  fc.record({ type: fc.constantFrom('Exact', 'PathPrefix'), value: fc.constantFrom('/', '/a', '/a/b', '/c') }),
  fc.record({ type: fc.constant('RegularExpression'), value: fc.constantFrom('/a.*', '/(a|c)', '/[^/]+/b') }),
);
const condition = (name: string): fc.Arbitrary<object> =>
  fc.oneof(
    fc.record({ name: fc.constant(name), value: fc.constantFrom('1', '2') }),
    fc.constant({ name, type: 'RegularExpression', value: '[0-9]' }),
  );
const match = fc.record(
  {
    path,
    method: fc.constantFrom('GET', 'POST'),
    headers: fc.tuple(condition('x-k')),
    queryParams: fc.tuple(condition('q')),
  },
  { requiredKeys: ['path'] },
);

const modifiers = fc.subarray([
  {
    type: 'RequestHeaderModifier',
    requestHeaderModifier: {
      set: [{ name: 'x-a', value: 'set' }],
      add: [{ name: 'x-b', value: 'added' }],
      remove: ['x-c'],
    },
  },
  {
    type: 'ResponseHeaderModifier',
    responseHeaderModifier: { set: [{ name: 'x-r', value: 'ours' }], remove: ['x-s'] },
  },
]);
const rewrite = fc.constantFrom<object>(
  { hostname: 'other.example' },
  { path: { type: 'ReplaceFullPath', replaceFullPath: '/full' } },
  { hostname: 'third.example', path: { type: 'ReplaceFullPath', replaceFullPath: '/third' } },
);
const forwarding = fc
  .tuple(modifiers, fc.option(rewrite, { freq: 2, nil: undefined }))
  .map(([list, change]) => (change === undefined ? list : [...list, { type: 'URLRewrite', urlRewrite: change }]));
const backendRef = fc.record({
  name: fc.constantFrom(...TARGETS),
  port: fc.constant(80),
  weight: fc.constantFrom(0, 1, 1, 3),
  filters: modifiers,
});
const redirect = fc.record({
  hostname: fc.constantFrom('elsewhere.example', undefined),
  port: fc.constantFrom(8443, undefined),
  statusCode: fc.constantFrom(301, 302, 308),
});
const conduct = fc.oneof(
  { weight: 5, arbitrary: fc.record({ filters: forwarding, backendRefs: fc.array(backendRef, { maxLength: 3 }) }) },
  {
    weight: 1,
    arbitrary: redirect.map((requestRedirect) => ({ filters: [{ type: 'RequestRedirect', requestRedirect }] })),
  },
);
const rule = fc
  .tuple(fc.array(match, { maxLength: 3 }), conduct)
  .map(([matches, what]) => (matches.length === 0 ? what : { ...what, matches }));

const request = fc.record({
  method: fc.constantFrom('GET', 'GET', 'POST'),
  host: fc.constantFrom('', '', '', '.default', '.Default.svc.', ':80', ':81'),
  path: fc.constantFrom(
    '/',
    '/a',
    '/a/',
    '/a/b',
    '/a/b/c?q=1',
    '/c?q=2',
    '/ab',
    '/x/b',
    '/a/../c',
    '/%61',
    '/a/%2e%2e/%zz',
  ),
  headers: fc.subarray<HeaderField>([
    ['X-K', '1'],
    ['x-k', '2'],
    ['x-a', 'asked'],
    ['X-C', 'asked'],
  ]),
});

const generated = fc.record({
  rules: fc.option(fc.array(rule, { minLength: 1, maxLength: 4 }), { freq: 6, nil: null }),
  ready: fc.constantFrom(true, true, true, false),
  request,
});
type Generated = typeof generated extends fc.Arbitrary<infer T> ? T : never;

function documentsOf({ rules, ready }: Generated, name: string, port: number): string[] {
  const own = [
    service({ name, ports: [{ port: 80, name: 'main' }], annotations: PLAIN }),
    endpointSlice({ service: name, ports: [{ name: 'main', port }], endpoints: [{ address: '127.0.0.1', ready }] }),
  ];
  return rules === null ? own : [...own, httpRoute({ name, parent: name, rules })];
}

function snapshotOf(documents: readonly string[]): Snapshot {
  const { snapshot, problems } = compile([{ path: 'policy.yaml', text: policyText(documents) }], SELF);
  if (snapshot === null) throw new Error(JSON.stringify(problems));
  return snapshot;
}

function requestText({ method, host, path: target, headers }: Generated['request'], name: string): string {
  const lines = headers.map(([field, value]) => `${field}: ${value}\r\n`).join('');
  return `${method} ${target} HTTP/1.1\r\nHost: ${name}${host}\r\nContent-Length: 0\r\n${lines}\r\n`;
}

/** What a caller can tell: weft's own answer, or whose answer it is and what reached it. */
function seen(answer: Answer): object {
  const served = header(answer, 'x-served-by');
  if (served === undefined) {
    return { status: answer.status, word: wordOf(answer) ?? '', location: header(answer, 'location') };
  }
  const { target, headers } = JSON.parse(answer.body.toString()) as {
    target: string;
    headers: Record<string, string>;
  };
  return {
    target,
    host: headers['host'],
    sent: ['x-a', 'x-b', 'x-c', 'x-k'].map((name) => headers[name]),
    returned: ['x-r', 'x-s'].map((name) => header(answer, name)),
  };
}

/** The same as explain has it, for each backend that the request may have come to. */
function told({ verdict, backends }: Explanation, served: string | undefined): object[] {
  const reached = backends.filter(({ share }) => share > 0);
  if (served === undefined) {
    const verdicts = reached.length === 0 ? [verdict] : reached.map((backend) => backend.verdict);
    return verdicts.map(({ status, word, headers }) => {
      return { status, word, location: headers.find(([name]) => name === 'location')?.[1] };
    });
  }
  return reached
    .filter(({ endpoints }) => endpoints.some(({ address }) => address === served))
    .map((backend) => forwarded(backend));
}

function forwarded({ request: leaving, responseChanges }: BackendView): object {
  const value = (name: string): string | undefined => {
    const values = leaving?.headers.filter(([field]) => field.toLowerCase() === name).map(([, text]) => text) ?? [];
    return values.length === 0 ? undefined : values.join(', ');
  };
  const returned = (name: string, otherwise: string | undefined): string | undefined => {
    const change = responseChanges.find((each) => each.name === name);
    return change === undefined ? otherwise : (change.after ?? undefined);
  };
  return {
    target: leaving?.path,
    host: leaving?.authority,
    sent: ['x-a', 'x-b', 'x-c', 'x-k'].map(value),
    returned: [returned('x-r', undefined), returned('x-s', 'theirs')],
  };
}

test(`explain says what ${LOTS * LOT} generated requests by as many policies really get`, {
  timeout: 120_000,
}, async () => {
  const backends = [await startTarget(), await startTarget(), await startTarget()];
  const targets = backends.flatMap(({ port }, i) => plain({ name: `v${i}`, endpoints: [port] }));
  const cases = fc.sample(generated, { seed: SEED, numRuns: LOTS * LOT });
  const weft = await mesh.start({ account: 'caller', documents: targets });
  const outcomes = new Map<string, number>();
  for (let lot = 0; lot < LOTS; lot++) {
    const own = cases.slice(lot * LOT, (lot + 1) * LOT);
    const named = own.map((each, i) => ({ each, name: `s${lot}-${i}` }));
    const ports = named.flatMap(({ each, name }, i) => documentsOf(each, name, backends[i % 3]?.port ?? 0));
    const documents = [...targets, ...ports];
    await mesh.apply(weft, 'caller', documents);
    using link = await OfflineLink.of(snapshotOf(documents));
    for (const [i, { each, name }] of named.entries()) {
      const { method, host, path: target, headers } = each.request;
      const question = { method, url: `http://${name}${host}${target}`, headers };
      const explanation = explain(link.linked, question);
      const answer = await ask(weft.ports.outbound, requestText(each.request, name), method);
      const situation = JSON.stringify({ question, rules: each.rules });
      expect(told(explanation, header(answer, 'x-served-by')), situation).toContainEqual(seen(answer));
      const outcome = explanation.verdict.word || explanation.verdict.outcome;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (i % 20 > 0) continue;
      const query = new URLSearchParams({ method, url: question.url });
      for (const [field, value] of headers) query.append('header', `${field}: ${value}`);
      expect(await (await weft.ask('admin', `/explain?${query.toString()}`)).json(), situation).toEqual(explanation);
    }
  }
  // Each way that a request can take is among them, and often enough.
  const ways = [
    'forwarded',
    'answered',
    'no_route',
    'invalid_backend',
    'no_ready_endpoint',
    'no_service_port',
    'bad_path',
  ];
  for (const way of ways) expect([way, (outcomes.get(way) ?? 0) >= 5]).toEqual([way, true]);
});
