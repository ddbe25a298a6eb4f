import { describe, expect, test } from 'vitest';
import { Fields } from '../../../proxy/http/message.ts';
import type { CorsConfig } from '../../../proxy/policy/cors.ts';
import { fieldProblem } from '../../../proxy/policy/field-rules.ts';
import type { HeaderModifierConfig } from '../../../proxy/policy/header-modifier.ts';
import type { PathChangeConfig } from '../../../proxy/policy/path-change.ts';
import type { Decision, LocalAnswer, PolicyContext } from '../../../proxy/policy/policy.ts';
import type { RequestRedirectConfig } from '../../../proxy/policy/redirect.ts';
import type { UrlRewriteConfig } from '../../../proxy/policy/rewrite.ts';
import { type PolicyChain, prepare } from '../../../proxy/policy/runner.ts';
import { requestHead, responseHead } from './heads.ts';

const CONTEXT: PolicyContext = { direction: 'outbound', principal: '', sourceAddress: '127.0.0.1' };
const NOBODY = { policiesDone: (): void => {} };

function ask(chain: PolicyChain, head: ReturnType<typeof requestHead>): Decision {
  return chain.request(head, CONTEXT, NOBODY);
}

function answerOf(decision: Decision): LocalAnswer {
  if (decision === undefined || decision === 'pending') throw new Error('no answer was given');
  return decision;
}

describe('header modifiers', () => {
  const config: HeaderModifierConfig = { set: [['X-Set', 'new']], add: [['X-Add', '2']], remove: ['X-Gone'] };

  test('the one for requests sets, adds and removes request fields', () => {
    const head = requestHead(new Fields(['x-set', 'x-set', 'x-add', 'x-gone', 'x-stay'], ['a', 'b', '1', 'c', 'd']));
    expect(ask(prepare([{ kind: 'RequestHeaderModifier', config }]), head)).toBeUndefined();
    expect(head.fields.wire).toBe('x-set: new\r\nx-add: 1\r\nx-stay: d\r\nX-Add: 2\r\n');
  });

  test('what is removed goes before anything is set or added, in requests and in responses', () => {
    const config: HeaderModifierConfig = {
      set: [['x-set', 'new']],
      add: [['x-add', 'new']],
      remove: ['x-set', 'X-Add'],
    };
    const sent = (): Fields => new Fields(['x-set', 'x-add', 'x-stay'], ['old', 'old', 'a']);
    const request = requestHead(sent());
    const response = responseHead(sent());
    ask(prepare([{ kind: 'RequestHeaderModifier', config }]), request);
    prepare([{ kind: 'ResponseHeaderModifier', config }]).response(response, request, CONTEXT);
    expect(request.fields.wire).toBe('x-stay: a\r\nx-set: new\r\nx-add: new\r\n');
    expect(response.fields.wire).toBe('x-stay: a\r\nx-set: new\r\nx-add: new\r\n');
  });

  test('a field that is set and added to has both values', () => {
    const config: HeaderModifierConfig = { set: [['x-a', '1']], add: [['x-a', '2']], remove: [] };
    const head = requestHead(new Fields(['x-a'], ['0']));
    ask(prepare([{ kind: 'RequestHeaderModifier', config }]), head);
    expect(head.fields.wire).toBe('x-a: 1\r\nx-a: 2\r\n');
  });

  test('the one for responses does the same to responses and leaves requests alone', () => {
    const chain = prepare([{ kind: 'ResponseHeaderModifier', config }]);
    const request = requestHead(new Fields(['x-gone'], ['a']));
    const response = responseHead(new Fields(['x-gone'], ['a']));
    ask(chain, request);
    chain.response(response, request, CONTEXT);
    expect(request.fields.wire).toBe('x-gone: a\r\n');
    expect(response.fields.wire).toBe('X-Set: new\r\nX-Add: 2\r\n');
  });

  test.each([
    ['Host', 'a'],
    ['content-length', '1'],
    ['Transfer-Encoding', 'chunked'],
    ['Connection', 'close'],
    ['weft-attempt', '1'],
    [':path', '/'],
    ['bad name', 'a'],
    ['', 'a'],
    ['x-split', 'a\r\nevil: 1'],
    ['x-nul', 'a\0'],
    ['x-space', ' a'],
  ])('nobody may write the field %j: %j', (name, value) => {
    expect(fieldProblem(name, value)).toBeTypeOf('string');
    const config: HeaderModifierConfig = { set: [[name, value]], add: [], remove: [] };
    expect(() => prepare([{ kind: 'RequestHeaderModifier', config }])).toThrow();
  });

  test('a field may be given an empty value', () => {
    expect(fieldProblem('x-empty', '')).toBeNull();
  });
});

