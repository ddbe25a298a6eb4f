/** TLSRoute, TCPRoute, BackendTLSPolicy and AuthorizationPolicy in what weft says of policy: explain, diff, validate. */
import { describe, expect, it } from 'vitest';
import { diffSnapshots } from '../../../proxy/answers/diff.ts';
import { changeLines } from '../../../proxy/answers/diff-cli.ts';
import { explainSnapshot } from '../../../proxy/answers/explain.ts';
import { explanationLines } from '../../../proxy/answers/explain-text.ts';
import { lint } from '../../../proxy/answers/lint.ts';
import type { Question } from '../../../proxy/answers/question.ts';
import { decodeFiles } from '../../../proxy/config/decode.ts';
import { formatProblem } from '../../../shared/problem.ts';
import { document, PARENT_A, route, SELF, service, slice, snapshotOf } from '../../support/policy-documents.ts';

const READY = 'addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.0.0.1]}]\n';
const SERVICES =
  service('a', '{selector: {app: a}, ports: [{port: 80, name: http}]}') +
  service('b') +
  slice('a', READY) +
  slice('b', READY);
const BYTES = service('a', '{ports: [{port: 80, name: tls}]}') + service('b') + slice('b', READY);
const TO_B = 'rules: [{backendRefs: [{name: b, port: 80, weight: 3}, {name: gone, port: 1}]}]';
const tcp = (name: string): string => document('TCPRoute', name, `{parentRefs: [${PARENT_A}], ${TO_B}}`);
const tls = (name: string, hostnames: string): string =>
  document(
    'TLSRoute',
    name,
    `{parentRefs: [${PARENT_A}], hostnames: ${hostnames}, rules: [{backendRefs: [{name: b, port: 80}]}]}`,
  );
const authorization = (name: string, spec: string, namespace = 'shop'): string =>
  document('AuthorizationPolicy', name, spec, `, namespace: ${namespace}`);
const backendTls = (validation: string): string =>
  document('BackendTLSPolicy', 'own', `{targetRefs: [{kind: Service, name: a}], validation: ${validation}}`);
const SYSTEM = '{hostname: a.example, wellKnownCACertificates: System}';

async function told(policy: string, question: Partial<Question>): Promise<string[]> {
  const asked = { method: 'GET', url: 'http://a/', headers: [], ...question };
  return explanationLines(await explainSnapshot(snapshotOf(policy), asked));
}

function warnings(text: string): string[] {
  return lint(decodeFiles([{ path: 'policy.yaml', text }]).documents, SELF, snapshotOf(text)).map(formatProblem);
}

async function changes(before: string, after: string): Promise<string[]> {
  return changeLines(await diffSnapshots(snapshotOf(before), snapshotOf(after)));
}

describe('explain', () => {
  it('tells every rule of the AuthorizationPolicies at the far end', async () => {
    const policy =
      SERVICES +
      authorization('web', '{selector: {matchLabels: {app: a}}, rules: [{from: [{source: {namespaces: [web]}}]}]}') +
      authorization(
        'no',
        '{action: DENY, rules: [{to: [{operation: {ports: ["8080"]}}], from: [{source: {principals: ["*/sa/x"]}}]}]}',
      ) +
      authorization('elsewhere', '{}', 'other');
    const from = (account: string): Partial<Question> => ({ from: `spiffe://cluster.local/ns/web/sa/${account}` });
    expect((await told(policy, from('y'))).slice(-4)).toEqual([
      '    mutual TLS, the server must be spiffe://cluster.local/ns/shop/sa/*',
      '    AuthorizationPolicy shop/no rule 0 does not fit (it denies) [policy.yaml:34]',
      '    AuthorizationPolicy shop/web rule 0 allows [policy.yaml:29]',
      '    LeastRequest: 10.0.0.1:8080',
    ]);
    const denied = await explainSnapshot(snapshotOf(policy), {
      method: 'GET',
      url: 'http://a/',
      headers: [],
      ...from('x'),
    });
    expect(denied.verdict).toMatchObject({ outcome: 'refused', status: 403, word: 'access_denied' });
    expect(denied.verdict.detail).toBe('AuthorizationPolicy shop/no rule 0 denies');
    expect(denied.backends[0]?.authorization.map(({ policy: key, fits }) => [key, fits])).toEqual([
      ['shop/no', true],
      ['shop/web', true],
    ]);
    const stranger = { from: 'spiffe://cluster.local/ns/shop/sa/y' };
    expect((await told(policy, stranger))[1]).toContain(
      '403 access_denied: no rule of AuthorizationPolicy shop/web allows',
    );
  });

  it('says of a policy without rules that it allows nobody, and asks none where no caller is named', async () => {
    const policy = SERVICES + authorization('nobody', '{}');
    expect((await told(policy, { from: 'spiffe://cluster.local/ns/shop/sa/y' })).join('\n')).toContain(
      '    AuthorizationPolicy shop/nobody has no rule, so it allows nobody [policy.yaml:26]',
    );
    expect((await told(policy, {}))[1]).toBe('  → forwarded');
  });

  it('tells TLS of the endpoints’ own instead of the mesh’s', async () => {
    const lines = await told(
      SERVICES +
        backendTls(
          '{hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [{type: URI, uri: "x://y"}]}',
        ),
      {},
    );
    expect(lines.join('\n')).toContain(
      '    TLS to a.example, its certificate must name x://y (BackendTLSPolicy shop/own) [policy.yaml:26]',
    );
  });

  it('tells where a TCPRoute sends connections, and HTTP with them', async () => {
    const policy = BYTES.replace('name: tls', 'name: main') + tcp('split');
    for (const question of [{ method: 'CONNECT', url: 'a:80' }, {}]) {
      const lines = await told(policy, question);
      expect(lines.join('\n')).toContain('  rule shop/split/0, by TCPRoute [policy.yaml:22]');
      expect(lines.join('\n')).toContain('  75 % to shop/b:80 [policy.yaml:10]');
      expect(lines.join('\n')).toContain('  25 % to a backend that does not exist');
    }
  });

  it('tells which server name a TLSRoute takes', async () => {
    const policy = BYTES + tls('t', '["*.example"]');
    const named = await told(policy, { method: 'CONNECT', url: 'a:80', serverName: 'X.example' });
    expect(named.join('\n')).toContain('  rule shop/t/0, by server name *.example [policy.yaml:22]');
    expect(named[1]).toBe('  → forwarded');
    const [, other] = await told(policy, { method: 'CONNECT', url: 'a:80', serverName: 'x.other' });
    expect(other).toContain('404 no_route: no TLSRoute takes the server name "x.other"');
    const [, none] = await told(policy, { method: 'CONNECT', url: 'a:80' });
    expect(none).toContain('404 no_route: TLSRoutes take TLS alone (ask with --server-name NAME)');
  });
});

