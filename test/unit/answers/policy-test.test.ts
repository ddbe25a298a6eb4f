import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runTest } from '../../../proxy/answers/test-cli.ts';
import { PARENT_A, route, service, slice } from '../../support/policy-documents.ts';

const READY = 'addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.0.0.1]}]\n';
const IN_SHOP = ', namespace: shop';
const POLICY = [
  service('a', undefined, IN_SHOP),
  service('b', undefined, IN_SHOP),
  slice('a', READY, IN_SHOP),
  slice('b', READY, IN_SHOP),
  route(
    'r',
    `{parentRefs: [${PARENT_A}], rules: [
      {name: moved, matches: [{path: {value: /old}}], filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, path: {type: ReplaceFullPath, replaceFullPath: /new}}}]},
      {name: all, matches: [{path: {value: /x}}], timeouts: {request: 2s}, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: "1"}]}}],
       backendRefs: [{name: a, port: 80, weight: 2}, {name: b, port: 80, weight: 1}]}]}`,
  ),
].join('');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-tests-'));
  writeFileSync(join(dir, 'policy.yaml'), POLICY);
});
afterEach(() => rmSync(dir, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runTest(args, { out: (line) => out.push(line), err: (line) => err.push(line) });
  return { code, out, err };
}

/** One test a line, from line 6 on. */
function write(...tests: string[]): void {
  const head = 'apiVersion: weft.dev/v1\nkind: PolicyTest\nmetadata: {name: t, namespace: shop}\nspec:\n  tests:\n';
  writeFileSync(join(dir, 'a.test.yaml'), head + tests.map((test) => `  - ${test}\n`).join(''));
}

describe('weft test', () => {
  it('exits 0 where everything holds', async () => {
    write(
      '{name: one, request: {url: a/x}, expect: {verdict: forwarded, service: "shop/a:80", route: shop/r/all, retries: 2, timeout: 2s, attemptTimeout: 0s}}',
      '{name: two, request: {url: a/x}, expect: {backends: {"shop/a:80": 66.667%, "shop/b:80": "33.333"}, mutualTls: true}}',
      '{name: three, request: {url: a/x, headers: {x-a: "0", x-b: "2"}}, expect: {sends: {path: /x, authority: a, headers: {X-A: "1", x-b: "2"}, without: [x-c]}}}',
      '{name: four, request: {url: a/old, method: POST}, expect: {verdict: answered, status: 301, returns: {headers: {Location: http://a/new}}}}',
      '{name: five, request: {url: a/y}, expect: {verdict: refused, status: 404, word: no_route, route: none}}',
      '{name: six, request: {url: "a.shop/x", from: spiffe://cluster.local/ns/web/sa/s}, expect: {verdict: forwarded}}',
      '{name: seven, request: {url: "stranger.example/"}, expect: {service: none}}',
    );
    expect(await run(dir)).toEqual({ code: 0, out: [], err: ['7 passed, 0 failed'] });
  });

  it.each([
    ['{verdict: answered}', 'verdict: t: is forwarded, not answered'],
    ['{route: shop/r/moved}', 'route: t: is shop/r/all, not shop/r/moved'],
    ['{word: no_route}', 'word: t: is none, not no_route'],
    ['{timeout: 0s}', 'timeout: t: is 2s, not none'],
    ['{retries: 0}', 'retries: t: is 2, not 0'],
    ['{backends: {"shop/a:80": 66.667%}}', 'backends: t: leaves out shop/b:80, which gets 33.33 %'],
    ['{sends: {path: /y}}', 'sends.path: t: is /x to shop/a:80, not /y'],
    ['{sends: {without: [x-a]}}', 'sends.without[0]: t: is "1" to shop/a:80, not absent'],
    ['{returns: {headers: {x-r: "1"}}}', 'returns.headers.x-r: t: is absent from shop/a:80, not "1"'],
  ])('tells what does not hold of %s, where it is written, and exits 1', async (expectation, line) => {
    write(`{name: t, request: {url: a/x}, expect: ${expectation}}`);
    const { code, out, err } = await run(dir, '--namespace=shop');
    expect(code).toBe(1);
    expect(out[0]).toMatch(/^a\.test\.yaml:6:\d+: spec\.tests\[0\]\.expect\./);
    expect(out[0]?.split('.expect.')[1]).toBe(line);
    expect(err).toEqual(['0 passed, 1 failed']);
  });

  it.each([
    [
      '{name: t, request: {url: a/x}, expect: {}}',
      '6:36: spec.tests[0].expect: expects nothing (e.g. {verdict: forwarded})',
    ],
    [
      '{name: t, request: {url: a/x}, expect: {verdikt: forwarded}}',
      '6:45: spec.tests[0].expect.verdikt: unknown field (did you mean verdict?)',
    ],
    [
      '{name: t, request: {url: a/x}, expect: {word: no_rute}}',
      '6:51: spec.tests[0].expect.word: is no word of weft\'s: "no_rute" (did you mean no_route?)',
    ],
    [
      '{name: t, request: {url: a/x}, expect: {backends: {a: much}}}',
      '6:59: spec.tests[0].expect.backends.a: is no percentage: "much" (e.g. 90%)',
    ],
    [
      '{name: t, request: {from: me, url: a/x}, expect: {status: 200}}',
      '6:31: spec.tests[0].request.from: is no SPIFFE ID: "me" (spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/NAME)',
    ],
    ['{name: t, expect: {status: 200}}', '6:5: spec.tests[0].request: is required'],
  ])('tells what is wrong with a test: %s', async (test, line) => {
    write(test);
    const { code, out } = await run(dir);
    expect(code).toBe(1);
    expect(out[0]).toBe(`a.test.yaml:${line}`);
  });

  it('refuses other documents in a test file, and tests in other files', async () => {
    writeFileSync(join(dir, 'b.test.yaml'), service('c').replace('---\n', ''));
    expect((await run(dir)).out).toEqual(['b.test.yaml:2:7: kind: Service of v1 is not supported (one of PolicyTest)']);
    rmSync(join(dir, 'b.test.yaml'));
    writeFileSync(join(dir, 'c.yaml'), 'apiVersion: weft.dev/v1\nkind: PolicyTest\nmetadata: {name: t}\n');
    expect((await run(dir)).out[0]).toContain('c.yaml:2:7: kind: PolicyTest belongs into a file *.test.yaml');
  });

  it('tells the problems of the policy instead where there are any', async () => {
    write('{name: t, request: {url: a/x}, expect: {status: 1}}');
    writeFileSync(join(dir, 'broken.yaml'), 'kind: Service\n');
    const { code, out, err } = await run(dir);
    expect([code, err]).toEqual([1, ['0 passed, 0 failed']]);
    expect(out).toEqual(['broken.yaml:1:1: apiVersion: is required (e.g. v1)']);
  });

  it('tells its usage for --help, and exits 0', async () => {
    expect(await run('--help')).toEqual({ code: 0, out: [expect.stringContaining('usage: weft test')], err: [] });
  });

  it.each([[[]], [['a', 'b']], [['a', '--names', 'x']]])('exits 2 with the usage for %j', async (args) => {
    const { code, err } = await run(...args);
    expect(code).toBe(2);
    expect(err.at(-1)).toContain('usage: weft test DIR');
  });
});
