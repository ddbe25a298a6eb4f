/** weft's reading of YAML against another library's: what both take must mean the same, and stand at the same places. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, stringify } from 'yaml';
import { parseYaml } from '../../proxy/config/yaml.ts';

const ROOT = join(import.meta.dirname, '../..');
const RUNS = { numRuns: 250, seed: 20_260_102 };

function otherDocuments(text: string): Document[] {
  const documents = parseAllDocuments(text, {
    prettyErrors: false,
    logLevel: 'silent',
    merge: true,
    uniqueKeys: true,
    lineCounter: new LineCounter(),
    version: '1.2',
  });
  return 'empty' in documents ? [] : documents;
}

/** The documents' values, or null if there is anything wrong. An empty document is left out: weft has nothing to read there. */
function ours(text: string): unknown[] | null {
  const documents = parseYaml(text);
  if (documents.some(({ faults }) => faults.length > 0)) return null;
  return documents.map(({ value }) => value).filter((value) => value !== null && value !== undefined);
}

function theirs(text: string): unknown[] | null {
  const documents = otherDocuments(text);
  if (documents.some(({ errors, warnings }) => errors.length + warnings.length > 0)) return null;
  try {
    return documents
      .map((document) => document.toJS({ maxAliasCount: -1 }) as unknown)
      .filter((value) => value !== null && value !== undefined);
  } catch {
    return null;
  }
}

/** Counts where both take a text: an assertion that never compares would prove nothing. */
function agree(texts: fc.Arbitrary<string>, atLeast: number): void {
  let compared = 0;
  fc.assert(
    fc.property(texts, (text) => {
      const [a, b] = [ours(text), theirs(text)];
      if (a === null || b === null) return;
      compared++;
      expect(a).toEqual(b);
    }),
    RUNS,
  );
  expect(compared).toBeGreaterThan(atLeast);
}

const SCALARS = [
  'yes',
  'no',
  'on',
  'off',
  'y',
  'n',
  'True',
  'FALSE',
  'true',
  'null',
  'Null',
  '~',
  'nil',
  'NaN',
  '.nan',
  '.inf',
  '-.INF',
  '0',
  '-0',
  '+1',
  '0o17',
  '017',
  '0x1F',
  '0b11',
  '1_000',
  '1e3',
  '1.',
  '.5',
  '1.5e-3',
  '12:30:45',
  '2026-01-01',
  '1.10',
  '--1',
  "'it''s'",
  '"a\\tb\\u0041\\x41"',
  '"line\\\n  more"',
  'http://a/b#c',
  'a b  c',
  'a #b',
  'x:y',
  '@a',
  '%a',
  '`a',
  '!',
  '&',
  '*',
  '{a: 1, "b": [x, y]}',
  '[1, two, {c: d}]',
  '[a: 1, b]',
  '{a, b: }',
  '{}',
  '[]',
  '{"a":1}',
  '- a',
  '|\n    lit\n     more\n',
  '>-\n    fold\n    ed\n\n    end',
  '&x foo',
  '!!str 12',
  '! 12',
  'multi\n    line plain',
  "'multi\n\n    line'",
  '',
  '"',
  "'",
  '[',
  '{',
];
const scalar = fc.constantFrom(...SCALARS);
const key = fc.constantFrom('a', 'b', '"c"', "'d'", '1', '0x2', 'true', '~', '<<', '? e', 'f g', '', '1.0');
const indent = fc.constantFrom('', '  ', '    ', '\t', ' ');
const line = fc.oneof(
  fc.tuple(indent, key, scalar).map(([space, name, value]) => `${space}${name}: ${value}\n`),
  fc.tuple(indent, scalar).map(([space, value]) => `${space}- ${value}\n`),
  fc.tuple(indent, key).map(([space, name]) => `${space}${name}:\n`),
  fc.tuple(indent, key, scalar).map(([space, name, value]) => `${space}- ${name}: ${value}\n`),
  fc.constantFrom(
    '# note\n',
    '\n',
    '---\n',
    '  # note\n',
    'a: &x {b: 1}\n',
    'c: *x\n',
    '<<: *x\n',
    'd: {<<: *x, b: 2}\n',
    '---\r\n',
    'a: b\r\n',
  ),
);
const lines = fc.array(line, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));

