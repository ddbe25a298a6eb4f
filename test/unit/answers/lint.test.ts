import { describe, expect, it } from 'vitest';
import { lint } from '../../../proxy/answers/lint.ts';
import { compile } from '../../../proxy/config/compile.ts';
import { decodeFiles } from '../../../proxy/config/decode.ts';
import { loadExpressions } from '../../../proxy/policy/expression.ts';
import { formatProblem } from '../../../shared/problem.ts';

await loadExpressions();

const SELF = { namespace: 'shop', labels: {}, serviceAccount: 'default' };

function warnings(text: string): string[] {
  const files = [{ path: 'policy.yaml', text }];
  const { snapshot, problems } = compile(files, SELF);
  expect(problems).toEqual([]);
  if (snapshot === null) throw new Error('refused without a problem');
  return lint(decodeFiles(files).documents, SELF, snapshot).map(formatProblem);
}

const service = (name: string, spec = '{ports: [{port: 80, name: http}]}'): string =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const route = (name: string, spec: string): string =>
  `---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const traffic = (spec: string, name = 'p'): string =>
  `---\napiVersion: weft.dev/v1\nkind: TrafficPolicy\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const peer = (name: string, spec: string, namespace = 'shop'): string =>
  `---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
const slice = (of: string, ports: string): string =>
  `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${of}-1, labels: {kubernetes.io/service-name: ${of}}}\naddressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\nports: ${ports}\n`;
const mirror = (name: string, port: number): string =>
  `{type: RequestMirror, requestMirror: {backendRef: {name: ${name}, port: ${port}}}}`;
const A = 'parentRefs: [{group: "", kind: Service, name: a}]';

describe('a warning is told of', () => {
  it.each([
    [
      'a match that one before it takes in another route',
      service('a') +
        route('r', `{${A}, rules: [{matches: [{path: {value: /x}}]}]}`) +
        route('s', `{${A}, rules: [{matches: [{path: {value: /x}, method: GET}, {path: {value: /x}}]}]}`),
      [
        'policy.yaml:15:112: warning: spec.rules[0].matches[1]: can never match: rule 0 of HTTPRoute shop/r at policy.yaml:10 takes all of it',
      ],
    ],
    [
      'a rule behind one that takes everything',
      service('a') + route('r', `{${A}, rules: [{}, {name: late}]}`),
      [
        'policy.yaml:10:71: warning: spec.rules[1].matches[0]: can never match: rule 0 of HTTPRoute shop/r at policy.yaml:10 takes all of it',
      ],
    ],
    [
      'a route that hangs on nothing',
      route('r', '{rules: [{}]}'),
      ['policy.yaml:5:1: warning: spec: hangs on no parent (parentRefs)'],
    ],
    [
      'a parent that does not exist',
      route('r', `{${A}}`),
      ['policy.yaml:5:21: warning: spec.parentRefs[0]: there is no Service shop/a'],
    ],
    [
      'a parent without such a port',
      service('a') + route('r', '{parentRefs: [{group: "", kind: Service, name: a, port: 81}]}'),
      ['policy.yaml:10:21: warning: spec.parentRefs[0]: Service shop/a has no port 81'],
    ],
    [
      'a headless parent',
      service('a', '{clusterIP: None, ports: [{port: 80}]}') + route('r', `{${A}}`),
      [
        'policy.yaml:10:21: warning: spec.parentRefs[0]: Service shop/a is headless or ExternalName and takes no routes',
      ],
    ],
    [
      'a parent that carries no HTTP',
      service('a', '{ports: [{port: 80, name: tcp}]}') + route('r', `{${A}}`),
      ['policy.yaml:10:21: warning: spec.parentRefs[0]: Service shop/a carries no HTTP there: the route has no effect'],
    ],
    [
      'an HTTPRoute beside a GRPCRoute',
      service('a') + route('g', `{${A}}`).replace('kind: HTTPRoute', 'kind: GRPCRoute') + route('r', `{${A}}`),
      [
        'policy.yaml:15:21: warning: spec.parentRefs[0]: Service shop/a has a GRPCRoute there, which leaves no place for HTTPRoutes',
      ],
    ],
    [
      'a backend that does not exist',
      service('a') +
        route(
          'r',
          `{${A}, rules: [{backendRefs: [{name: a, port: 80}, {name: gone, port: 80}, {name: a, port: 81}]}]}`,
        ),
      [
        'policy.yaml:10:103: warning: spec.rules[0].backendRefs[1]: there is no Service shop/gone: its share gets 500',
        'policy.yaml:10:127: warning: spec.rules[0].backendRefs[2]: Service shop/a has no port 81: its share gets 500',
      ],
    ],
    [
      'a mirror that does not exist, of a rule or of one backend',
      service('a') +
        route(
          'r',
          `{${A}, rules: [{filters: [${mirror('a', 80)}, ${mirror('gone', 80)}, ${mirror('a', 81)}], backendRefs: [{name: a, port: 80, filters: [${mirror('a, namespace: web', 80)}]}]}]}`,
        ),
      [
        'policy.yaml:10:189: warning: spec.rules[0].filters[1].requestMirror.backendRef: there is no Service shop/gone: nothing is mirrored',
        'policy.yaml:10:265: warning: spec.rules[0].filters[2].requestMirror.backendRef: Service shop/a has no port 81: nothing is mirrored',
        'policy.yaml:10:383: warning: spec.rules[0].backendRefs[0].filters[0].requestMirror.backendRef: there is no Service web/a: nothing is mirrored',
      ],
    ],
    [
      'a mirror of a GRPCRoute that does not exist',
      service('a') +
        route('g', `{${A}, rules: [{filters: [${mirror('gone', 80)}]}]}`).replace('kind: HTTPRoute', 'kind: GRPCRoute'),
      [
        'policy.yaml:10:116: warning: spec.rules[0].filters[0].requestMirror.backendRef: there is no Service shop/gone: nothing is mirrored',
      ],
    ],
    [
      'weights of zero throughout',
      service('a') + route('r', `{${A}, rules: [{backendRefs: [{name: a, port: 80, weight: 0}]}]}`),
      ['policy.yaml:10:68: warning: spec.rules[0].backendRefs: all weights are zero: every request gets 500'],
    ],
    [
      'a timeout of the whole below that of an attempt',
      service('a') +
        route('r', `{${A}, rules: [{timeouts: {backendRequest: 2s}}]}`) +
        traffic('{targetRefs: [{kind: Service, name: a}], timeout: {http: {requestTimeout: 1s}}}'),
      [
        'policy.yaml:10:95: warning: spec.rules[0].timeouts.backendRequest: is longer than the timeout of the whole request that a TrafficPolicy sets',
      ],
    ],
    [
      'an attempt that may take longer than the whole request, by one policy',
      service('a') +
        traffic(
          '{targetRefs: [{kind: Service, name: a}], timeout: {http: {requestTimeout: 1s}}, retry: {perRetry: {timeout: 2s}}}',
        ),
      ['policy.yaml:10:115: warning: spec.retry.perRetry.timeout: is longer than the whole request may take: 1s'],
    ],
    [
      'an attempt that may take longer than the whole request, by two',
      service('a') +
        traffic('{targetRefs: [{kind: Service, name: a}], timeout: {http: {requestTimeout: 1s}}}') +
        traffic('{targetRefs: [{kind: Service, name: a, sectionName: http}], retry: {perRetry: {timeout: 2s}}}', 't2'),
      ['policy.yaml:15:95: warning: spec.retry.perRetry.timeout: is longer than the whole request may take: 1s'],
    ],
    [
      'policies for targets that do not exist',
      service('a') +
        traffic(
          '{targetRefs: [{kind: Service, name: b}, {kind: Service, name: a, sectionName: x}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]}',
        ),
      [
        'policy.yaml:10:21: warning: spec.targetRefs[0]: there is no Service shop/b: the policy selects nothing there',
        'policy.yaml:10:47: warning: spec.targetRefs[1]: Service shop/a has no port x: the policy selects nothing there',
        'policy.yaml:10:89: warning: spec.targetRefs[2]: there is no HTTPRoute shop/r: the policy selects nothing there',
      ],
    ],
    [
      'a TCP check that asks sidecars alone',
      service('a') + traffic('{targetRefs: [{kind: Service, name: a}], healthCheck: {active: {type: TCP}}}'),
      [
        'policy.yaml:10:77: warning: spec.healthCheck.active.type: proves of a meshed endpoint only that its sidecar listens (HTTP or GRPC)',
      ],
    ],
    [
      'a rule name that its route does not have',
      service('a') +
        route('r', `{${A}}`) +
        traffic('{targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r, sectionName: x}]}'),
      [
        'policy.yaml:15:21: warning: spec.targetRefs[0]: HTTPRoute shop/r has no rule x: the policy selects nothing there',
      ],
    ],
    [
      'two Services that claim one address and port',
      service('a', '{clusterIP: 10.0.0.1, ports: [{port: 80}]}') +
        service('b', '{clusterIP: 10.0.0.1, ports: [{port: 80}]}'),
      ["policy.yaml:10:1: warning: spec: claims 10.0.0.1 port 80, which is Service shop/a's"],
    ],
    [
      'a slice of no Service',
      '---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n',
      ['policy.yaml:4:23: warning: metadata.labels: there is no Service shop/a'],
    ],
    [
      'a match of tunnels',
      service('a') + route('r', `{${A}, rules: [{matches: [{method: CONNECT}, {method: GET}]}]}`),
      [
        'policy.yaml:10:87: warning: spec.rules[0].matches[0].method: can never match: CONNECT opens a tunnel, whose bytes are routed as those of any connection (TLSRoute or TCPRoute)',
      ],
    ],
    [
      'a slice and a Service whose ports have other names',
      service('a') + slice('a', '[{name: web, port: 8080}, {port: 8081}, {name: http, port: 53, protocol: UDP}]'),
      [
        'policy.yaml:12:9: warning: ports[0]: Service shop/a has no TCP port web: nobody is called there (TCP port http)',
        'policy.yaml:12:34: warning: ports[1]: Service shop/a has no TCP port without a name: nobody is called there (TCP port http)',
        'policy.yaml:12:48: warning: ports[2]: Service shop/a has no UDP port http: nobody is called there (TCP port http)',
        'policy.yaml:5:16: warning: spec.ports[0]: none of its EndpointSlices has a TCP port http: whoever calls it gets 503 (TCP port web, TCP port without a name, UDP port http)',
      ],
    ],
    [
      'a port of a slice that has no number',
      service('a') + slice('a', '[{name: http}]'),
      ['policy.yaml:12:9: warning: ports[0]: has no number: nobody is called there (port)'],
    ],
    [
      'a port of a Service that is in none of its slices',
      service('a', '{ports: [{port: 80, name: http}, {port: 81, name: http-x}]}') +
        slice('a', '[{name: http, port: 8080}]'),
      [
        'policy.yaml:5:40: warning: spec.ports[1]: none of its EndpointSlices has a TCP port http-x: whoever calls it gets 503 (TCP port http)',
      ],
    ],
    [
      'a second policy of one scope',
      peer('a', '{mtls: {mode: STRICT}}') + peer('b', '{mtls: {mode: DISABLE}}'),
      ['policy.yaml:10:1: warning: spec: has no effect: PeerAuthentication shop/a has the same scope and comes first'],
    ],
    [
      'a selector in the root namespace',
      peer('a', '{selector: {matchLabels: {app: x}}}', 'istio-system'),
      [
        'policy.yaml:5:8: warning: spec.selector: selects nothing outside istio-system: with a selector the root namespace is like any other',
      ],
    ],
  ])('%s', (_, text, expected) => {
    expect(warnings(text)).toEqual(expected);
  });

  it.each([
    ['a Service without slices and without an address', service('a')],
    [
      'a narrower match before a wider one',
      service('a') + route('r', `{${A}, rules: [{}, {matches: [{path: {value: /x}}]}]}`),
    ],
    [
      'prefixes that only look alike',
      service('a') + route('r', `{${A}, rules: [{matches: [{path: {value: /xy}}, {path: {value: /x}}]}]}`),
    ],
    [
      'matches that differ in a header value',
      service('a') +
        route(
          'r',
          `{${A}, rules: [{matches: [{headers: [{name: h, value: "1"}]}, {headers: [{name: h, value: "2"}]}]}]}`,
        ),
    ],
    [
      'a consumer route beside a producer route',
      service('a') +
        route('r', `{${A}}`) +
        route('s', '{parentRefs: [{group: "", kind: Service, name: a, namespace: shop}]}').replace(
          '{name: s}',
          '{name: s, namespace: other}',
        ),
    ],
    [
      'a mirror that exists, in a namespace of its own too',
      service('a') +
        service('b').replace('{name: b}', '{name: b, namespace: web}') +
        route('r', `{${A}, rules: [{filters: [${mirror('a', 80)}, ${mirror('b, namespace: web', 80)}]}]}`),
    ],
    ['a slice with each of its Service', service('a') + slice('a', '[{name: http, port: 8080}]')],
    [
      'slices that share the ports of their Service',
      service('a', '{ports: [{port: 80, name: http}, {port: 81, name: http-x}]}') +
        slice('a', '[{name: http, port: 8080}]') +
        slice('a', '[{name: http-x, port: 8081}]').replace('name: a-1', 'name: a-2'),
    ],
    ['a Service with nobody behind it', service('a') + slice('a', '[]').replace(/endpoints: .*/, 'endpoints: []')],
    [
      'ports that are not TCP',
      service('a', '{ports: [{port: 53, name: dns, protocol: UDP}, {port: 80, name: http}]}') +
        slice('a', '[{name: http, port: 80}]'),
    ],
    ['a Gateway as parent', route('r', '{parentRefs: [{name: edge}]}')],
    [
      'a GRPCRoute that rules its port',
      service('a') + route('g', `{${A}}`).replace('kind: HTTPRoute', 'kind: GRPCRoute'),
    ],
  ])('but not of %s', (_, text) => {
    expect(warnings(text)).toEqual([]);
  });
});

describe('an expression that matches no path', () => {
  const MESH =
    '---\napiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: {pathNormalization: {normalization: NONE}}\n';
  const matching = (expression: string, mesh = ''): string[] => {
    const path = `{type: RegularExpression, value: '${expression}'}`;
    return warnings(service('a') + route('r', `{${A}, rules: [{matches: [{path: ${path}}]}]}`) + mesh);
  };

  it('is told of where it is certain', () => {
    const place = 'policy.yaml:10:118: warning: spec.rules[0].matches[0].path.value: can never match: ';
    const bare = 'the path is compared whole, and none begins with "a" (begin with "/" or ".*")';
    expect(matching('api/v[0-9]+')).toEqual([place + bare]);
    expect(matching('^api/(a|b)')).toEqual([place + bare]);
    expect(matching('/search\\?q=.*')).toEqual([`${place}paths are compared without their query (queryParams)`]);
    expect(matching('/a#b')).toEqual([`${place}no path holds "#"`]);
    expect(matching('/(x|y)/a%2Db+')).toEqual([`${place}no path holds "%2D" after normalisation (-)`]);
  });

  it.each([
    '/api/.*',
    '.*api',
    '(?i)api|/x',
    '(/api)?/x',
    'a?/b',
    'api|/x',
    '[^/]*/x',
    '/a(\\?b)?',
    '/a\\?*b',
    '/a%2Fb%C3%A9',
    '/a%2D?.*',
    '/[?#]*',
    '\\*',
    '\\x2fa',
    '\\Q/a\\E',
  ])('but not %s', (expression) => {
    expect(matching(expression)).toEqual([]);
  });

  it('nor an escape that the Mesh leaves as it is', () => {
    expect(matching('/a%2Db', MESH)).toEqual([]);
  });
});
