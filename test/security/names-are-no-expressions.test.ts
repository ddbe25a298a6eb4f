/** Names of policy are text: what means something in an expression means itself here (CHECKS, "Identity, policy"). */
import { expect, test } from 'vitest';
import { ConnectionRoutes } from '../../proxy/config/connection-routes.ts';
import { Authorization } from '../../proxy/policy/authorization.ts';
import { document, snapshotOf } from '../support/policy-documents.ts';

const HERE = { host: '10.0.0.9', port: 80 };

function admits(source: string, account: string): boolean {
  const text = document('AuthorizationPolicy', 'p', `{rules: [{from: [{source: {${source}}}]}]}`);
  const authorization = Authorization.of(snapshotOf(text).authorizations);
  const peer = { principal: `spiffe://cluster.local/ns/shop/sa/${account}`, sourceAddress: '10.0.0.1' };
  return authorization?.judge(peer, HERE).admitted === true;
}

test('an ALLOW for the account a.b does not admit axb', () => {
  for (const source of ['principals: [cluster.local/ns/shop/sa/a.b]', 'serviceAccounts: [a.b]']) {
    expect([source, admits(source, 'a.b'), admits(source, 'axb'), admits(source, 'a.bc')]).toEqual([
      source,
      true,
      false,
      false,
    ]);
  }
});

test('signs of expressions in a principal admit nobody who does not have them', () => {
  for (const name of ['.*', '[a-z]+', '(a|b)', 'a?', '^a$', 'a{1}', 'a\\\\w']) {
    expect([name, admits(`principals: ["cluster.local/ns/shop/sa/${name}"]`, 'a')]).toEqual([name, false]);
  }
});

test('a server name is no expression, no property of an object, and as long as it likes', () => {
  const rule = (
    name: string,
    ...hostnames: string[]
  ): ConstructorParameters<typeof ConnectionRoutes>[0]['rules'][number] => {
    return { name, source: { file: '', line: 0, name: '' }, hostnames, backends: [] };
  };
  const routes = new ConnectionRoutes(
    { kind: 'TLSRoute', rules: [rule('dots', 'a.b.example'), rule('wide', '*.example')] },
    new Map(),
  );
  expect(routes.find('axb.example')?.name).toBe('wide');
  for (const name of [
    'axbxexample',
    '__proto__',
    'constructor',
    'example',
    '*.examplex',
    `${'a.'.repeat(127)}x`,
    '\0.example\0',
  ]) {
    expect([name, routes.find(name)]).toEqual([name, null]);
  }
  expect(routes.find(`${'a'.repeat(247)}.example`)?.name).toBe('wide');
});