describe('a text that both libraries take', () => {
  it('means the same, scalar by scalar', () => {
    for (const value of SCALARS) {
      for (const text of [
        `a: ${value}\n`,
        `- ${value}\n`,
        `${value}\n`,
        `[${value}]\n`,
        `{k: ${value}}\n`,
        `${value}: v\n`,
      ]) {
        const [a, b] = [ours(text), theirs(text)];
        if (a !== null && b !== null) expect(a, text).toEqual(b);
      }
    }
  });

  it('means the same, however its lines are put together', () => {
    agree(lines, 40);
  });

  it('means the same as JSON, and as block YAML of the same values', () => {
    const values = fc.dictionary(fc.string({ maxLength: 6 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
    agree(
      values.map((value) => JSON.stringify(value, null, 1)),
      100,
    );
    agree(
      values.map((value) => stringify(value)),
      100,
    );
  });

  it('means the same with anchors, aliases and merge keys', () => {
    const source = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 3 }), { maxKeys: 3 });
    const merging = fc.record({ first: source, second: source, own: source, before: fc.boolean(), list: fc.boolean() });
    agree(
      merging.map(({ first, second, own, before, list }) => {
        const merge = list ? ['<<: [*one, *two]'] : ['<<: *one', '<<: *two'].slice(0, 1);
        const fields = Object.entries(own).map(([name, value]) => `${name}: ${value}`);
        const all = before ? [...fields, ...merge] : [...merge, ...fields];
        return `one: &one ${JSON.stringify(first)}\ntwo: &two ${JSON.stringify(second)}\nmap:\n${all.map((each) => `  ${each}\n`).join('')}again: *one\n`;
      }),
      200,
    );
  });
});

/** Every scalar of a document with its path and where it begins. */
function* places(
  node: unknown,
  path: (string | number)[] = [],
): Generator<[path: (string | number)[], offset: number]> {
  if (isScalar(node) && node.value !== null) yield [path, node.range?.[0] ?? -1];
  if (isAlias(node)) yield [path, node.range?.[0] ?? -1];
  if (isSeq(node)) for (const [i, item] of node.items.entries()) yield* places(item, [...path, i]);
  if (!isMap(node)) return;
  for (const { key: name, value } of node.items) {
    if (isScalar(name)) yield* places(value, [...path, String(name.value)]);
  }
}

function yamlFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => readFileSync(join(ROOT, folder, name), 'utf8'));
}

function goldenPolicies(): string[] {
  const folder = join(ROOT, 'test/config/problems');
  const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  return texts.flatMap((text) => [...text.matchAll(/```yaml\n([^]*?)```/g)].map(([, policy]) => policy ?? ''));
}

describe('the examples and the golden policies', () => {
  it('mean the same to both, and everything in them stands at the same place', () => {
    let compared = 0;
    for (const text of [...yamlFiles('deploy/examples'), ...goldenPolicies()]) {
      const [a, b] = [ours(text), theirs(text)];
      if (a === null || b === null) continue;
      expect(a).toEqual(b);
      const documents = parseYaml(text).filter(({ value }) => value !== null && value !== undefined);
      const others = otherDocuments(text).filter(({ contents }) => contents !== null);
      for (const [i, other] of others.entries()) {
        for (const [path, offset] of places(other.contents)) {
          if (path.some((step) => String(step).includes('<<'))) continue;
          expect(documents[i]?.offsetOf(path), `${path.join('.')} in\n${text}`).toBe(offset);
          compared++;
        }
      }
    }
    expect(compared).toBeGreaterThan(1_000);
  });

  it('are refused by one only where the other refuses them too', () => {
    for (const text of [...yamlFiles('deploy/examples'), ...goldenPolicies()]) {
      expect(ours(text) === null, text).toBe(theirs(text) === null);
    }
  });
});
