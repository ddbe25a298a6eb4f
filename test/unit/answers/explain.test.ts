import { describe, expect, it } from 'vitest';
import { explainSnapshot } from '../../../proxy/answers/explain.ts';
import { explanationLines } from '../../../proxy/answers/explain-text.ts';
import type { Explanation, HeaderField } from '../../../proxy/answers/explanation.ts';
import { loadExpressions } from '../../../proxy/policy/expression.ts';
import { document, PARENT_A, route, SELF, service, slice, snapshotOf } from '../../support/policy-documents.ts';

await loadExpressions();

const READY =
  'addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}]\n';
const NOT_READY = READY.replace('addresses: [10.0.0.1]', 'addresses: [10.0.0.1], conditions: {ready: false}');

function ask(policy: string, url: string, headers: readonly HeaderField[] = [], method = 'GET'): Promise<Explanation> {
  return explainSnapshot(snapshotOf(policy), { method, url, headers }, (host) => host === 'localhost');
}

/** Services a and b, each with endpoints, and one route on a. */
function routed(rules: string): string {
  return (
    service('a') +
    service('b') +
    slice('a', READY) +
    slice('b', READY) +
    route('r', `{parentRefs: [${PARENT_A}], rules: ${rules}}`)
  );
}

describe('a request without a route', () => {
  it('goes to the endpoints of its Service port', async () => {
    const answer = await ask(service('a') + slice('a', READY), 'http://A.shop./x/../y?q=1');
    expect(answer).toMatchObject({
      request: { method: 'GET', scheme: 'http', authority: 'a.shop', path: '/y?q=1' },
      verdict: { outcome: 'forwarded', word: '' },
      service: {
        namespace: 'shop',
        name: 'a',
        port: 80,
        protocol: 'http',
        routed: false,
        file: 'policy.yaml',
        line: 5,
      },
      route: null,
      retries: 2,
    });
    expect(answer.backends).toHaveLength(1);
    expect(answer.backends[0]).toMatchObject({
      cluster: 'shop/a:80',
      share: 1,
      mutualTls: true,
      identities: ['spiffe://cluster.local/ns/shop/sa/*'],
      endpoints: [
        { address: '10.0.0.1:8080', ready: true, mutualTls: true },
        { address: '10.0.0.2:8080', ready: false },
      ],
    });
  });

  it('goes to nobody where no endpoint is ready', async () => {
    const { verdict, backends } = await ask(service('a') + slice('a', NOT_READY), 'a/');
    expect(verdict).toMatchObject({ outcome: 'refused', status: 503, word: 'no_ready_endpoint' });
    expect(backends[0]?.request).toBeNull();
  });

  it('keeps to the identities that the Service names, or needs none without mutual TLS', async () => {
    const named = ', annotations: {weft.dev/identities: "spiffe://cluster.local/ns/x/sa/y"}';
    const plain = ', annotations: {weft.dev/mtls: disabled}';
    const identities = async (metadata: string): Promise<readonly string[] | undefined> =>
      (await ask(service('a', undefined, metadata), 'a/')).backends[0]?.identities;
    expect(await identities(named)).toEqual(['spiffe://cluster.local/ns/x/sa/y']);
    expect(await identities(plain)).toEqual([]);
  });
});