describe('diff', () => {
  it('tells who is let in from now on', async () => {
    const before =
      SERVICES +
      authorization('p', '{rules: [{from: [{source: {namespaces: [a, b]}}], to: [{operation: {ports: ["80"]}}]}]}');
    const after =
      SERVICES +
      authorization('p', '{action: DENY, rules: [{from: [{source: {notIpBlocks: [10.0.0.0/8]}}]}, {}]}') +
      authorization('q', '{}');
    expect(await changes(before, after)).toEqual([
      'authorization',
      '  shop/p: ALLOW source.namespace a|b and destination.port 80 → DENY source.ip not 10.0.0.0/8; or everybody',
      '  shop/q added: ALLOW nobody',
      'shop/a:80',
      '  AuthorizationPolicies: shop/p → shop/p, shop/q',
      'shop/b:80',
      '  AuthorizationPolicies: shop/p → shop/p, shop/q',
    ]);
  });

  it('tells TLS of the endpoints’ own', async () => {
    const lines = await changes(SERVICES, SERVICES + backendTls(SYSTEM));
    expect(lines.join('\n')).toContain('  mutual TLS: on → off');
    expect(lines.join('\n')).toContain(
      '  TLS of its own added: to a.example, certificate of a.example the system trusts',
    );
  });

  it('tells where connections go', async () => {
    const lines = await changes(BYTES + tls('t', '[a.example]'), BYTES + tls('t', '[b.example]') + tcp('c'));
    expect(lines).toEqual([
      'shop/a:80',
      '  connections (a.example) removed: was 100 % to shop/b:80',
      '  connections (b.example) added: 100 % to shop/b:80',
    ]);
  });
});

