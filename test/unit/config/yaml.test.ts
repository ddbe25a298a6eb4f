import { describe, expect, it, test } from 'vitest';
import { parseYaml } from '../../../proxy/config/yaml.ts';

/** The value of the one document in a text that has no faults. */
function valueOf(text: string): unknown {
  const [document, ...more] = parseYaml(text);
  expect(more).toEqual([]);
  expect(document?.faults).toEqual([]);
  return document?.value;
}

function faultsOf(text: string): string[] {
  return parseYaml(text).flatMap(({ faults }) => faults.map(({ offset, message }) => `${offset}: ${message}`));
}

describe('YAML is read by the core schema of version 1.2', () => {
  it.each([
    ['yes', 'yes'],
    ['off', 'off'],
    ['True', true],
    ['~', null],
    ['017', 17],
    ['0o17', 15],
    ['0x1f', 31],
    ['1_000', '1_000'],
    ['12:30', '12:30'],
    ['2026-01-01', '2026-01-01'],
    ['1.10', 1.1],
    ['"1.10"', '1.10'],
    ['!!str 1.10', '1.10'],
    ['.inf', Number.POSITIVE_INFINITY],
  ])('%s', (text, value) => {
    expect(valueOf(`a: ${text}\n`)).toEqual({ a: value });
  });
});

describe('a merge key', () => {
  it('yields to the own keys wherever they stand, the first source wins, and a list is several', () => {
    const text = 'a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {x: 3, <<: [*a, *b], z: 3}\nd: {<<: *b, <<: *a}\n';
    expect(valueOf(text)).toMatchObject({ c: { x: 3, y: 1, z: 3 }, d: { x: 1, y: 2, z: 2 } });
  });

  it('in quotes is a key like any other', () => {
    expect(valueOf('"<<": 1\n')).toEqual({ '<<': 1 });
  });

  it('points back to where its fields are written', () => {
    const text = 'a: &a {x: 10}\nb:\n  <<: *a\n';
    const [document] = parseYaml(text);
    expect(document?.offsetOf(['b', 'x'])).toBe(text.indexOf('10'));
    expect(document?.offsetOf(['b', 'x'], 'key')).toBe(text.indexOf('x'));
  });
});

describe('is a fault, with its place:', () => {
  it.each([
    ['a key that stands twice', 'a: 1\na: 2\n', '5: "a" stands here twice'],
    ['the same after it was read', '1: a\n"1": b\n', '5: "1" stands here twice'],
    ['an alias without its anchor', 'a: *x\nb: &x 1\n', '3: the anchor of *x does not stand before it'],
    ['an alias of what it stands in', 'a: &x [*x]\n', '7: *x stands inside of what it repeats'],
    ['a map as a key', '{a: 1}: b\n', '0: a map or list is no key'],
    ['merging what is no map', 'a: &x 1\nb: {<<: *x}\n', '16: << takes a map, or a list of maps'],
    ['a tag that nobody knows', 'a: !secret b\n', '3: the tag !secret is not known here'],
    ['a tag for something else', 'a: !!map [b]\n', '3: the tag !!map is not known here'],
    ['%TAG', '%TAG !! tag:example.com,2026:\n---\na: 1\n', '0: %TAG is not supported'],
    ['what is no YAML', 'a: [1\nb: 2\n', expect.stringMatching(/^\d+: /)],
  ])('%s', (_case, text, fault) => {
    expect(faultsOf(text)).toEqual([fault]);
  });
});

test('field names that JavaScript knows are fields like any other', () => {
  const value = valueOf('__proto__: {a: 1}\nconstructor: 2\n') as Record<string, unknown>;
  expect(Object.entries(value)).toEqual([
    ['__proto__', { a: 1 }],
    ['constructor', 2],
  ]);
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
});

test('a value is pointed at itself, a map or list at its key, what is absent at what is around it', () => {
  const text = '# first\na:\n  b: {c: "d"}\n  e:\n  - f\n  - g: h\n';
  const [document] = parseYaml(text);
  const at = (...path: (string | number)[]): string => text.slice(document?.offsetOf(path)).split(/[\n,}]/, 1)[0] ?? '';
  expect(at()).toBe('a:');
  expect(at('a')).toBe('a:');
  expect(at('a', 'b')).toBe('b: {c: "d"');
  expect(at('a', 'b', 'c')).toBe('"d"');
  expect(at('a', 'e', 0)).toBe('f');
  expect(at('a', 'e', 1)).toBe('g: h');
  expect(at('a', 'e', 7)).toBe('e:');
  expect(at('a', 'x', 'y')).toBe('a:');
});

test('aliases are counted with those in what they repeat', () => {
  const [document] = parseYaml('a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n');
  expect(document?.aliases).toBe(2 + 2 * 3);
});

test('merge keys cannot write out more than a document may hold', () => {
  const fields = Array.from({ length: 2_000 }, (_, i) => `k${i}: 1`).join(', ');
  const merges = Array.from({ length: 130 }, () => '- <<: *a\n').join('');
  expect(() => parseYaml(`a: &a {${fields}}\nb:\n${merges}`)).toThrow(RangeError);
});
