import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VERSION } from '../../proxy/version.ts';
import { importsOf } from '../support/imports.ts';
import { olderNodes, stripFlags } from '../support/nodes.ts';
import { skip } from '../support/skips.ts';

const main = join(import.meta.dirname, '../../proxy/main.ts');

test('an older Node that strips types is refused with one sentence before anything else is loaded', () => {
  const old = olderNodes().find((node) => stripFlags(node) !== null);
  if (old === undefined) skip('no Node between 22.6 and 26.9 on PATH');
  const args = [...(stripFlags(old) ?? []), '--no-warnings', main, 'proxy', '--help'];
  const { status, stdout, stderr } = spawnSync(old.path, args, { encoding: 'utf8' });
  expect(stderr).toMatch(/^weft needs Node 26\.10 or later, this is [0-9.]+: [^\n]+\n$/);
  expect(stdout).toBe('');
  expect(status).toBe(1);
});

test('weft --version prints the version and nothing else', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, '--version'], { encoding: 'utf8' });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${VERSION}\n`, stderr: '' });
});

test('main.ts imports nothing before its check of the version that an older Node could lack', () => {
  const early = importsOf(readFileSync(main, 'utf8')).filter((imported) => !imported.dynamic && !imported.typeOnly);
  expect(early.map((imported) => imported.specifier)).toEqual(['node:worker_threads']);
});