describe('a warning is told of', () => {
  const NO_SERVICE = service('x');
  it.each([
    [
      'an AuthorizationPolicy that selects nothing',
      SERVICES + authorization('p', '{selector: {matchLabels: {app: z}}}'),
      ['policy.yaml:29:8: warning: spec.selector: selects nothing: no Service of namespace shop has pods with app=z'],
    ],
    [
      'a DENY without rules',
      SERVICES + authorization('p', '{action: DENY}'),
      ['policy.yaml:29:1: warning: spec: denies nobody: it has no rules'],
    ],
    [
      'a principal with its scheme',
      SERVICES +
        authorization('p', '{rules: [{from: [{source: {principals: ["spiffe://cluster.local/ns/a/sa/b"]}}]}]}'),
      [
        'policy.yaml:29:47: warning: spec.rules[0].from[0].source.principals[0]: fits nobody: principals have no scheme (cluster.local/ns/a/sa/b)',
      ],
    ],
    [
      'a star that stands neither alone nor at one end',
      SERVICES +
        authorization(
          'p',
          '{rules: [{from: [{source: {principals: ["cluster.local/ns/*/sa/a"], notPrincipals: ["*mid*"]}}, {source: {namespaces: ["a*b"], notNamespaces: ["**"]}}]}]}',
        ),
      [
        'policy.yaml:29:47: warning: spec.rules[0].from[0].source.principals[0]: fits nobody: only one "*" works, at the beginning or the end',
        'policy.yaml:29:91: warning: spec.rules[0].from[0].source.notPrincipals[0]: fits nobody: only one "*" works, at the beginning or the end',
        'policy.yaml:29:126: warning: spec.rules[0].from[1].source.namespaces[0]: fits nobody: only one "*" works, at the beginning or the end',
        'policy.yaml:29:150: warning: spec.rules[0].from[1].source.notNamespaces[0]: fits nobody: only one "*" works, at the beginning or the end',
      ],
    ],
    [
      'such a star and a scheme in a condition',
      SERVICES +
        authorization(
          'p',
          '{rules: [{when: [{key: source.principal, values: ["spiffe://a/b"]}, {key: source.namespace, values: [a], notValues: [b, "a*b"]}]}]}',
        ),
      [
        'policy.yaml:29:57: warning: spec.rules[0].when[0].values[0]: fits nobody: principals have no scheme (a/b)',
        'policy.yaml:29:127: warning: spec.rules[0].when[1].notValues[1]: fits nobody: only one "*" works, at the beginning or the end',
      ],
    ],
    [
      'a BackendTLSPolicy without its Service, or without such a port',
      NO_SERVICE +
        document(
          'BackendTLSPolicy',
          'p',
          `{targetRefs: [{kind: Service, name: y}, {kind: Service, name: x, sectionName: z}], validation: ${SYSTEM}}`,
        ),
      [
        'policy.yaml:10:21: warning: spec.targetRefs[0]: there is no Service shop/y: the policy selects nothing there',
        'policy.yaml:10:47: warning: spec.targetRefs[1]: Service shop/x has no port z: the policy selects nothing there',
      ],
    ],
    [
      'a client certificate that nobody asks for',
      NO_SERVICE +
        document(
          'TrafficPolicy',
          'p',
          '{targetRefs: [{kind: Service, name: x}], tls: {clientCertificate: /a, privateKey: /b}}',
        ),
      [
        'policy.yaml:10:73: warning: spec.tls.clientCertificate: is shown to nobody: no BackendTLSPolicy targets the Service',
      ],
    ],
    [
      'a ConfigMap that nobody reads',
      '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n',
      ['policy.yaml:2:1: warning: is read by nothing: only a BackendTLSPolicy refers to ConfigMaps'],
    ],
    [
      'a TLSRoute on a port of HTTP',
      SERVICES + tls('t', '[a.example]'),
      [
        'policy.yaml:29:21: warning: spec.parentRefs[0]: Service shop/a carries only HTTP there: the route has no effect',
      ],
    ],
    [
      'an HTTPRoute on a port of bytes',
      BYTES + route('r', `{parentRefs: [${PARENT_A}], rules: [{}]}`),
      ['policy.yaml:22:21: warning: spec.parentRefs[0]: Service shop/a carries no HTTP there: the route has no effect'],
    ],
    [
      'a TCPRoute beside a TLSRoute',
      BYTES +
        tls('t', '[a.example]') +
        document('TCPRoute', 'c', `{parentRefs: [${PARENT_A}], rules: [{backendRefs: [{name: b, port: 80}]}]}`),
      [
        'policy.yaml:27:21: warning: spec.parentRefs[0]: Service shop/a has a TLSRoute there, which leaves no place for TCPRoutes',
      ],
    ],
    [
      'a server name that another route has',
      BYTES + tls('t', '[a.example, b.example]') + tls('u', '[b.example]'),
      [
        'policy.yaml:27:1: warning: spec: gets no connections for b.example at Service shop/a port 80: TLSRoute shop/t comes first',
      ],
    ],
    [
      'a backend that does not exist',
      BYTES + tcp('c'),
      ['policy.yaml:22:114: warning: spec.rules[0].backendRefs[1]: there is no Service shop/gone: its share is closed'],
    ],
  ])('%s', (_title, text, lines) => {
    expect(warnings(text)).toEqual(lines);
  });

  it('but not of a star alone or at one end', () => {
    const source = '{principals: ["*", "*/sa/a", "cluster.local/ns/a/*"], namespaces: ["*", "*-a", "a-*"]}';
    const when = '[{key: source.principal, values: ["*/sa/a"]}, {key: destination.port, values: ["80"]}]';
    const policy = `{rules: [{from: [{source: ${source}}], when: ${when}}]}`;
    expect(warnings(SERVICES + authorization('p', policy))).toEqual([]);
  });
});
