import { describe, expect, it } from 'vitest';
import type { RuleSpec, Snapshot } from '../../../proxy/config/snapshot.ts';
import { loadExpressions } from '../../../proxy/policy/expression.ts';
import { cluster, document, PARENT_A, port, route, SELF, service, snapshotOf } from '../../support/policy-documents.ts';

await loadExpressions();

function rules(snapshot: Snapshot, name = 'a'): string[] {
  return port(snapshot, name).rules.map((each) => each.name);
}

/** Paths in order of precedence. */
function order(snapshot: Snapshot): string[] {
  return port(snapshot, 'a').entries.map(({ match, rule }) => {
    const conditions = [
      match.method,
      ...match.headers.map(({ name }) => name),
      ...match.query.map(({ name }) => `?${name}`),
    ];
    return `${match.path.type} ${match.path.value} ${conditions.filter(Boolean).join(' ')} → ${port(snapshot, 'a').rules[rule]?.name}`;
  });
}

describe('precedence of matches', () => {
  it('is Exact, longest prefix, method, headers, query, then the name of the route, then the order of rules', () => {
    const rule = (...matches: string[]): string => `{matches: [${matches.join(', ')}]}`;
    const late = route(
      'b',
      `{parentRefs: [${PARENT_A}], rules: [${rule('{path: {value: /x}}', '{path: {type: Exact, value: /x}}')}]}`,
    );
    const early = route(
      'a',
      `{parentRefs: [${PARENT_A}], rules: [${[
        rule('{path: {value: /x}}'),
        rule('{path: {value: /x}, queryParams: [{name: q, value: "1"}]}'),
        rule('{path: {value: /x}, headers: [{name: h, value: "1"}]}'),
        rule('{path: {value: /x}, headers: [{name: h, value: "1"}, {name: i, value: "1"}]}'),
        rule('{path: {value: /x}, method: GET}'),
        rule('{path: {value: /x/y}}'),
        '{}',
      ].join(', ')}]}`,
    );
    expect(order(snapshotOf(service('a') + late + early))).toEqual([
      'Exact /x  → shop/b/0',
      'PathPrefix /x/y  → shop/a/5',
      'PathPrefix /x GET → shop/a/4',
      'PathPrefix /x h i → shop/a/3',
      'PathPrefix /x h → shop/a/2',
      'PathPrefix /x ?q → shop/a/1',
      'PathPrefix /x  → shop/a/0',
      'PathPrefix /x  → shop/b/0',
      'PathPrefix /  → shop/a/6',
    ]);
  });

  it('ignores a trailing slash of a prefix', () => {
    const matches = '{path: {value: /foo/}}, {path: {value: /foo}, method: GET}, {path: {value: /fo}}';
    const routed = route('r', `{parentRefs: [${PARENT_A}], rules: [{matches: [${matches}]}]}`);
    expect(order(snapshotOf(service('a') + routed))).toEqual([
      'PathPrefix /foo GET → shop/r/0',
      'PathPrefix /foo/  → shop/r/0',
      'PathPrefix /fo  → shop/r/0',
    ]);
  });

  it('puts regular expressions after all prefixes, whatever their length', () => {
    const matches =
      '{path: {type: RegularExpression, value: "/long/.*"}}, {path: {value: /}}, {path: {type: RegularExpression, value: "/.*"}, method: GET}';
    const snapshot = snapshotOf(
      service('a') + route('r', `{parentRefs: [${PARENT_A}], rules: [{matches: [${matches}]}]}`),
    );
    expect(order(snapshot)).toEqual([
      'PathPrefix /  → shop/r/0',
      'RegularExpression /.* GET → shop/r/0',
      'RegularExpression /long/.*  → shop/r/0',
    ]);
  });

  it('counts equivalent header names once, the first of them', () => {
    const match = '{headers: [{name: X-A, value: "1"}, {name: x-a, value: "2"}]}';
    const snapshot = snapshotOf(
      service('a') + route('r', `{parentRefs: [${PARENT_A}], rules: [{matches: [${match}]}]}`),
    );
    expect(port(snapshot, 'a').entries[0]?.match.headers).toEqual([{ name: 'x-a', type: 'Exact', value: '1' }]);
  });
});