describe('path changes', () => {
  const replaced = (change: PathChangeConfig, path: string): string => {
    const config: UrlRewriteConfig = { hostname: null, path: change };
    const head = requestHead(new Fields(), { path });
    ask(prepare([{ kind: 'URLRewrite', config }]), head);
    return head.path;
  };

  // The table of HTTPPathModifier in the Gateway API.
  test.each([
    ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz/', '/xyz/bar'],
    ['/foo', '/foo', '/xyz', '/xyz'],
    ['/foo/', '/foo', '/xyz', '/xyz/'],
    ['/foo/bar', '/foo', '', '/bar'],
    ['/foo/', '/foo', '', '/'],
    ['/foo', '/foo', '', '/'],
    ['/foo/', '/foo', '/', '/'],
    ['/foo', '/foo', '/', '/'],
    ['/foo?a=/foo', '/foo', '', '/?a=/foo'],
    ['/a', '/', '/x', '/x/a'],
  ])('%s with the prefix %s replaced by %j becomes %s', (path, prefix, value, expected) => {
    expect(replaced({ type: 'ReplacePrefixMatch', prefix, value }, path)).toBe(expected);
  });

  test('a full replacement keeps the query', () => {
    expect(replaced({ type: 'ReplaceFullPath', value: '/new' }, '/old/path?a=b')).toBe('/new?a=b');
    expect(replaced({ type: 'ReplaceFullPath', value: '/new' }, '/old/path')).toBe('/new');
  });

  test.each(['*', ''])('the path %j names no resource and stays', (path) => {
    expect(replaced({ type: 'ReplaceFullPath', value: '/new' }, path)).toBe(path);
  });

  test('a rewritten host is the authority and the one Host field', () => {
    const config: UrlRewriteConfig = { hostname: 'one.example', path: null };
    const head = requestHead(new Fields(['Host', 'Accept'], ['catalog', '*/*']));
    ask(prepare([{ kind: 'URLRewrite', config }]), head);
    expect(head.authority).toBe('one.example');
    expect(head.fields.wire).toBe('Host: one.example\r\nAccept: */*\r\n');
  });
});

describe('redirects', () => {
  const KEEP: RequestRedirectConfig = {
    scheme: null,
    hostname: null,
    path: null,
    port: null,
    servicePort: 80,
    statusCode: 302,
  };
  const location = (config: Partial<RequestRedirectConfig>, authority: string, path = '/a?b'): string => {
    const chain = prepare([{ kind: 'RequestRedirect', config: { ...KEEP, ...config } }]);
    const answer = answerOf(ask(chain, requestHead(new Fields(), { authority, path })));
    return answer.headers[0]?.[1] ?? '';
  };

  test('a redirect is an answer with the status said and no failure', () => {
    const chain = prepare([{ kind: 'RequestRedirect', config: { ...KEEP, statusCode: 301 } }]);
    const answer = answerOf(ask(chain, requestHead()));
    expect(answer).toMatchObject({ status: 301, failure: null, body: '' });
  });

  test.each<[Partial<RequestRedirectConfig>, string, string]>([
    [{ hostname: 'b' }, 'a', 'http://b/a?b'],
    [{ hostname: 'b' }, 'a:8080', 'http://b:8080/a?b'],
    [{ hostname: 'b', servicePort: 8080 }, 'a', 'http://b:8080/a?b'],
    [{ hostname: 'b', servicePort: 443 }, 'a', 'http://b/a?b'],
    [{ scheme: 'https', servicePort: 8080 }, 'a', 'https://a/a?b'],
    [{ port: 8443, servicePort: 8080 }, 'a', 'http://a:8443/a?b'],
    [{ scheme: 'https' }, 'a', 'https://a/a?b'],
    [{ scheme: 'https' }, 'a:8080', 'https://a/a?b'],
    [{ scheme: 'http' }, 'a:8080', 'http://a/a?b'],
    [{ scheme: 'https', port: 443 }, 'a', 'https://a/a?b'],
    [{ scheme: 'https', port: 80 }, 'a', 'https://a:80/a?b'],
    [{ port: 8443 }, 'a:80', 'http://a:8443/a?b'],
    [{ port: 80 }, 'a:8080', 'http://a/a?b'],
    [{ port: 8443 }, '[::1]:80', 'http://[::1]:8443/a?b'],
    [{ hostname: 'b' }, '[::1]', 'http://b/a?b'],
    [{ path: { type: 'ReplaceFullPath', value: '/c' } }, 'a', 'http://a/c?b'],
    [{ path: { type: 'ReplacePrefixMatch', prefix: '/a', value: '/c' } }, 'a', 'http://a/c?b'],
  ])('%j sends those who ask %s to %s', (config, authority, expected) => {
    expect(location(config, authority)).toBe(expected);
  });

  test('a target that is no path is redirected to the root', () => {
    expect(location({ hostname: 'b' }, 'a', '*')).toBe('http://b/');
  });
});

