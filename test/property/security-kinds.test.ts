/** AuthorizationPolicies and server names against plain readings of their rules, written down another way. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConnectionRoutes } from '../../proxy/config/connection-routes.ts';
import type { ConnectionRuleSpec } from '../../proxy/config/snapshot.ts';
import { Authorization, type AuthorizationConfig, type ConditionConfig } from '../../proxy/policy/authorization.ts';

const RUNS = { seed: 20_261_122, numRuns: 500 };

/** Few words, so that conditions and callers often meet; `.` in one would match any letter if it became an expression. */
const NAMESPACES = ['shop', 's.op', 'vault'];
const ACCOUNTS = ['web', 'web.x', 'db'];
const ADDRESSES = ['10.0.0.1', '10.0.1.1', '192.168.0.1', '2001:db8::1', ''];
const PORTS = [80, 8080];

const caller = fc.record({
  id: fc.option(fc.record({ namespace: fc.constantFrom(...NAMESPACES), account: fc.constantFrom(...ACCOUNTS) })),
  address: fc.constantFrom(...ADDRESSES),
  port: fc.constantFrom(...PORTS),
});
type Caller = typeof caller extends fc.Arbitrary<infer T> ? T : never;

const names = fc.constantFrom(
  ...NAMESPACES.flatMap((n) => ACCOUNTS.map((a) => `td/ns/${n}/sa/${a}`)),
  'td/*',
  '*/web',
  '*',
);
const VALUES: Readonly<Record<ConditionConfig['attribute'], fc.Arbitrary<string>>> = {
  'source.principal': names,
  'source.namespace': fc.constantFrom(...NAMESPACES, 's*', '*op', '*'),
  'source.serviceAccount': fc.constantFrom('shop/web', 'vault/db'),
  'source.ip': fc.constantFrom('10.0.0.0/24', '10.0.0.0/8', '0.0.0.0/0', '::/0', '192.168.0.1'),
  'remote.ip': fc.constantFrom('10.0.0.0/8', '2001:db8::/32'),
  'destination.ip': fc.constantFrom('172.16.0.1', '10.0.0.0/8'),
  'destination.port': fc.constantFrom('80', '8080', '9090'),
};
const condition: fc.Arbitrary<ConditionConfig> = fc
  .constantFrom(...(Object.keys(VALUES) as ConditionConfig['attribute'][]))
  .chain((attribute) => {
    const list = fc.array(VALUES[attribute], { maxLength: 2 });
    return fc.record({ attribute: fc.constant(attribute), values: list, notValues: list });
  });
const groups = fc.array(fc.array(condition, { maxLength: 2 }), { maxLength: 2 });
const policies: fc.Arbitrary<AuthorizationConfig[]> = fc.array(
  fc.record({
    key: fc.constant('shop/p'),
    action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
    rules: fc.array(fc.record({ from: groups, to: groups, when: fc.array(condition, { maxLength: 2 }) }), {
      maxLength: 2,
    }),
  }),
  { minLength: 1, maxLength: 3 },
);

const BLOCKS: Readonly<Record<string, (address: string) => boolean>> = {
  '10.0.0.0/24': (address) => address.startsWith('10.0.0.'),
  '10.0.0.0/8': (address) => address.startsWith('10.'),
  '0.0.0.0/0': (address) => address.includes('.'),
  '::/0': (address) => address.includes(':'),
  '2001:db8::/32': (address) => address.startsWith('2001:db8:'),
};

function has({ id, address, port }: Caller, attribute: ConditionConfig['attribute'], value: string): boolean {
  if (attribute.endsWith('.ip')) {
    const asked = attribute === 'destination.ip' ? '172.16.0.1' : address;
    return BLOCKS[value]?.(asked) ?? asked === value;
  }
  const texts: Readonly<Record<string, string | undefined>> = {
    'source.principal': id === null ? undefined : `td/ns/${id.namespace}/sa/${id.account}`,
    'source.namespace': id?.namespace,
    'source.serviceAccount': id === null ? undefined : `${id.namespace}/${id.account}`,
    'destination.port': String(port),
  };
  const text = texts[attribute];
  if (text === undefined) return false;
  const [before, after, ...more] = value.split('*');
  if (more.length > 0) throw new Error('no such value is generated');
  return after === undefined ? text === value : text.startsWith(before ?? '') && text.endsWith(after);
}

function admits(all: readonly AuthorizationConfig[], one: Caller): boolean {
  const holds = ({ attribute, values, notValues }: ConditionConfig): boolean =>
    (values.length === 0 || values.some((value) => has(one, attribute, value))) &&
    notValues.every((value) => !has(one, attribute, value));
  const any = (list: readonly (readonly ConditionConfig[])[]): boolean =>
    list.length === 0 || list.some((group) => group.every(holds));
  const fits = ({ rules }: AuthorizationConfig): boolean =>
    rules.some(({ from, to, when }) => any(from) && any(to) && when.every(holds));
  if (all.some((each) => each.action === 'DENY' && fits(each))) return false;
  const allowing = all.filter(({ action }) => action === 'ALLOW');
  return allowing.length === 0 || allowing.some(fits);
}

test('AuthorizationPolicies decide as their rules read, for 500 generated policies and callers', () => {
  const verdicts = { admitted: 0, refused: 0 };
  fc.assert(
    fc.property(policies, caller, (all, one) => {
      const { id, address, port } = one;
      const principal = id === null ? '' : `spiffe://td/ns/${id.namespace}/sa/${id.account}`;
      const verdict = Authorization.of(all)?.judge({ principal, sourceAddress: address }, { host: '172.16.0.1', port });
      expect(verdict?.admitted).toBe(admits(all, one));
      verdicts[verdict?.admitted === true ? 'admitted' : 'refused']++;
    }),
    RUNS,
  );
  expect(Math.min(verdicts.admitted, verdicts.refused)).toBeGreaterThan(100);
});

const label = fc.constantFrom('a', 'b', 'example', 'com');
const serverName = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const hostname = fc.tuple(fc.boolean(), serverName).map(([wild, name]) => (wild ? `*.${name}` : name));

/** The best by its rank: exact before longer wildcards before any; of equals the first. */
function plainly(rules: readonly ConnectionRuleSpec[], name: string): string | undefined {
  const claims = rules.flatMap(({ name: rule, hostnames }) =>
    hostnames.length === 0
      ? [{ rule, rank: 0 }]
      : hostnames.flatMap((host) => {
          if (host === name) return [{ rule, rank: 1000 }];
          return host.startsWith('*.') && name.endsWith(host.slice(1)) ? [{ rule, rank: host.length }] : [];
        }),
  );
  return claims.toSorted((a, b) => b.rank - a.rank)[0]?.rule;
}

test('a server name finds the most specific of 500 generated TLSRoutes', () => {
  let found = 0;
  fc.assert(
    fc.property(fc.array(fc.array(hostname, { maxLength: 3 }), { maxLength: 5 }), serverName, (lists, name) => {
      const rules = lists.map((hostnames, i) => {
        return { name: `shop/r${i}/0`, source: { file: '', line: 0, name: '' }, hostnames, backends: [] };
      });
      const rule = new ConnectionRoutes({ kind: 'TLSRoute', rules }, new Map()).find(name);
      expect(rule?.name).toBe(plainly(rules, name));
      if (rule !== null) found++;
    }),
    RUNS,
  );
  expect(found).toBeGreaterThan(100);
});
