import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FAILURES } from '../../../shared/errors.ts';

const root = join(import.meta.dirname, '../../..');

/** The text of every source that could meet a failure. */
function sources(): string[] {
  return ['proxy', 'certs', 'shared']
    .flatMap((top) =>
      readdirSync(join(root, top), { recursive: true, encoding: 'utf8' }).map((file) => join(top, file)),
    )
    .filter((file) => file.endsWith('.ts') && file !== 'shared/errors.ts')
    .map((file) => readFileSync(join(root, file), 'utf8'));
}

test('every row of the table is one that something can meet', () => {
  const text = sources().join('\n');
  const dead = Object.keys(FAILURES).filter((name) => !new RegExp(`FAILURES\\.${name}\\b|'${name}'`).test(text));
  expect(dead).toEqual([]);
});

test('no two rows have the same word, and each tells what to check next', () => {
  const rows = Object.values(FAILURES);
  expect(new Set(rows.map(({ word }) => word)).size).toBe(rows.length);
  expect(rows.filter(({ advice }) => advice === '')).toEqual([]);
});
