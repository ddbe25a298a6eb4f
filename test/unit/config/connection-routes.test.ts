import { describe, expect, test } from 'vitest';
import { ConnectionRoutes } from '../../../proxy/config/connection-routes.ts';
import type { ConnectionRuleSpec } from '../../../proxy/config/snapshot.ts';
import { cluster, document, PARENT_A, port, route, service, snapshotOf } from '../../support/policy-documents.ts';

const SOURCE = { file: 'policy.yaml', line: 1, name: 'TLSRoute shop/r' };

function rule(name: string, ...hostnames: string[]): ConnectionRuleSpec {
  return { name, source: SOURCE, hostnames, backends: [] };
}

describe('a server name finds', () => {
  const routes = new ConnectionRoutes(
    {
      kind: 'TLSRoute',
      rules: [
        rule('exact', 'a.example.com'),
        rule('late', 'a.example.com', 'late.example.com'),
        rule('wide', '*.example.com'),
        rule('deep', '*.deep.example.com'),
        rule('com', '*.com'),
      ],
    },
    new Map(),
  );

  test.each([
    ['a.example.com', 'exact'],
    ['late.example.com', 'late'],
    ['b.example.com', 'wide'],
    ['x.b.example.com', 'wide'],
    ['x.deep.example.com', 'deep'],
    ['y.x.deep.example.com', 'deep'],
    ['deep.example.com', 'wide'],
    ['example.com', 'com'],
    ['com', undefined],
    ['.example.com', 'com'],
    ['a.example.org', undefined],
    ['', undefined],
    [null, undefined],
  ])('%s: %s', (serverName, name) => {
    expect(routes.find(serverName)?.name).toBe(name);
  });

  test('the rule of every name where there is one, but never for what is no TLS', () => {
    const open = new ConnectionRoutes({ kind: 'TLSRoute', rules: [rule('any'), rule('b', 'b.example')] }, new Map());
    expect(['b.example', 'c.example', '', null].map((name) => open.find(name)?.name)).toEqual([
      'b',
      'any',
      'any',
      undefined,
    ]);
  });

  test('nothing in a TCPRoute, which takes everything', () => {
    const all = new ConnectionRoutes({ kind: 'TCPRoute', rules: [rule('tcp')] }, new Map());
    expect([all.readsServerName, all.find(null)?.name, all.find('a.example')?.name]).toEqual([false, 'tcp', 'tcp']);
  });
});

const TCP = (name: string, namespace = 'shop'): string =>
  document(
    'TCPRoute',
    name,
    `{parentRefs: [{group: "", kind: Service, name: a, namespace: shop}], rules: [{backendRefs: [{name: b, namespace: shop, port: 80, weight: 3}, {name: gone, port: 1}]}]}`,
    `, namespace: ${namespace}`,
  );
const TLS = (name: string, hostnames = '[x.example]'): string =>
  document(
    'TLSRoute',
    name,
    `{parentRefs: [${PARENT_A}], hostnames: ${hostnames}, rules: [{name: one, backendRefs: [{name: b, port: 80}]}]}`,
  );
const HTTP = route('http', `{parentRefs: [${PARENT_A}], rules: [{}]}`);
const GRPC = document('GRPCRoute', 'grpc', `{parentRefs: [${PARENT_A}]}`);
const PORT = (name: string): string => service('a', `{ports: [{port: 80, name: ${name}}]}`) + service('b');

