import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { diffSnapshots } from '../../../proxy/answers/diff.ts';
import { changeLines, runDiff } from '../../../proxy/answers/diff-cli.ts';
import { loadExpressions } from '../../../proxy/policy/expression.ts';
import { document, PARENT_A, route, service, slice, snapshotOf } from '../../support/policy-documents.ts';

await loadExpressions();

const READY = 'addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.0.0.1]}]\n';
const SERVICES = service('a') + service('b') + slice('a', READY) + slice('b', READY);
const TO_A = 'backendRefs: [{name: a, port: 80}]';
const TO_B = 'backendRefs: [{name: b, port: 80}]';

function routed(...rules: string[]): string {
  return SERVICES + route('r', `{parentRefs: [${PARENT_A}], rules: [${rules.join(', ')}]}`);
}

async function lines(before: string, after: string): Promise<string[]> {
  return changeLines(await diffSnapshots(snapshotOf(before), snapshotOf(after)));
}

describe('nothing changes for requests where', () => {
  it.each([
    ['the same is written', routed(`{${TO_A}}`), routed(`{${TO_A}}`)],
    [
      'a route and its rules have other names and places',
      routed(`{name: x, ${TO_A}}`),
      routed(`{name: y, ${TO_A}}`).replace('{name: r', '{name: s') + '# another line\n',
    ],
    [
      'weights are other numbers of one ratio',
      routed('{backendRefs: [{name: a, port: 80, weight: 1}, {name: b, port: 80, weight: 3}]}'),
      routed('{backendRefs: [{name: a, port: 80, weight: 20}, {name: b, port: 80, weight: 60}]}'),
    ],
    [
      'a rule comes that another one shadows',
      routed(`{${TO_A}}`),
      routed(`{${TO_A}}, {matches: [{path: {value: /}}], ${TO_B}}`),
    ],
    ['a route says what holds without it', SERVICES, routed(`{${TO_A}}`)],
  ])('%s', async (_, before, after) => {
    expect(await lines(before, after)).toEqual([]);
  });
});

describe('a change is told of', () => {
  it.each([
    [
      'weights',
      routed('{backendRefs: [{name: a, port: 80, weight: 9}, {name: b, port: 80, weight: 1}]}'),
      routed('{backendRefs: [{name: a, port: 80, weight: 1}, {name: b, port: 80, weight: 1}]}'),
      [
        'shop/a:80',
        '  GET /, GET /weft-probe: backends: 90 % to shop/a:80, 10 % to shop/b:80 → 50 % to shop/a:80, 50 % to shop/b:80',
      ],
    ],
    [
      'a rule for some requests',
      routed(`{${TO_A}}`),
      routed(
        `{${TO_A}}, {matches: [{path: {type: Exact, value: /x}, method: POST, headers: [{name: k, value: v}], queryParams: [{name: q, value: "1"}]}], ${TO_B}}`,
      ),
      ['shop/a:80', '  POST /x?q=1 (k: v): backends: 100 % to shop/a:80 → 100 % to shop/b:80'],
    ],
    [
      'an exact path that becomes a prefix',
      routed(`{matches: [{path: {type: Exact, value: /x}}], ${TO_A}}`),
      routed(`{matches: [{path: {value: /x}}], ${TO_A}}`),
      ['shop/a:80', '  GET /x/weft-probe: verdict: refused 404 no_route → forwarded'],
    ],
    [
      'times and attempts',
      routed(`{${TO_A}}`),
      routed(`{${TO_A}, timeouts: {request: 3s, backendRequest: 1s}, retry: {attempts: 0}}`),
      [
        'shop/a:80',
        '  GET /, GET /weft-probe: timeout: none → 3s',
        '  GET /, GET /weft-probe: attempt timeout: none → 1s',
        '  GET /, GET /weft-probe: retries: 2, after connect-failure, refused-stream, reset → 0',
      ],
    ],
    [
      'filters',
      routed(
        `{${TO_A}, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: "1"}]}}]}`,
      ),
      routed(`{${TO_A}, filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [server]}}]}`),
      [
        'shop/a:80',
        '  GET /, GET /weft-probe: request changes removed: was + x: 1',
        '  GET /, GET /weft-probe: response changes from shop/a:80 added: - server: …',
      ],
    ],
    [
      'an expression, which no request stands for',
      routed(`{matches: [{path: {type: RegularExpression, value: "/a[0-9]+"}}], ${TO_A}}`),
      routed(`{matches: [{path: {type: RegularExpression, value: "/b[0-9]+"}}], ${TO_A}}`),
      ['shop/a:80', '  expressions: /a[0-9]+ → /b[0-9]+'],
    ],
    [
      'endpoints that come, go and are not ready',
      service('a') +
        slice('a', READY.replace('10.0.0.1]}', '10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}')),
      service('a') +
        slice(
          'a',
          READY.replace(
            '10.0.0.1]}',
            '10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}, {addresses: [10.0.0.4]}',
          ),
        ),
      [
        'shop/a:80',
        '  endpoint 10.0.0.2:8080: ready, mutual TLS → not ready, mutual TLS',
        '  endpoint 10.0.0.3:8080 removed: was ready, mutual TLS',
        '  endpoint 10.0.0.4:8080 added: ready, mutual TLS',
      ],
    ],
    [
      'the last ready endpoint',
      service('a') + slice('a', READY),
      service('a') + slice('a', 'addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: []\n'),
      [
        'shop/a:80',
        '  endpoint 10.0.0.1:8080 removed: was ready, mutual TLS',
        '  GET /: verdict: forwarded → refused 503 no_ready_endpoint',
      ],
    ],
    [
      'Services and ports',
      service('a') + service('c'),
      service('a', '{ports: [{port: 80, name: http}, {port: 81, name: http-x}]}') + service('d'),
      ['shop/a:81', '  Service port added', 'shop/c:80', '  Service port removed', 'shop/d:80', '  Service port added'],
    ],
    [
      'mutual TLS, limits and the balancer',
      service('a'),
      service('a') +
        document(
          'TrafficPolicy',
          'p',
          '{targetRefs: [{kind: Service, name: a}], tls: {mode: Disable}, loadBalancer: {type: RoundRobin}, circuitBreaker: {maxConnections: 7}}',
        ),
      [
        'shop/a:80',
        '  mutual TLS: on → off',
        '  loadBalancer.type: LeastRequest → RoundRobin',
        '  circuitBreaker.maxConnections: 1024 → 7',
        '  endpoint a.shop.svc.cluster.local:80: ready, mutual TLS → ready, plain',
      ],
    ],
    [
      'the mesh and the own inbound side',
      '',
      document('Mesh', 'm', '{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}') +
        document('PeerAuthentication', 'p', '{mtls: {mode: PERMISSIVE}}'),
      ['mesh', '  outboundTrafficPolicy: ALLOW_ANY → REGISTRY_ONLY', 'inbound', '  mode: STRICT → PERMISSIVE'],
    ],
  ])('%s', async (_, before, after, expected) => {
    expect(await lines(before, after)).toEqual(expected);
  });

  it('with at most three requests named', async () => {
    const rule = (to: string): string =>
      `{matches: [${['a', 'b', 'c'].map((path) => `{path: {value: /${path}}}`).join(', ')}], ${to}}`;
    expect((await lines(routed(rule(TO_A)), routed(rule(TO_B))))[1]).toBe(
      '  GET /a, GET /a/weft-probe, GET /b and 3 more: backends: 100 % to shop/a:80 → 100 % to shop/b:80',
    );
  });
});

