import { describe, expect, test } from 'vitest';
import {
  Authorization,
  type AuthorizationConfig,
  type ConditionConfig,
  type Peer,
} from '../../../proxy/policy/authorization.ts';

const APP = { host: '10.0.0.9', port: 8080 };
const PEER: Peer = { principal: 'spiffe://cluster.local/ns/shop/sa/web', sourceAddress: '10.1.2.3' };
const NOBODY: Peer = { principal: '', sourceAddress: '192.0.2.7' };

function condition(
  attribute: ConditionConfig['attribute'],
  values: string[],
  notValues: string[] = [],
): ConditionConfig {
  return { attribute, values, notValues };
}

type Rule = AuthorizationConfig['rules'][number];

function rule(from: ConditionConfig[][] = [], to: ConditionConfig[][] = [], when: ConditionConfig[] = []): Rule {
  return { from, to, when };
}

function policy(action: 'ALLOW' | 'DENY', ...rules: Rule[]): AuthorizationConfig {
  return { key: `shop/${action.toLowerCase()}`, action, rules };
}

function admits(peer: Peer, ...policies: AuthorizationConfig[]): boolean {
  const authorization = Authorization.of(policies);
  if (authorization === null) throw new Error('nothing to judge by');
  return authorization.judge({ ...peer }, APP).admitted;
}

/** Does one condition hold for the peer? */
function holds(one: ConditionConfig, peer: Peer = PEER): boolean {
  return admits(peer, policy('ALLOW', rule([], [], [one])));
}

describe('the order of AuthorizationPolicies', () => {
  const friends = policy('ALLOW', rule([[condition('source.principal', ['cluster.local/ns/shop/sa/web'])]]));
  const everybody = rule();

  test('without a policy there is nothing to judge', () => {
    expect(Authorization.of([])).toBeNull();
  });

  test('with an ALLOW only those are let in whom one of its rules fits', () => {
    expect([admits(PEER, friends), admits(NOBODY, friends)]).toEqual([true, false]);
  });

  test('an ALLOW without rules lets nobody in, beside another one whom that lets in', () => {
    expect([admits(PEER, policy('ALLOW')), admits(PEER, policy('ALLOW'), friends)]).toEqual([false, true]);
  });

  test('a rule that says nothing fits everybody', () => {
    expect([admits(NOBODY, policy('ALLOW', everybody)), admits(PEER, policy('DENY', everybody))]).toEqual([
      true,
      false,
    ]);
  });

  test('a DENY without rules denies nobody, and leaves others in where there is no ALLOW', () => {
    expect(admits(NOBODY, policy('DENY'))).toBe(true);
  });

  test('a DENY that fits goes before an ALLOW that fits', () => {
    expect(admits(PEER, friends, policy('DENY', rule([[condition('source.namespace', ['shop'])]])))).toBe(false);
  });

  test('the verdict names the policy that decided, and a connection keeps its verdict', () => {
    const authorization = Authorization.of([
      friends,
      policy('DENY', rule([], [[condition('destination.port', ['1'])]])),
    ]);
    expect(authorization?.judge(PEER, APP)).toEqual({
      admitted: true,
      why: 'AuthorizationPolicy shop/allow rule 0 allows',
    });
    expect(authorization?.judge(NOBODY, APP).why).toBe('no rule of AuthorizationPolicy shop/allow allows');
    expect(authorization?.judge(PEER, APP)).toBe(authorization?.judge(PEER, APP));
    expect(authorization?.explain(PEER, APP)).toEqual([
      { policy: 0, rule: 0, fits: true },
      { policy: 1, rule: 0, fits: false },
    ]);
  });
});

describe('a rule', () => {
  const web = condition('source.principal', ['cluster.local/ns/shop/sa/web']);
  const elsewhere = condition('source.ip', ['172.16.0.0/12']);
  const port = condition('destination.port', ['8080', '9090']);

  test.each([
    ['one group of many is enough', rule([[elsewhere], [web]]), true],
    ['in a group all must hold', rule([[elsewhere, web]]), false],
    ['from, to and when must all hold', rule([[web]], [[port]], [condition('destination.ip', ['10.0.0.0/8'])]), true],
    ['one of them is not enough', rule([[web]], [[condition('destination.port', ['80'])]]), false],
    ['all conditions of when must hold', rule([], [], [port, elsewhere]), false],
  ])('%s', (_title, one, fits) => {
    expect(admits(PEER, policy('ALLOW', one))).toBe(fits);
  });
});

describe('names', () => {
  test.each([
    ['cluster.local/ns/shop/sa/web', true],
    ['cluster.local/ns/shop/*', true],
    ['*/sa/web', true],
    ['*', true],
    ['cluster.local/ns/shop/sa/we', false],
    ['clusterxlocal/ns/shop/sa/web', false],
    ['cluster.local/ns/.*/sa/web', false],
    ['cluster.local/*/sa/web', false],
    ['spiffe://cluster.local/ns/shop/sa/web', false],
    ['CLUSTER.LOCAL/ns/shop/sa/web', false],
  ])('a principal is compared with %s as text: %s', (value, fits) => {
    expect(holds(condition('source.principal', [value]))).toBe(fits);
  });

  test.each([
    ['source.namespace', 'shop', true],
    ['source.namespace', 'sh*', true],
    ['source.namespace', 'web', false],
    ['source.serviceAccount', 'shop/web', true],
    ['source.serviceAccount', 'web', false],
    ['destination.port', '8080', true],
    ['destination.port', '80', false],
  ] as const)('%s with %s: %s', (attribute, value, fits) => {
    expect(holds(condition(attribute, [value]))).toBe(fits);
  });

  test('a caller without identity has no name of any kind, and so is none of those that are excepted', () => {
    for (const attribute of ['source.principal', 'source.namespace', 'source.serviceAccount'] as const) {
      expect(holds(condition(attribute, ['*']), NOBODY)).toBe(false);
      expect(holds(condition(attribute, [], ['*']), NOBODY)).toBe(true);
      expect(holds(condition(attribute, [], ['*']), PEER)).toBe(false);
    }
  });

  test('an identity of another shape has a principal and no namespace', () => {
    const peer = { ...PEER, principal: 'spiffe://cluster.local/vm/ns/shop' };
    expect(holds(condition('source.principal', ['cluster.local/vm/*']), peer)).toBe(true);
    expect(holds(condition('source.namespace', ['*']), peer)).toBe(false);
  });
});

describe('addresses', () => {
  test.each([
    ['source.ip', '10.1.2.3', true],
    ['source.ip', '10.1.0.0/16', true],
    ['source.ip', '10.2.0.0/16', false],
    ['source.ip', '::/0', false],
    ['remote.ip', '10.0.0.0/8', true],
    ['destination.ip', '10.0.0.9', true],
    ['destination.ip', '10.1.2.3', false],
  ] as const)('%s in %s: %s', (attribute, block, fits) => {
    expect(holds(condition(attribute, [block]))).toBe(fits);
  });

  test('an exception takes out of what is listed', () => {
    const peer = (sourceAddress: string): Peer => ({ ...PEER, sourceAddress });
    const most = condition('source.ip', ['10.0.0.0/8'], ['10.9.0.0/16']);
    expect([holds(most, peer('10.1.1.1')), holds(most, peer('10.9.1.1')), holds(most, peer('2001:db8::1'))]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('a caller whose address is not known is in no block', () => {
    expect(holds(condition('source.ip', ['0.0.0.0/0']), { ...PEER, sourceAddress: '' })).toBe(false);
  });
});