describe('a Service port', () => {
  const kindsAt = (text: string): string => {
    const { rules, connections } = port(snapshotOf(text), 'a');
    return rules[0]?.source.name.split(' ', 1)[0] ?? connections?.kind ?? 'none';
  };

  test.each([
    ['an undeclared one', 'main', GRPC + HTTP + TLS('t') + TCP('c'), 'GRPCRoute'],
    ['an undeclared one', 'main', HTTP + TLS('t') + TCP('c'), 'HTTPRoute'],
    ['an undeclared one', 'main', TLS('t') + TCP('c'), 'TLSRoute'],
    ['an undeclared one', 'main', TCP('c'), 'TCPRoute'],
    ['one of bytes', 'tcp', HTTP + TCP('c'), 'TCPRoute'],
    ['one of TLS', 'tls', GRPC + TLS('t') + TCP('c'), 'TLSRoute'],
    ['one of HTTP', 'http', TLS('t') + TCP('c'), 'none'],
  ])('has one type of route, %s (%s) of those that can act on it', (_title, name, routes, kind) => {
    expect(kindsAt(PORT(name) + routes)).toBe(kind);
  });

  test('has the first of several TCPRoutes by name, and the consumer’s own instead', () => {
    const { connections } = port(snapshotOf(PORT('tcp') + TCP('second') + TCP('first')), 'a');
    expect(connections?.rules.map(({ name }) => name)).toEqual(['shop/first/0']);
    expect(connections?.rules[0]?.backends).toEqual([
      { cluster: 'shop/b:80', weight: 3 },
      { cluster: null, weight: 1 },
    ]);
    const own = { namespace: 'web', labels: {}, serviceAccount: 'default' };
    const text = PORT('tcp') + TCP('first') + TCP('mine', 'web');
    const placed = text
      .replaceAll('metadata: {name: a}', 'metadata: {name: a, namespace: shop}')
      .replaceAll('metadata: {name: b}', 'metadata: {name: b, namespace: shop}');
    expect(port(snapshotOf(placed, own), 'a').connections?.rules[0]?.name).toBe('web/mine/0');
  });

  test('has all TLSRoutes; what none takes is refused', () => {
    const { connections, routed } = port(
      snapshotOf(PORT('tls') + TLS('t', '[x.example]') + TLS('u', '["*.example"]')),
      'a',
    );
    expect(connections?.rules.map(({ name, hostnames }) => [name, hostnames])).toEqual([
      ['shop/t/one', ['x.example']],
      ['shop/u/one', ['*.example']],
    ]);
    expect(routed).toBe(true);
  });
});

describe('a BackendTLSPolicy', () => {
  const policy = (name: string, target: string, rest = ''): string =>
    document(
      'BackendTLSPolicy',
      name,
      `{targetRefs: [${target}], validation: {hostname: db.example, wellKnownCACertificates: System${rest}}}`,
    );
  const A = '{kind: Service, name: a}';

  test('takes the place of mutual TLS on every port of its Service, one for a port of one for all', () => {
    const ports = service('a', '{ports: [{port: 80, name: http}, {port: 443, name: tls}]}');
    const snapshot = snapshotOf(
      ports +
        policy('all', A) +
        policy('one', '{kind: Service, name: a, sectionName: tls}', ', subjectAltNames: [{type: URI, uri: "x://y"}]'),
    );
    const [http, tls] = [cluster(snapshot, 'shop/a:80'), cluster(snapshot, 'shop/a:443')];
    expect([http.meshTls, http.endpoints[0]?.meshTls]).toEqual([false, false]);
    expect(http.backendTls).toEqual({
      source: { file: 'policy.yaml', line: 7, name: 'BackendTLSPolicy shop/all' },
      serverName: 'db.example',
      certificates: '',
      names: [{ type: 'Hostname', value: 'db.example' }],
      clientCertificate: null,
    });
    expect(tls.backendTls?.names).toEqual([{ type: 'URI', value: 'x://y' }]);
  });

  test('shows the client certificate of a TrafficPolicy, which alone changes nothing', () => {
    const files = document(
      'TrafficPolicy',
      'files',
      `{targetRefs: [${A}], tls: {clientCertificate: /c/tls.crt, privateKey: /c/tls.key}}`,
    );
    const both = cluster(snapshotOf(service('a') + policy('all', A) + files), 'shop/a:80');
    expect(both.backendTls?.clientCertificate).toEqual({ certificate: '/c/tls.crt', privateKey: '/c/tls.key' });
    const alone = cluster(snapshotOf(service('a') + files), 'shop/a:80');
    expect([alone.meshTls, alone.backendTls]).toEqual([true, null]);
  });

  test('holds in the namespace of its own only', () => {
    const other = policy('all', A).replace('{name: all}', '{name: all, namespace: other}');
    expect(cluster(snapshotOf(service('a') + other), 'shop/a:80').meshTls).toBe(true);
  });
});