describe('CORS', () => {
  const CONFIG: CorsConfig = {
    allowOrigins: ['https://shop.example', 'https://*.trusted.example'],
    allowCredentials: true,
    allowMethods: ['GET', 'PUT'],
    allowHeaders: ['x-one', 'x-two'],
    exposeHeaders: ['x-trace'],
    maxAgeSeconds: 5,
  };
  const chainOf = (config: Partial<CorsConfig> = {}): PolicyChain =>
    prepare([{ kind: 'CORS', config: { ...CONFIG, ...config } }]);
  const preflight = (origin: string): ReturnType<typeof requestHead> =>
    requestHead(
      new Fields(
        ['Origin', 'Access-Control-Request-Method', 'Access-Control-Request-Headers'],
        [origin, 'DELETE', 'x-asked'],
      ),
      { method: 'OPTIONS' },
    );
  const permissions = (decision: Decision): Record<string, string> => Object.fromEntries(answerOf(decision).headers);

  test('a preflight of an allowed origin is answered with what it may do', () => {
    const answer = answerOf(ask(chainOf(), preflight('https://shop.example')));
    expect(answer.status).toBe(200);
    expect(permissions(answer)).toEqual({
      vary: 'Origin',
      'access-control-allow-origin': 'https://shop.example',
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, PUT',
      'access-control-allow-headers': 'x-one, x-two',
      'access-control-expose-headers': 'x-trace',
      'access-control-max-age': '5',
    });
  });

  test.each([
    'https://evil.example',
    'http://shop.example',
    'https://shop.example.evil',
    'https://trusted.example',
    'https://.trusted.example.evil',
    'https://a.trusted.example:8080',
    'https://evil.example/.trusted.example',
    'null',
  ])('a preflight of the origin %s gets no permission', (origin) => {
    expect(permissions(ask(chainOf(), preflight(origin)))).toEqual({ vary: 'Origin' });
  });

  test.each(['https://a.trusted.example', 'https://a.b.trusted.example', 'HTTPS://A.Trusted.Example'])(
    'the wildcard covers the origin %s',
    (origin) => {
      expect(permissions(ask(chainOf(), preflight(origin)))['access-control-allow-origin']).toBe(origin);
    },
  );

  test('a dot in an allowed origin is a dot', () => {
    const answer = ask(chainOf({ allowOrigins: ['https://a.example'] }), preflight('https://axexample'));
    expect(permissions(answer)).toEqual({ vary: 'Origin' });
  });

  test.each([
    ['https://foo.example:443', 'https://foo.example'],
    ['http://foo.example:80', 'http://foo.example'],
    ['https://foo.example', 'https://foo.example:443'],
    ['https://*.foo.example:443', 'https://a.foo.example'],
    ['http://*.foo.example:80', 'http://a.foo.example'],
    ['https://*:443', 'https://any.example'],
    ['http://*:80', 'http://any.example'],
    ['http://*:8080', 'http://any.example:8080'],
    ['http://*:8080', 'http://localhost:8080'],
    ['http://*:8080', 'http://[::1]:8080'],
    ['https://*', 'https://[fe80::1]'],
  ])('the allowed origin %s covers %s', (allowed, origin) => {
    const answer = ask(chainOf({ allowOrigins: [allowed] }), preflight(origin));
    expect(permissions(answer)['access-control-allow-origin']).toBe(origin);
  });

  test.each([
    ['https://foo.example:443', 'http://foo.example'],
    ['https://foo.example:443', 'https://foo.example:80'],
    ['https://foo.example:80', 'https://foo.example'],
    ['http://foo.example:443', 'http://foo.example'],
    ['http://foo.example', 'http://foo.example:8080'],
    ['https://foo.example:8443', 'https://foo.example'],
    ['https://*.foo.example:443', 'https://a.foo.example:8443'],
    ['https://*:443', 'https://any.example:8443'],
    ['http://*:8080', 'http://any.example'],
    ['http://*:8080', 'http://any.example:18080'],
    ['http://*:8080', 'http://any.example:1:8080'],
    ['http://*:8080', 'https://any.example:8080'],
    ['http://*:8080', 'http://:8080'],
    ['http://*', 'http://[::1]:8080'],
  ])('the allowed origin %s does not cover %s', (allowed, origin) => {
    expect(permissions(ask(chainOf({ allowOrigins: [allowed] }), preflight(origin)))).toEqual({ vary: 'Origin' });
  });

  test('wildcards stay wildcards without credentials', () => {
    const any = { allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'] };
    const answer = ask(chainOf({ ...any, allowCredentials: false }), preflight('https://any.example'));
    expect(permissions(answer)).toEqual({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': '*',
      'access-control-allow-headers': '*',
      'access-control-expose-headers': '*',
      'access-control-max-age': '5',
    });
  });

  test('wildcards become what was asked for where credentials are allowed', () => {
    const any = { allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'] };
    expect(permissions(ask(chainOf(any), preflight('https://any.example')))).toMatchObject({
      'access-control-allow-origin': 'https://any.example',
      'access-control-allow-methods': 'DELETE',
      'access-control-allow-headers': 'x-asked',
    });
  });

  test('OPTIONS without a requested method and requests without an origin go on', () => {
    const options = requestHead(new Fields(['Origin'], ['https://shop.example']), { method: 'OPTIONS' });
    expect(ask(chainOf(), options)).toBeUndefined();
    expect(ask(chainOf(), requestHead())).toBeUndefined();
  });

  test('a response names the allowed origin once, whatever the application said', () => {
    const request = requestHead(new Fields(['Origin'], ['https://shop.example']));
    const response = responseHead(new Fields(['Access-Control-Allow-Origin', 'Vary'], ['*', 'Accept']));
    chainOf().response(response, request, CONTEXT);
    expect(response.fields.getAll('access-control-allow-origin')).toEqual(['https://shop.example']);
    expect(response.fields.get('access-control-allow-credentials')).toBe('true');
    expect(response.fields.get('access-control-expose-headers')).toBe('x-trace');
    expect(response.fields.getAll('vary')).toEqual(['Accept', 'Origin']);
  });

  test('a response to another origin carries no permission, not even the application’s', () => {
    const request = requestHead(new Fields(['Origin'], ['https://evil.example']));
    const response = responseHead(new Fields(['Access-Control-Allow-Origin', 'Vary'], ['*', 'origin']));
    chainOf().response(response, request, CONTEXT);
    expect(response.fields.wire).toBe('Vary: origin\r\n');
  });

  test.each([
    ['X-Original-Url', 'vary: X-Original-Url, vary: Origin'],
    ['Original, Access-Control-Allow-Origin', 'vary: Original, Access-Control-Allow-Origin, vary: Origin'],
    ['Accept,  ORIGIN ', 'vary: Accept,  ORIGIN '],
    ['Accept, *', 'vary: Accept, *'],
    ['*', 'vary: *'],
  ])('a response that says Vary: %s leaves as %s', (vary, expected) => {
    const response = responseHead(new Fields(['vary'], [vary]));
    chainOf().response(response, requestHead(), CONTEXT);
    expect(response.fields.names.map((name, i) => `${name}: ${response.fields.values[i]}`).join(', ')).toBe(expected);
  });

  test('a response to a request without an origin only tells caches that origins matter', () => {
    const response = responseHead();
    chainOf().response(response, requestHead(), CONTEXT);
    expect(response.fields.wire).toBe('vary: Origin\r\n');
  });
});
