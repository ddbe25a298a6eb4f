import { describe, expect, test } from 'vitest';
import { toParts } from '../../../proxy/config/slices.ts';
import { document, SELF, service, snapshotOf } from '../../support/policy-documents.ts';

const policy = (name: string, spec: string, namespace = 'shop'): string =>
  document('AuthorizationPolicy', name, spec, `, namespace: ${namespace}`);
const selecting = (labels: string): string => `{selector: {matchLabels: ${labels}}}`;

describe('AuthorizationPolicies concern', () => {
  const own = (text: string): readonly string[] => snapshotOf(text).ownAuthorizations;

  test.each([
    ['their namespace', policy('a', '{}'), ['shop/a']],
    ['no other namespace', policy('a', '{}', 'other'), []],
    ['from the root namespace every one', policy('a', '{}', 'istio-system'), ['istio-system/a']],
    ['workloads with all their labels', policy('a', selecting('{app: catalog, version: v1}')), ['shop/a']],
    ['no workload that lacks one', policy('a', selecting('{app: catalog, version: v2}')), []],
    [
      'workloads of every namespace where the root one selects them',
      policy('a', selecting('{app: catalog}'), 'istio-system'),
      ['istio-system/a'],
    ],
    ['everybody with an empty selector', policy('a', selecting('{}')), ['shop/a']],
  ])('%s', (_title, text, keys) => {
    expect(own(text)).toEqual(keys);
  });

  test('the pods of a Service as far as its selector tells, wherever it is', () => {
    const text =
      service('a', '{selector: {app: a}, ports: [{port: 80}]}') +
      service('b', '{ports: [{port: 80}]}') +
      policy('all', '{}') +
      policy('some', selecting('{app: a}')) +
      policy('few', selecting('{app: a, version: v2}')) +
      policy('mesh', '{}', 'istio-system');
    expect(snapshotOf(text).services.map(({ authorizations }) => authorizations)).toEqual([
      ['istio-system/mesh', 'shop/all', 'shop/some'],
      ['istio-system/mesh', 'shop/all'],
    ]);
  });

  test('the data threads only where they are about the own application', () => {
    const parts = toParts(snapshotOf(policy('mine', '{}') + policy('theirs', selecting('{app: other}'))));
    const text = parts.flatMap(({ slices }) => slices).join('');
    expect([text.includes('shop/mine'), text.includes('shop/theirs')]).toEqual([true, false]);
  });
});

describe('a rule', () => {
  const conditions = (rule: string, mesh = ''): unknown => {
    const [only] = snapshotOf(policy('a', `{rules: [${rule}]}`) + mesh, SELF).authorizations;
    return only?.rules[0];
  };

  test('becomes groups of conditions', () => {
    const rule =
      '{from: [{source: {namespaces: [a], notIpBlocks: [10.0.0.0/8]}}, {source: {remoteIpBlocks: [::/0]}}], to: [{operation: {ports: ["80"], notPorts: ["81"]}}], when: [{key: source.ip, notValues: [10.1.1.1]}]}';
    expect(conditions(rule)).toMatchObject({
      from: [
        [
          { attribute: 'source.namespace', values: ['a'], notValues: [] },
          { attribute: 'source.ip', values: [], notValues: ['10.0.0.0/8'] },
        ],
        [{ attribute: 'remote.ip', values: ['::/0'], notValues: [] }],
      ],
      to: [[{ attribute: 'destination.port', values: ['80'], notValues: ['81'] }]],
      when: [{ attribute: 'source.ip', values: [], notValues: ['10.1.1.1'] }],
    });
  });

  test('names accounts of its own namespace, and principals under every name of the trust domain', () => {
    const mesh = document('Mesh', 'mesh', '{trustDomain: prod.example, trustDomainAliases: [old.example]}');
    const rule =
      '{from: [{source: {serviceAccounts: [web, other/web]}}, {source: {principals: [old.example/ns/a/sa/b, "*/sa/c", else.example/ns/a/sa/b], notPrincipals: [cluster.local/ns/*]}}]}';
    expect(conditions(rule, mesh)).toMatchObject({
      from: [
        [{ attribute: 'source.serviceAccount', values: ['shop/web', 'other/web'], notValues: [] }],
        [
          {
            attribute: 'source.principal',
            values: ['prod.example/ns/a/sa/b', 'old.example/ns/a/sa/b', '*/sa/c', 'else.example/ns/a/sa/b'],
            notValues: ['prod.example/ns/*', 'old.example/ns/*'],
          },
        ],
      ],
    });
  });

  test('is left out where a policy has none, and matches all where it is empty', () => {
    const [none] = snapshotOf(policy('a', '{}')).authorizations;
    expect([none?.action, none?.rules]).toEqual(['ALLOW', []]);
    expect(conditions('{}')).toMatchObject({ from: [], to: [], when: [] });
  });
});