describe('a request that a rule takes', () => {
  it('is told with the rule, the match that decided, its filters one by one and each share', async () => {
    const rules = `[{name: x, matches: [{path: {value: /api}}, {headers: [{name: k, type: RegularExpression, value: "v.*"}]}],
  filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: new}], add: [{name: x-b, value: b}], remove: [x-c]}},
    {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-r, value: r}], remove: [server]}}],
  timeouts: {request: 3s, backendRequest: 1s}, retry: {attempts: 1},
  backendRefs: [{name: a, port: 80, weight: 3}, {name: b, port: 80, weight: 1, filters: [{type: URLRewrite, urlRewrite: {hostname: other.example}}]}]}]`;
    const answer = await ask(routed(rules), 'a/q', [
      ['K', 'value'],
      ['x-a', 'old'],
      ['x-c', 'c'],
    ]);
    expect(answer.route).toMatchObject({
      name: 'shop/r/x',
      document: 'HTTPRoute shop/r',
      file: 'policy.yaml',
      match: {
        path: { type: 'PathPrefix', value: '/' },
        headers: [{ name: 'k', type: 'RegularExpression', value: 'v.*' }],
      },
    });
    expect(answer.filters.map(({ kind, requestChanges }) => [kind, requestChanges])).toEqual([
      [
        'RequestHeaderModifier',
        [
          { name: 'x-a', before: 'old', after: 'new' },
          { name: 'x-c', before: 'c', after: null },
          { name: 'x-b', before: null, after: 'b' },
        ],
      ],
      ['ResponseHeaderModifier', []],
    ]);
    expect(answer).toMatchObject({ timeouts: { requestMs: 3000, attemptMs: 1000 }, retries: 1 });
    const [toA, toB] = answer.backends;
    expect([toA?.share, toB?.share]).toEqual([0.75, 0.25]);
    expect([toA?.request?.authority, toB?.request?.authority]).toEqual(['a', 'other.example']);
    expect(toB?.filters[0]?.requestChanges).toEqual([{ name: ':authority', before: 'a', after: 'other.example' }]);
    expect(toA?.responseChanges).toEqual([
      { name: 'server', before: '…', after: null },
      { name: 'x-r', before: null, after: 'r' },
    ]);
  });

  it('sees the fields that weft stamps before it routes', async () => {
    const rules =
      '[{matches: [{headers: [{name: x-forwarded-proto, value: http}]}], backendRefs: [{name: b, port: 80}]}]';
    expect((await ask(routed(rules), 'a/')).backends[0]?.cluster).toBe('shop/b:80');
  });

  it('may be answered by a filter, with what the caller gets', async () => {
    const rules = '[{filters: [{type: RequestRedirect, requestRedirect: {hostname: b.example, statusCode: 301}}]}]';
    const { verdict, backends } = await ask(routed(rules), 'a/x');
    expect(verdict).toMatchObject({ outcome: 'answered', status: 301, headers: [['location', 'http://b.example/x']] });
    expect(backends).toEqual([]);
  });

  it('meets 500 for the share of a backend that does not exist, and throughout where all weights are zero', async () => {
    const half = await ask(routed('[{backendRefs: [{name: a, port: 80}, {name: gone, port: 80}]}]'), 'a/');
    expect(half.verdict.outcome).toBe('forwarded');
    expect(half.backends[1]).toMatchObject({
      cluster: null,
      share: 0.5,
      verdict: { word: 'invalid_backend', status: 500 },
    });
    const none = await ask(routed('[{backendRefs: [{name: a, port: 80, weight: 0}]}]'), 'a/');
    expect(none.verdict).toMatchObject({ outcome: 'refused', word: 'invalid_backend' });
    expect(none.backends[0]?.share).toBe(0);
  });

  it('may upgrade only to what is allowed there', async () => {
    const upgrade = (token: string): Promise<Explanation> =>
      ask(routed('[{backendRefs: [{name: a, port: 80}]}]'), 'a/', [
        ['Connection', 'upgrade'],
        ['Upgrade', token],
      ]);
    expect((await upgrade('WebSocket')).verdict.outcome).toBe('forwarded');
    expect((await upgrade('other')).verdict.word).toBe('upgrade_refused');
  });
});

describe('what is left to chance', () => {
  const faults = (spec: string): string =>
    service('a') +
    slice('a', READY) +
    document('TrafficPolicy', 'p', `{targetRefs: [{kind: Service, name: a}], faultInjection: ${spec}}`);

  it('is told, not tried', async () => {
    const spec = '{delay: {fixedDelay: 2s, percentage: 10}, abort: {httpStatus: 503, percentage: 5}}';
    const answer = await ask(faults(spec), 'a/');
    expect(answer.verdict.outcome).toBe('forwarded');
    expect(answer.filters).toMatchObject([
      { kind: 'FaultInjection', chance: 'of the requests 10 % wait 2s, 5 % are answered with 503' },
    ]);
  });

  it('but what falls on every request is', async () => {
    const answer = await ask(faults('{abort: {httpStatus: 418}}'), 'a/');
    expect(answer).toMatchObject({ verdict: { outcome: 'answered', status: 418 }, filters: [{ chance: '' }] });
  });
});

describe('a request that goes nowhere', () => {
  const strict = document('Mesh', 'mesh', '{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}');
  it.each([
    ['no rule fits', routed('[{matches: [{path: {value: /x}}]}]'), 'a/y', 404, 'no_route'],
    ['the Service has no such port', service('a'), 'a:81/', 404, 'no_service_port'],
    ['nobody knows the host and strangers are not allowed', strict, 'nobody/', 502, 'unknown_destination'],
    ['the host is this sidecar', service('a'), 'localhost/', 502, 'loop_detected'],
    ['the path is read in two ways', service('a'), 'a/%zz', 400, 'bad_path'],
    ['there is no host', service('a'), '/x', 400, 'bad_host'],
  ])('says so: %s', async (_, policy, url, status, word) => {
    const { verdict, backends } = await ask(policy, url);
    expect(verdict).toMatchObject({ outcome: 'refused', status, word });
    expect(verdict.advice).not.toBe('');
    expect(backends).toEqual([]);
  });
});