describe('paths of matches are normalised as those of requests are', () => {
  const paths = (matches: string, mesh = ''): string[] => {
    const routed = route('r', `{parentRefs: [${PARENT_A}], rules: [{matches: [${matches}]}]}`);
    return port(snapshotOf(service('a') + routed + mesh), 'a').entries.map(({ match }) => match.path.value);
  };
  const ESCAPED = '{path: {type: Exact, value: /%7Euser}}, {path: {value: /a%2Db}}';

  it('what is escaped without need is unescaped; other escapes and expressions stay', () => {
    expect(paths(ESCAPED)).toEqual(['/~user', '/a-b']);
    expect(paths('{path: {value: /%5C%c3%A9}}')).toEqual(['/%5C%c3%A9']);
    expect(paths('{path: {type: RegularExpression, value: "/a%2Db"}}')).toEqual(['/a%2Db']);
  });

  it('in the way that the Mesh says', () => {
    const mesh = (mode: string): string => document('Mesh', 'm', `{pathNormalization: {normalization: ${mode}}}`);
    expect(paths(ESCAPED, mesh('NONE'))).toEqual(['/%7Euser', '/a%2Db']);
    expect(paths('{path: {value: /a%5C%5cb}}', mesh('DECODE_AND_MERGE_SLASHES'))).toEqual(['/a/b']);
  });

  it('before they are ranked, and before a prefix is replaced', () => {
    expect(paths('{path: {value: /%61%62}}, {path: {value: /long}}')).toEqual(['/long', '/ab']);
    const rewrite = '{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /c}}}';
    const rule = `{matches: [{path: {value: /a%2Db}}], filters: [${rewrite}]}`;
    const snapshot = snapshotOf(service('a') + route('r', `{parentRefs: [${PARENT_A}], rules: [${rule}]}`));
    expect(port(snapshot, 'a').rules[0]?.filters[0]?.config).toMatchObject({ path: { prefix: '/a-b', value: '/c' } });
  });
});

describe('routes hang on Services', () => {
  const other = service('a', undefined, ', namespace: other');
  const parent = '{group: "", kind: Service, name: a, namespace: other}';

  it('a port without a route is not routed and goes to its own endpoints', () => {
    expect(port(snapshotOf(service('a')), 'a')).toMatchObject({ routed: false, rules: [], cluster: 'shop/a:80' });
  });

  it('a route with no rules written sends everything to nobody', () => {
    const snapshot = snapshotOf(service('a') + route('r', `{parentRefs: [${PARENT_A}]}`));
    expect(port(snapshot, 'a')).toMatchObject({ routed: true, rules: [{ name: 'shop/r/0', backends: [] }] });
  });

  it('by port number and by port name, else on every port', () => {
    const two = service('a', '{ports: [{port: 80, name: http}, {port: 81, name: http-x}]}');
    const text = (ref: string): string => two + route('r', `{parentRefs: [{group: "", kind: Service, name: a${ref}}]}`);
    const routed = (ref: string): boolean[] | undefined =>
      snapshotOf(text(ref)).services[0]?.ports.map((each) => each.routed);
    expect(routed('')).toEqual([true, true]);
    expect(routed(', port: 81')).toEqual([false, true]);
    expect(routed(', sectionName: http')).toEqual([true, false]);
    expect(routed(', port: 81, sectionName: http')).toEqual([false, false]);
  });

  it('a producer route speaks to every caller', () => {
    expect(rules(snapshotOf(other + route('r', `{parentRefs: [${PARENT_A}]}`, 'other')))).toEqual(['other/r/0']);
  });

  it('a consumer route replaces the producer routes in its own namespace', () => {
    const text =
      other + route('r', `{parentRefs: [${PARENT_A}]}`, 'other') + route('mine', `{parentRefs: [${parent}]}`);
    expect(rules(snapshotOf(text))).toEqual(['shop/mine/0']);
    expect(rules(snapshotOf(text, { ...SELF, namespace: 'third' }))).toEqual(['other/r/0']);
    expect(rules(snapshotOf(text, { ...SELF, namespace: 'other' }))).toEqual(['other/r/0']);
  });

  it('not on headless and ExternalName Services, nor on ports that carry no HTTP', () => {
    const text = (spec: string): string => service('a', spec) + route('r', `{parentRefs: [${PARENT_A}]}`);
    for (const spec of [
      '{clusterIP: None, ports: [{port: 80}]}',
      '{type: ExternalName, externalName: x.example, ports: [{port: 80}]}',
      '{ports: [{port: 80, name: tcp}]}',
    ]) {
      expect(port(snapshotOf(text(spec)), 'a').routed).toBe(false);
    }
  });

  it('a Gateway as parent is passed over', () => {
    expect(port(snapshotOf(service('a') + route('r', '{parentRefs: [{name: edge}]}')), 'a').routed).toBe(false);
  });

  it('backends of other namespaces need no grant, missing ones and missing ports are invalid', () => {
    const backends = '[{name: a, namespace: other, port: 80}, {name: a, port: 81}, {name: gone, port: 80, weight: 3}]';
    const text = service('a') + other + route('r', `{parentRefs: [${PARENT_A}], rules: [{backendRefs: ${backends}}]}`);
    const mine = snapshotOf(text).services.find(({ namespace }) => namespace === 'shop')?.ports[0]?.rules[0];
    expect(mine?.backends.map((each) => [each.cluster, each.weight])).toEqual([
      ['other/a:80', 1],
      [null, 1],
      [null, 3],
    ]);
  });
});

