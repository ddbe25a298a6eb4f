import { describe, expect, test, vi } from 'vitest';
import type { HttpMatchSpec } from '../../../proxy/config/snapshot.ts';
import { Fields } from '../../../proxy/http/message.ts';
import { loadExpressions } from '../../../proxy/policy/expression.ts';
import { type RouteMatch, RouteTable } from '../../../proxy/policy/route.ts';

await loadExpressions();

const ANY: Omit<RouteMatch, 'path'> = { method: null, headers: [], query: [] };

function exact(value: string, more: Partial<RouteMatch> = {}): RouteMatch {
  return { ...ANY, path: { type: 'Exact', value }, ...more };
}

function prefix(value: string, more: Partial<RouteMatch> = {}): RouteMatch {
  return { ...ANY, path: { type: 'PathPrefix', value }, ...more };
}

/** Each match is its own target's name by place: the answer is that place, or null. */
function lookup(matches: readonly RouteMatch[], method: string, path: string, fields = new Fields()): number | null {
  return new RouteTable(matches.map((match, target) => ({ match, target }))).lookup(method, path, fields);
}

describe('paths', () => {
  test.each([
    ['/foo', '/foo', true],
    ['/foo', '/foo/', true],
    ['/foo', '/foo/bar', true],
    ['/foo', '/foobar', false],
    ['/foo', '/fo', false],
    ['/foo/', '/foo', true],
    ['/foo/', '/foo/bar', true],
    ['/foo/', '/foobar', false],
    ['/', '/anything/at/all', true],
    ['/', '/', true],
    ['/', '*', true],
    ['/', '', true],
    ['/foo', '/FOO', false],
    ['/a/b', '/a/b?x=/c', true],
    ['/a/b', '/a?x=/b', false],
    ['/foo', '/foo?x', true],
    ['/foo', '//foo', false],
  ])('the prefix %s says of the path %s: %s', (value, path, expected) => {
    expect(lookup([prefix(value)], 'GET', path) === 0).toBe(expected);
  });

  test('an exact path matches itself with any query and nothing else', () => {
    expect(lookup([exact('/foo')], 'GET', '/foo?a=b')).toBe(0);
    expect(lookup([exact('/foo')], 'GET', '/foo/')).toBeNull();
    expect(lookup([exact('/foo/')], 'GET', '/foo')).toBeNull();
  });

  test('an exact path wins over a prefix and a longer prefix over a shorter one, whatever their order', () => {
    const matches = [prefix('/'), prefix('/a'), prefix('/a/b'), exact('/a/b')];
    expect(lookup(matches, 'GET', '/a/b')).toBe(3);
    expect(lookup(matches, 'GET', '/a/b/c')).toBe(2);
    expect(lookup(matches, 'GET', '/a/c')).toBe(1);
    expect(lookup(matches, 'GET', '/c')).toBe(0);
  });

  test('a more specific path whose other conditions fail gives way to the next less specific one', () => {
    const matches = [exact('/a/b', { method: 'POST' }), prefix('/a/b', { method: 'PUT' }), prefix('/a')];
    expect(lookup(matches, 'GET', '/a/b')).toBe(2);
    expect(lookup(matches, 'PUT', '/a/b')).toBe(1);
    expect(lookup(matches, 'POST', '/a/b')).toBe(0);
  });

  test('nothing fits where no prefix covers the path', () => {
    expect(lookup([prefix('/a')], 'GET', '/b')).toBeNull();
    expect(lookup([], 'GET', '/b')).toBeNull();
  });

  test('a path named like a property of every object is only a path', () => {
    expect(lookup([prefix('/__proto__')], 'GET', '/constructor')).toBeNull();
    expect(lookup([exact('/__proto__')], 'GET', '/__proto__')).toBe(0);
  });
});

describe('methods, headers and query', () => {
  const header = (name: string, value: string): Partial<RouteMatch> => ({ headers: [{ name, type: 'Exact', value }] });
  const query = (name: string, value: string): Partial<RouteMatch> => ({ query: [{ name, type: 'Exact', value }] });

  test('within one path the first entry that fits decides', () => {
    const matches = [prefix('/', { method: 'GET' }), prefix('/', header('x-env', 'dev')), prefix('/')];
    const fields = new Fields(['X-Env'], ['dev']);
    expect(lookup(matches, 'GET', '/', fields)).toBe(0);
    expect(lookup(matches, 'POST', '/', fields)).toBe(1);
    expect(lookup(matches, 'POST', '/')).toBe(2);
  });

  test('methods are told apart by case', () => {
    expect(lookup([prefix('/', { method: 'GET' })], 'get', '/')).toBeNull();
  });

  test('header names match in any case and values only in theirs', () => {
    const matches = [prefix('/', header('x-role', 'User'))];
    expect(lookup(matches, 'GET', '/', new Fields(['X-ROLE'], ['User']))).toBe(0);
    expect(lookup(matches, 'GET', '/', new Fields(['x-role'], ['user']))).toBeNull();
  });

  test('a header that stands twice counts as its values joined by a comma', () => {
    const twice = new Fields(['x-role', 'X-Role'], ['user', 'admin']);
    expect(lookup([prefix('/', header('x-role', 'user'))], 'GET', '/', twice)).toBeNull();
    expect(lookup([prefix('/', header('x-role', 'user,admin'))], 'GET', '/', twice)).toBe(0);
  });

  test('every header of an entry must fit', () => {
    const both: Partial<RouteMatch> = {
      headers: [
        { name: 'a', type: 'Exact', value: '1' },
        { name: 'b', type: 'Exact', value: '2' },
      ],
    };
    expect(lookup([prefix('/', both)], 'GET', '/', new Fields(['a', 'b'], ['1', '2']))).toBe(0);
    expect(lookup([prefix('/', both)], 'GET', '/', new Fields(['a'], ['1']))).toBeNull();
  });

  test.each([
    ['/?version=2', true],
    ['/?a=b&version=2', true],
    ['/?version=1&version=2', false],
    ['/?version=2&version=1', true],
    ['/?Version=2', false],
    ['/?ver%73ion=%32', true],
    ['/?version', false],
    ['/?&&version=2&&', true],
    ['/?version=2%', false],
    ['/?version=+2', false],
    ['/', false],
    ['/version=2', false],
  ])('the query match version=2 says of %s: %s', (path, expected) => {
    expect(lookup([prefix('/', query('version', '2'))], 'GET', path) === 0).toBe(expected);
  });

  test('a query parameter with a broken escape is compared as it was sent', () => {
    expect(lookup([prefix('/', query('q', '50%'))], 'GET', '/?q=50%')).toBe(0);
  });
});