describe('other requests', () => {
  it('to strangers pass as they are', async () => {
    const answer = await ask(service('a'), 'https://example.com:8443/x');
    expect(answer).toMatchObject({ service: null, verdict: { outcome: 'forwarded' } });
    expect(answer.backends[0]).toMatchObject({ mutualTls: false, endpoints: [{ address: 'example.com:8443' }] });
  });

  it('by CONNECT are judged by no rule', async () => {
    const answer = await ask(routed('[{matches: [{path: {value: /x}}]}]'), 'a:80', [], 'CONNECT');
    expect(answer).toMatchObject({
      verdict: { outcome: 'forwarded' },
      route: null,
      backends: [{ cluster: 'shop/a:80' }],
    });
  });

  it('come from the namespace that asks: its consumer routes count', async () => {
    const theirs = route(
      'c',
      '{parentRefs: [{group: "", kind: Service, name: a, namespace: shop}], rules: [{}]}',
      'other',
    );
    const producer = route('r', `{parentRefs: [${PARENT_A}], rules: [{}]}`);
    const policy = service('a', undefined, ', namespace: shop') + producer + theirs;
    const snapshot = snapshotOf(policy, { ...SELF, namespace: 'other' });
    const answer = await explainSnapshot(snapshot, { method: 'GET', url: 'a.shop/', headers: [] });
    expect(answer.route?.name).toBe('other/c/0');
  });
});

describe('retries', () => {
  const KEY: HeaderField = ['idempotency-key', '1'];
  const GRPC: HeaderField = ['content-type', 'application/grpc'];
  const policyOf = (retry: string): string =>
    routed('[{backendRefs: [{name: a, port: 80}]}]') +
    document('TrafficPolicy', 'p', `{targetRefs: [{kind: Service, name: a}], retry: ${retry}}`);

  it.each([
    ['GET', [], '{}', 'connect-failure, refused-stream, reset'],
    ['POST', [], '{}', 'connect-failure, refused-stream (a POST may have been acted on otherwise)'],
    ['PATCH', [KEY], '{}', 'connect-failure, refused-stream (a PATCH may have been acted on otherwise)'],
    ['PATCH', [KEY], '{retryOn: {idempotencyKey: true}}', 'connect-failure, refused-stream, reset'],
    [
      'PUT',
      [],
      '{retryOn: {triggers: [connect-failure, gateway-error, retriable-4xx]}}',
      'connect-failure, 409, 502, 503, 504',
    ],
    ['GET', [], '{retryOn: {triggers: [5xx]}}', 'connect-failure, refused-stream, reset, 5xx'],
    ['POST', [], '{retryOn: {triggers: [gateway-error]}}', 'nothing (a POST may have been acted on otherwise)'],
    ['POST', [GRPC], '{retryOn: {triggers: [unavailable]}}', 'unavailable (a POST may have been acted on otherwise)'],
    ['GET', [GRPC], '{retryOn: {triggers: [unavailable]}}', 'nothing'],
  ] as const)('of a %s %j with %s are told with what they follow', async (method, headers, retry, after) => {
    const lines = explanationLines(await ask(policyOf(retry), 'http://a/', headers, method));
    expect(lines.find((line) => line.includes('retries'))).toBe(
      `  timeout none, of an attempt none; retries 2, after ${after}`,
    );
  });

  it('of a rule are told by its codes; without any nothing is', async () => {
    const ask503 = await ask(
      routed('[{retry: {attempts: 1, codes: [503]}, backendRefs: [{name: a, port: 80}]}]'),
      'a/',
    );
    expect(ask503).toMatchObject({ retries: 1, repeatable: true });
    expect(ask503.retriedAfter).toEqual(['connect-failure', 'refused-stream', 'reset', '503']);
    expect(await ask(policyOf('{numRetries: 0}'), 'a/')).toMatchObject({ retries: 0, retriedAfter: [] });
  });
});

describe('the text', () => {
  it('says everything in a few lines', async () => {
    const rules = `[{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: "1"}]}}],
  timeouts: {request: 3s}, backendRefs: [{name: a, port: 80, weight: 2}, {name: gone, port: 80}]}]`;
    expect(explanationLines(await ask(routed(rules), 'http://a/x'))).toEqual([
      'GET http://a/x',
      '  → forwarded',
      '  Service shop/a port 80 (http) [policy.yaml:5]',
      '  rule shop/r/0, by PathPrefix / [policy.yaml:29]',
      '  filter RequestHeaderModifier [policy.yaml:29]',
      '    + x-a: 1',
      '  timeout 3s, of an attempt none; retries 2, after connect-failure, refused-stream, reset',
      '  66.67 % to shop/a:80 [policy.yaml:5]',
      '    mutual TLS, the server must be spiffe://cluster.local/ns/shop/sa/*',
      '    LeastRequest: 10.0.0.1:8080, 10.0.0.2:8080 (not ready)',
      '  33.33 % to a backend that does not exist',
      '    → refused: 500 invalid_backend (the rule names no backend, or one that does not exist, or all its weights are zero)',
    ]);
  });

  it('of a refusal says what to check', async () => {
    expect(explanationLines(await ask(service('a'), 'a/%00'))[0]).toMatch(/^ {2}→ refused: 400 bad_path: .+ \(.+\)$/);
  });
});