describe('timeouts and retries', () => {
  const policy = (name: string, ref: string, spec: string): string =>
    `---\napiVersion: weft.dev/v1\nkind: TrafficPolicy\nmetadata: {name: ${name}}\nspec: {targetRefs: [${ref}], ${spec}}\n`;
  const service80 = policy(
    's',
    '{kind: Service, name: a}',
    'timeout: {http: {requestTimeout: 1s}}, retry: {numRetries: 1}',
  );
  const ofPort = policy('p', '{kind: Service, name: a, sectionName: http}', 'timeout: {http: {requestTimeout: 2s}}');
  const ofRoute = policy(
    'r',
    '{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}',
    'timeout: {http: {requestTimeout: 3s}}',
  );
  const ofRule = policy(
    'q',
    '{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r, sectionName: x}',
    'retry: {numRetries: 4}',
  );
  const rule = (text: string, body = '{name: x}'): RuleSpec => {
    const found = port(
      snapshotOf(service('a') + route('r', `{parentRefs: [${PARENT_A}], rules: [${body}]}`) + text),
      'a',
    ).rules[0];
    if (found === undefined) throw new Error('no rule');
    return found;
  };

  it('of nobody are the defaults', () => {
    expect(rule('')).toMatchObject({ requestTimeoutMs: 0, attemptTimeoutMs: 0, retries: 2, upgrades: ['websocket'] });
  });

  it('go from the rule over its TrafficPolicy, its route, the port and the Service, field by field', () => {
    expect(rule(service80)).toMatchObject({ requestTimeoutMs: 1000, retries: 1 });
    expect(rule(service80 + ofPort)).toMatchObject({ requestTimeoutMs: 2000, retries: 1 });
    expect(rule(service80 + ofPort + ofRoute)).toMatchObject({ requestTimeoutMs: 3000, retries: 1 });
    expect(rule(service80 + ofPort + ofRoute + ofRule)).toMatchObject({ requestTimeoutMs: 3000, retries: 4 });
    const own = '{name: x, timeouts: {request: 0s, backendRequest: 500ms}, retry: {attempts: 0}}';
    expect(rule(service80 + ofRule, own)).toMatchObject({ requestTimeoutMs: 0, attemptTimeoutMs: 500, retries: 0 });
  });

  it('of a Service without a route stand in its cluster', () => {
    expect(cluster(snapshotOf(service('a') + service80), 'shop/a:80')).toMatchObject({
      requestTimeoutMs: 1000,
      retries: 1,
    });
  });

  it('and limits of another namespace reach nobody else', () => {
    const foreign = service80.replace('{name: s}', '{name: s, namespace: other}');
    expect(cluster(snapshotOf(service('a') + foreign), 'shop/a:80').retries).toBe(2);
  });
});

describe('filters', () => {
  it('come with everything their policies prepare from', () => {
    const filters = `[{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}},
      {type: CORS, cors: {allowOrigins: ["*"]}},
      {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: A, value: b}], remove: [c]}}]`;
    const rule = `{matches: [{path: {value: /a}}], filters: ${filters}}`;
    const redirect =
      '{matches: [{path: {value: /c}}], filters: [{type: RequestRedirect, requestRedirect: {port: 8443}}]}';
    const snapshot = snapshotOf(
      service('a') + route('r', `{parentRefs: [${PARENT_A}], rules: [${rule}, ${redirect}]}`),
    );
    const configs = port(snapshot, 'a').rules.flatMap((each) => each.filters.map(({ kind, config }) => [kind, config]));
    expect(configs).toEqual([
      ['URLRewrite', { hostname: null, path: { type: 'ReplacePrefixMatch', prefix: '/a', value: '/b' } }],
      [
        'CORS',
        {
          allowOrigins: ['*'],
          allowCredentials: false,
          allowMethods: [],
          allowHeaders: [],
          exposeHeaders: [],
          maxAgeSeconds: 5,
        },
      ],
      ['ResponseHeaderModifier', { set: [['A', 'b']], add: [], remove: ['c'] }],
      ['RequestRedirect', { scheme: null, hostname: null, path: null, port: 8443, servicePort: 80, statusCode: 302 }],
    ]);
  });
});