describe('regular expressions', () => {
  const expression = (value: string, more: Partial<RouteMatch> = {}): RouteMatch => ({
    ...ANY,
    path: { type: 'RegularExpression', value },
    ...more,
  });

  test.each([
    ['/a.*', '/abc', true],
    ['/a.*', '/abc?x=/b', true],
    ['/a', '/ab', false],
    ['a', '/a', false],
    ['/(?i)API/v[0-9]+', '/api/v12', true],
    ['/a|/b', '/b', true],
    ['/a|/b', '/bb', false],
  ])('the expression %s says of the whole path %s: %s', (value, path, expected) => {
    expect(lookup([expression(value)], 'GET', path) === 0).toBe(expected);
  });

  test('rank after every prefix, in the order given, each with its own conditions', () => {
    const matches = [expression('/a.*', { method: 'PUT' }), expression('/.*'), prefix('/ab'), expression('/abc')];
    expect(lookup(matches, 'GET', '/ab')).toBe(2);
    expect(lookup(matches, 'PUT', '/abc')).toBe(0);
    expect(lookup(matches, 'GET', '/abc')).toBe(1);
  });

  test('match whole values of headers and query parameters, and not absent ones', () => {
    const wanted = [{ name: 'x', type: 'RegularExpression', value: '[0-9]*' }] as const;
    const inHeader = [prefix('/', { headers: wanted })];
    expect(lookup(inHeader, 'GET', '/', new Fields(['X'], ['42']))).toBe(0);
    expect(lookup(inHeader, 'GET', '/', new Fields(['X'], ['42a']))).toBeNull();
    expect(lookup(inHeader, 'GET', '/')).toBeNull();
    const inQuery = [prefix('/', { query: wanted })];
    expect(lookup(inQuery, 'GET', '/?x=42')).toBe(0);
    expect(lookup(inQuery, 'GET', '/?x=a')).toBeNull();
    expect(lookup(inQuery, 'GET', '/?y=1')).toBeNull();
  });

  test('that cannot be compiled end the making of the table', () => {
    expect(() => new RouteTable([{ match: expression('('), target: 0 }])).toThrow('missing closing )');
  });
});

test('the table takes the matches of a snapshot as they are', () => {
  const spec: HttpMatchSpec = { path: { type: 'Exact', value: '/x' }, method: 'GET', headers: [], query: [] };
  expect(new RouteTable([{ match: spec, target: 'x' }]).lookup('GET', '/x', new Fields())).toBe('x');
});

test('a path of 16 KiB of slashes costs no more probes than the longest prefix has characters', () => {
  const table = new RouteTable([{ match: prefix('/a/b/c'), target: 0 }]);
  const probes = vi.spyOn(Map.prototype, 'get');
  table.lookup('GET', '/'.repeat(16_384), new Fields());
  const count = probes.mock.calls.length;
  probes.mockRestore();
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThanOrEqual('/a/b/c'.length + 1);
});

describe('a gRPC method of any service', () => {
  const method = (value: string, more: Partial<RouteMatch> = {}): RouteMatch => {
    return { ...ANY, path: { type: 'AnyService', value }, ...more };
  };

  test.each([
    ['/shop.Catalog/Get', true],
    ['/other/Get', true],
    ['/shop.Catalog/get', false],
    ['/shop.Catalog/GetAll', false],
    ['/shop.Catalog/Get/more', false],
    ['/Get', false],
    ['//Get', false],
    ['/shop.Catalog/', false],
  ])('Get is called by %s: %s', (path, expected) => {
    expect(lookup([method('Get')], 'POST', path) === 0).toBe(expected);
  });

  test('comes after a service and its method, and a service, and before what takes everything', () => {
    const matches = [prefix('/'), method('Get'), prefix('/x.Y'), exact('/x.Y/Get')];
    const found = ['/x.Y/Get', '/x.Y/Put', '/a.B/Get', '/a.B/Put'].map((path) => lookup(matches, 'POST', path));
    expect(found).toEqual([3, 2, 1, 0]);
    expect(lookup([prefix('/x.Y'), method('Get')], 'POST', '/x.Y/Get')).toBe(0);
  });

  test('with a header that is missing leaves the call to what comes after', () => {
    const matches = [method('Get', { headers: [{ name: 'x-a', type: 'Exact', value: '1' }] }), prefix('/')];
    expect(lookup(matches, 'POST', '/a.B/Get')).toBe(1);
  });
});
