import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile } from '../../proxy/config/compile.ts';
import { decodeFile, FileDecoder } from '../../proxy/config/decode.ts';
import { splitDocuments } from '../../proxy/config/split.ts';
import { parseYaml, type YamlDocument } from '../../proxy/config/yaml.ts';
import { canonicalIp } from '../../shared/address.ts';
import { formatDuration, parseDuration } from '../../shared/units.ts';

const RUNS = { numRuns: 150, seed: 20_260_101 };
const SELF = { namespace: 'shop', labels: {}, serviceAccount: 'default' };

const WORDS = [
  'apiVersion: v1\n',
  'apiVersion: weft.dev/v1\n',
  'apiVersion: gateway.networking.k8s.io/v1\n',
  'kind: Service\n',
  'kind: HTTPRoute\n',
  'kind: List\n',
  'kind: Mesh\n',
  'metadata:\n',
  '  name: a\n',
  '  annotations: {weft.dev/ignore: 3}\n',
  'spec:\n',
  '  ports:\n',
  '  - port: 80\n',
  '  rules: [{}]\n',
  'items:\n',
  '- ',
  '&a ',
  '*a ',
  '<<: *a\n',
  '!!map ',
  '{',
  '}',
  '[',
  ']',
  ': ',
  ', ',
  '"',
  "'",
  '|\n',
  '>-\n',
  '---\n',
  '...\n',
  '%YAML 1.1\n',
  '# c\n',
  '\t',
  '\0',
  '\u2028',
  '__proto__: 1\n',
  '? ',
  '0x1f',
  '.nan',
  '2026-01-01',
  '~',
  '\uD800',
];

const shuffledWords = fc.array(fc.constantFrom(...WORDS), { maxLength: 40 }).map((words) => words.join(''));

const anyDocument = fc.record(
  {
    apiVersion: fc.constantFrom(
      'v1',
      'weft.dev/v1',
      'gateway.networking.k8s.io/v1',
      'security.istio.io/v1',
      'discovery.k8s.io/v1',
    ),
    kind: fc.constantFrom(
      'Service',
      'Mesh',
      'TrafficPolicy',
      'HTTPRoute',
      'PeerAuthentication',
      'EndpointSlice',
      'TCPRoute',
      'TLSRoute',
      'BackendTLSPolicy',
      'AuthorizationPolicy',
      'ConfigMap',
      'List',
    ),
    metadata: fc.oneof(fc.constant({ name: 'a' }), fc.jsonValue({ maxDepth: 2 })),
    spec: fc.oneof(
      fc.jsonValue({ maxDepth: 4 }),
      fc.record(
        {
          ports: fc.jsonValue({ maxDepth: 3 }),
          rules: fc.array(
            fc.record(
              { matches: fc.jsonValue(), filters: fc.jsonValue(), timeouts: fc.jsonValue() },
              { requiredKeys: [] },
            ),
          ),
          targetRefs: fc.jsonValue({ maxDepth: 3 }),
          parentRefs: fc.jsonValue({ maxDepth: 3 }),
          mtls: fc.jsonValue({ maxDepth: 2 }),
          validation: fc.jsonValue({ maxDepth: 3 }),
          hostnames: fc.jsonValue({ maxDepth: 2 }),
          action: fc.jsonValue({ maxDepth: 1 }),
        },
        { requiredKeys: [] },
      ),
    ),
    items: fc.jsonValue({ maxDepth: 3 }),
    endpoints: fc.jsonValue({ maxDepth: 3 }),
  },
  { requiredKeys: ['apiVersion', 'kind'] },
);

describe('decoding', () => {
  it('never throws on text, and every problem names its file, line and what is wrong', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), shuffledWords), (text) => {
        for (const problem of decodeFile({ path: 'p.yaml', text }).problems) {
          expect(problem.file).toBe('p.yaml');
          expect(problem.message).not.toBe('');
          expect(problem.line > 0 === problem.column > 0).toBe(true);
        }
      }),
      RUNS,
    );
  }, 60_000);

  it('never throws on any document, and every problem has a place and a path', () => {
    fc.assert(
      fc.property(anyDocument, (document) => {
        const { documents, problems } = decodeFile({ path: 'p.json', text: JSON.stringify(document, null, 1) });
        expect(documents.length + problems.length > 0 || document.kind === 'List' || 'metadata' in document).toBe(true);
        for (const problem of problems) {
          expect(problem.line).toBeGreaterThan(0);
          expect(problem.column).toBeGreaterThan(0);
        }
      }),
      RUNS,
    );
  });
});

const name = fc.constantFrom('a', 'b', 'c', 'd');
const namespace = fc.constantFrom('shop', 'other');

const service = fc.record({ name, namespace, port: fc.constantFrom(80, 81) }).map(
  (s) => `apiVersion: v1
kind: Service
metadata: {name: ${s.name}, namespace: ${s.namespace}}
spec: {ports: [{port: ${s.port}}]}
`,
);
const slice = fc.record({ name, namespace, of: name, host: fc.integer({ min: 1, max: 9 }) }).map(
  (s) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${s.name}, namespace: ${s.namespace}, labels: {kubernetes.io/service-name: ${s.of}}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.${s.host}]}]