describe('a RequestMirror', () => {
  const mirrors = (filter: string): unknown => {
    const mirror = `{type: RequestMirror, requestMirror: ${filter}}`;
    const rules = `{parentRefs: [${PARENT_A}], rules: [{filters: [${mirror}], backendRefs: [{name: a, port: 80}]}]}`;
    return port(snapshotOf(service('a') + service('shadow') + route('r', rules)), 'a').rules[0]?.mirrors;
  };

  it.each([
    ['everything', '{backendRef: {name: shadow, port: 80}}', 1],
    ['a percentage', '{backendRef: {name: shadow, port: 80}, percent: 10}', 0.1],
    ['a fraction', '{backendRef: {name: shadow, port: 80}, fraction: {numerator: 3, denominator: 8}}', 0.375],
    ['a fraction of a hundred', '{backendRef: {name: shadow, port: 80}, fraction: {numerator: 3}}', 0.03],
  ])('copies %s', (_case, filter, share) => {
    expect(mirrors(filter)).toEqual([{ cluster: 'shop/shadow:80', share }]);
  });

  it('of a backend copies what goes to that backend', () => {
    const mirror = '{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}, percent: 50}}';
    const refs = `[{name: a, port: 80, filters: [${mirror}]}, {name: b, port: 80}]`;
    const rules = `{parentRefs: [${PARENT_A}], rules: [{backendRefs: ${refs}}]}`;
    const snapshot = snapshotOf(service('a') + service('b') + service('shadow') + route('r', rules));
    const [rule] = port(snapshot, 'a').rules;
    expect(rule?.mirrors).toEqual([]);
    expect(rule?.backends.map(({ mirrors }) => mirrors)).toEqual([[{ cluster: 'shop/shadow:80', share: 0.5 }], []]);
  });

  it('copies nothing by a share of zero, or to a Service that is not there', () => {
    expect(mirrors('{backendRef: {name: shadow, port: 80}, percent: 0}')).toEqual([]);
    expect(mirrors('{backendRef: {name: nobody, port: 80}}')).toEqual([]);
  });
});

describe('a GRPCRoute', () => {
  const grpc = (spec: string): string =>
    `---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: g}\nspec: ${spec}\n`;

  it('ranks a method of any service after services, before what takes everything', () => {
    const methods = '{matches: [{method: {method: Z}}, {method: {service: x.Y}}]}';
    expect(order(snapshotOf(service('a') + grpc(`{parentRefs: [${PARENT_A}], rules: [{}, ${methods}]}`)))).toEqual([
      'PathPrefix /x.Y  → shop/g/1',
      'AnyService Z  → shop/g/1',
      'PathPrefix /  → shop/g/0',
    ]);
  });

  it('matches services and methods by path', () => {
    const methods = '{matches: [{method: {service: x.Y}}, {method: {service: x.Y, method: Z}}]}';
    expect(order(snapshotOf(service('a') + grpc(`{parentRefs: [${PARENT_A}], rules: [${methods}, {}]}`)))).toEqual([
      'Exact /x.Y/Z  → shop/g/0',
      'PathPrefix /x.Y  → shop/g/0',
      'PathPrefix /  → shop/g/1',
    ]);
  });

  it('matches names by expression as whole elements of the path', () => {
    const methods =
      '{method: {type: RegularExpression, service: "a|b"}}, {method: {type: RegularExpression, method: Get.*}}';
    expect(
      order(snapshotOf(service('a') + grpc(`{parentRefs: [${PARENT_A}], rules: [{matches: [${methods}]}]}`))),
    ).toEqual(['RegularExpression /(?:a|b)/[^/]+  → shop/g/0', 'RegularExpression /[^/]+/(?:Get.*)  → shop/g/0']);
  });

  it('leaves no place for HTTPRoutes on its port', () => {
    const text = service('a') + route('r', `{parentRefs: [${PARENT_A}]}`) + grpc(`{parentRefs: [${PARENT_A}]}`);
    expect(rules(snapshotOf(text))).toEqual(['shop/g/0']);
  });

  it('takes timeouts and retries from a TrafficPolicy for it', () => {
    const policy =
      '---\napiVersion: weft.dev/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: GRPCRoute, name: g}], retry: {numRetries: 0}}\n';
    const snapshot = snapshotOf(service('a') + grpc(`{parentRefs: [${PARENT_A}]}`) + policy);
    expect(port(snapshot, 'a').rules[0]?.retries).toBe(0);
  });
});
