/** One reading of path and host: what route and policy saw is byte for byte what the application gets. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { get, wordOf } from '../integration/mesh.ts';
import { httpRoute } from '../support/policy.ts';
import { Stage, targetOf, valuesOf } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  // `/admin` has no backend: whatever is taken for it is a 500, and must not arrive by another spelling.
  const rules = [
    { matches: [{ path: { type: 'PathPrefix', value: '/admin' } }], backendRefs: [] },
    { matches: [{ path: { type: 'PathPrefix', value: '/' } }], backendRefs: [{ name: 'app', port: 80 }] },
  ];
  stage = await Stage.open({ documents: [httpRoute({ name: 'guard', parent: 'app', rules })] });
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a path is normalised before the route is looked up, and goes on as it was judged', () => {
  test.for([
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/a/%2e%2E/b', '/b'],
    ['/a/.%2e/b', '/b'],
    ['/a\\b', '/a/b'],
    ['/a/..\\b', '/b'],
    ['/%61', '/a'],
    ['//a', '//a'],
    ['/a//b', '/a//b'],
    ['/a%2fb', '/a%2fb'],
    ['/a%5Cb', '/a%5Cb'],
    ['/a;x=1/b', '/a;x=1/b'],
    ['/a%252e%252e/b', '/a%252e%252e/b'],
    ['/a?q=/../b\\c%00', '/a?q=/../b\\c%00'],
    ['/..', '/'],
    ['/a/..', '/'],
  ] as const)('%s arrives as %s', async ([sent, forwarded]) => {
    stage.begin();
    using client = await stage.outbound();
    expect((await client.exchange(get('app', sent))).status).toBe(200);
    expect(stage.app.seen.map(({ head }) => targetOf(head))).toEqual([forwarded]);
  });

  test.for([
    '/admin',
    '/x/../admin',
    '/x/%2e%2e/admin',
    '/./admin',
    '/%61dmin',
    '/x\\..\\admin',
    '/.%2E/admin',
    '/admin/',
    '/admin?x',
    '/x/..//../admin',
  ])('%s is the guarded path', async (sent) => {
    stage.begin();
    using client = await stage.outbound();
    const answer = await client.exchange(get('app', sent));
    expect(wordOf(answer)).toBe('invalid_backend');
    expect(stage.bytes).toBe('');
  });

  test.for(['/a%00', '/a%0', '/a%zz', '/..;/admin', '/x/..;a=b/admin', '/.;/admin', '/%2e%2e;/admin'])(
    '%s is refused',
    async (sent) => {
      await stage.expectRefusal(get('app', sent), 400, 'bad_path');
    },
  );

  test.for(['/a#b', '/a\x7f', '/caf\xe9', 'a', '*', 'ftp://app/', 'http:/app', 'app/x'])(
    '%s is no target for GET',
    async (sent) => {
      await stage.expectRefusal(get('app', sent), 400);
    },
  );
});

describe('a host has one spelling', () => {
  test.for([
    ['APP', 'app'],
    ['app.', 'app'],
    ['app:80', 'app:80'],
    ['app:', 'app'],
    ['App.Default.SVC.cluster.local.', 'app.default.svc.cluster.local'],
  ] as const)('%s arrives as %s', async ([sent, forwarded]) => {
    stage.begin();
    using client = await stage.outbound();
    expect((await client.exchange(get(sent, '/x'))).status).toBe(200);
    expect(valuesOf(stage.app.seen[0]?.head ?? '', 'host')).toEqual([forwarded]);
  });

  test.for([
    'user@app',
    'user:pass@app',
    'app/x',
    'app x',
    'app,other',
    'app:80:80',
    'app:99999',
    'app:-1',
    'app:+80',
    'app:8o',
    '[::1',
    '::1',
    'app%2eother',
    'a..b',
    '.app',
    '127.1',
    '0x7f.0.0.1',
    '2130706433',
    '0177.0.0.1',
    'app\\other',
    'app?x',
    'app#x',
    'ap\xe9',
    '"app"',
    '',
  ])('Host: %s is refused', async (sent) => {
    await stage.expectRefusal(get(sent, '/x'), 400, 'bad_host');
  });

  test.for([
    ['http://app/x', 'other'],
    ['http://app:81/x', 'app:80'],
    ['http://user@app/x', 'app'],
    ['http://app\\@other/x', 'other'],
    ['http://other#@app/x', 'app'],
    ['https://app/x', 'app:80'],
  ] as const)('target %s with Host %s is refused', async ([target, host]) => {
    await stage.expectRefusal(get(host, target), 400);
  });

  test('an absolute target goes on in origin form with the one host', async () => {
    stage.begin();
    using client = await stage.outbound();
    await client.exchange(get('APP:80', 'HTTP://App/a/../x?y'));
    const head = stage.app.seen[0]?.head ?? '';
    expect(head.split('\r\n')[0]).toBe('GET /x?y HTTP/1.1');
    expect(valuesOf(head, 'host')).toEqual(['app']);
  });
});