ports: [{port: 8080}]
`,
);
const route = fc
  .record({
    name,
    namespace,
    parent: name,
    in: namespace,
    to: name,
    path: fc.constantFrom('/', '/x', '/x/y', '/z'),
    exact: fc.boolean(),
  })
  .map(
    (r) => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${r.name}, namespace: ${r.namespace}}
spec:
  parentRefs: [{group: "", kind: Service, name: ${r.parent}, namespace: ${r.in}}]
  rules:
  - matches: [{path: {type: ${r.exact ? 'Exact' : 'PathPrefix'}, value: ${r.path}}}]
    backendRefs: [{name: ${r.to}, port: 80}]
`,
  );
const policy = fc.record({ name, namespace, target: name, retries: fc.integer({ min: 0, max: 3 }) }).map(
  (p) => `apiVersion: weft.dev/v1
kind: TrafficPolicy
metadata: {name: ${p.name}, namespace: ${p.namespace}}
spec: {targetRefs: [{kind: Service, name: ${p.target}}], retry: {numRetries: ${p.retries}}}
`,
);

const connection = fc.record({ name, namespace, parent: name, to: name, tls: fc.boolean() }).map(
  (c) => `apiVersion: gateway.networking.k8s.io/v1
kind: ${c.tls ? 'TLSRoute' : 'TCPRoute'}
metadata: {name: ${c.name}, namespace: ${c.namespace}}
spec:
  parentRefs: [{group: "", kind: Service, name: ${c.parent}}]
  rules: [{backendRefs: [{name: ${c.to}, port: 80}]}]
`,
);
const backendTls = fc.record({ name, namespace, target: name }).map(
  (b) => `apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: ${b.name}, namespace: ${b.namespace}}
spec:
  targetRefs: [{kind: Service, name: ${b.target}}]
  validation: {hostname: ${b.name}.example, wellKnownCACertificates: System}
`,
);
const authorization = fc.record({ name, namespace, from: namespace, deny: fc.boolean() }).map(
  (a) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${a.name}, namespace: ${a.namespace}}
spec:
  action: ${a.deny ? 'DENY' : 'ALLOW'}
  rules: [{from: [{source: {namespaces: [${a.from}]}}]}]
`,
);

describe('compiling', () => {
  it('gives one result for one set of files, whatever their order', () => {
    const folders = fc.array(
      fc.oneof(service, service, slice, route, route, policy, connection, backendTls, authorization),
      { minLength: 2, maxLength: 12 },
    );
    let accepted = 0;
    fc.assert(
      fc.property(
        folders.chain((texts) => {
          const files = texts.map((text, i) => ({ path: `${i}.yaml`, text }));
          return fc.tuple(fc.constant(files), fc.shuffledSubarray(files, { minLength: files.length }));
        }),
        ([files, shuffled]) => {
          const first = compile(files, SELF);
          expect(compile(shuffled, SELF)).toEqual(first);
          if (first.snapshot !== null) accepted++;
        },
      ),
      RUNS,
    );
    expect(accepted).toBeGreaterThan(10);
  });

  it('tells where in the files every problem between documents is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(service, policy, backendTls, connection), { minLength: 8, maxLength: 12 }),
        (texts) => {
          for (const problem of compile(
            texts.map((text, i) => ({ path: `${i}.yaml`, text })),
            SELF,
          ).problems) {
            expect(problem.line).toBeGreaterThan(0);
            expect(problem.path).not.toBe('');
          }
        },
      ),
      RUNS,
    );
  });
});

describe('decoding a file time and again', () => {
  it('gives what decoding it once gives, wherever its documents have moved', () => {
    const broken = fc.constantFrom(
      'kind: [\n',
      'apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {prots: []}\n',
      '# none\n',
    );
    const streams = fc
      .array(fc.oneof(service, slice, route, policy, broken), { maxLength: 6 })
      .map((documents) => documents.join('---\n'));
    let kept = 0;
    fc.assert(
      fc.property(fc.array(streams, { minLength: 2, maxLength: 4 }), (versions) => {
        const decoder = new FileDecoder('p.yaml');
        for (const text of [...versions, `# moved\n---\n${versions.at(-1)}`]) {
          const file = { path: 'p.yaml', text };
          const again = decoder.decode(text);
          const once = decodeFile(file);
          expect(again.problems).toEqual(once.problems);
          const places = ({ documents }: typeof again): unknown[] =>
            documents.map(({ value, place }) => [value, place.where(), place.source('x', ['spec', 'rules', 0]).line]);
          expect(places(again)).toEqual(places(once));
          kept += again.documents.length;
        }
      }),
      RUNS,
    );
    expect(kept).toBeGreaterThan(100);
  }, 60_000);

  it('a stream parted at its markers reads as the whole does', () => {
    let compared = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          shuffledWords,
          fc.array(fc.oneof(service, slice, route, policy)).map((all) => all.join('---\n')),
        ),
        (text) => {
          const whole = parseYaml(text);
          if (whole.some(({ faults }) => faults.length > 0)) return;
          const parted = splitDocuments(text).flatMap((part) => parseYaml(part.text));
          const contents = (documents: readonly YamlDocument[]): unknown[] =>
            documents.map(({ value }) => value).filter((value) => value !== null && value !== undefined);
          compared++;
          expect(contents(parted)).toEqual(contents(whole));
        },
      ),
      RUNS,
    );
    expect(compared).toBeGreaterThan(50);
  });
});

describe('units and addresses', () => {
  it('durations written are read back the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 11 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
      RUNS,
    );
  });

  it('an address in its one spelling is already canonical', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const canonical = canonicalIp(text);
        if (canonical === null) throw new Error(`no address: ${text}`);
        expect(canonicalIp(canonical)).toBe(canonical);
      }),
      RUNS,
    );
  });
});