describe('weft diff', () => {
  let dirs: string[];
  beforeEach(() => {
    dirs = [mkdtempSync(join(tmpdir(), 'weft-old-')), mkdtempSync(join(tmpdir(), 'weft-new-'))];
  });
  afterEach(() => {
    for (const dir of dirs) rmSync(dir, { recursive: true });
  });

  async function run(...args: string[]): Promise<{ code: number; out: string[]; err: string[] }> {
    const out: string[] = [];
    const err: string[] = [];
    const code = await runDiff(args, { out: (line) => out.push(line), err: (line) => err.push(line) });
    return { code, out, err };
  }

  it('exits 0 without changes, 1 with, and lists them as JSON for programs', async () => {
    for (const dir of dirs) writeFileSync(join(dir, 'a.yaml'), service('a'));
    expect(await run(...dirs)).toEqual({ code: 0, out: [], err: [] });
    writeFileSync(join(dirs[1] as string, 'b.yaml'), service('b'));
    const { code, out } = await run('--json', '--namespace', 'web', ...dirs);
    expect(code).toBe(1);
    expect(JSON.parse(out.join(''))).toEqual([
      { subject: 'web/b:80', requests: [], what: 'Service port', before: null, after: 'there' },
    ]);
  });

  it('exits 2 where a folder has problems, and tells them', async () => {
    writeFileSync(join(dirs[1] as string, 'a.yaml'), 'kind: Service\n');
    const { code, err } = await run(...dirs);
    expect(code).toBe(2);
    expect(err).toEqual([`${dirs[1]}: a.yaml:1:1: apiVersion: is required (e.g. v1)`]);
  });

  it('tells its usage for --help, and exits 0', async () => {
    expect(await run('--help')).toEqual({ code: 0, out: [expect.stringContaining('usage: weft diff')], err: [] });
  });

  it.each([[[]], [['a']], [['a', 'b', 'c']], [['a', 'b', '--strict']]])(
    'exits 2 with the usage for %j',
    async (args) => {
      const { code, err } = await run(...args);
      expect(code).toBe(2);
      expect(err.at(-1)).toContain('usage: weft diff OLD NEW');
    },
  );
});
