import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { explainSnapshot } from '../../proxy/answers/explain.ts';
import { explanationLines } from '../../proxy/answers/explain-text.ts';
import { bootstrapHelp } from '../../proxy/config/bootstrap.ts';
import { compile } from '../../proxy/config/compile.ts';
import { tableRows } from '../support/markdown.ts';

const root = join(import.meta.dirname, '../..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** Rows of the tables below a heading, cell by cell, without the table heads. */
function rows(heading: string): string[][] {
  const section = readme.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`README has no section "${heading}"`);
  return tableRows(section);
}

test('the dependency tables list what package.json lists, each with a reason', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string>
  >;
  const listed = rows('Dependencies');
  const names = [...Object.keys(dependencies), ...Object.keys(devDependencies)];
  expect(new Set(listed.map(([name]) => name?.replaceAll('`', '')))).toEqual(new Set(names));
  expect(listed).toHaveLength(names.length);
  expect(listed.filter(([, reason]) => reason === '')).toEqual([]);
});

test('the table of flags has the flags and defaults of the program', () => {
  const known = bootstrapHelp()
    .split('\n')
    .map((line) => /^ {2}--(\S+) (\S+) .*?(?: \(([^()]*)\))?$/.exec(line))
    .filter((match) => match !== null)
    .map(([, name, , fallback = 'none']) => [name, fallback.replace(' and ', ', ')]);
  const listed = rows('Flags of `weft proxy`').map(([flag, fallback]) => [
    /^`--(\S+) .*`$/.exec(flag ?? '')?.[1],
    fallback?.replaceAll('`', ''),
  ]);
  expect(known.length).toBeGreaterThan(15);
  expect(listed).toEqual(known);
});

test('the table of commands has the commands of the program', () => {
  const program = readFileSync(join(root, 'proxy/cli.ts'), 'utf8');
  const known = [...program.matchAll(/^ {2}([a-z]+): \{ about: /gm)].map(([, name]) => name);
  expect(known.length).toBeGreaterThan(5);
  const listed = rows('Commands').map(([cell]) => /^`weft ([a-z]+)/.exec(cell ?? '')?.[1]);
  expect(new Set(listed)).toEqual(new Set(known));
});

test('what the README shows of explain is what explain says of the policy to start from', async () => {
  const text = /```yaml\n(.*?)```/s.exec(readme)?.[1] ?? '';
  const self = { namespace: 'default', labels: {}, serviceAccount: 'default' };
  const { snapshot } = compile([{ path: 'start.yaml', text }], self);
  if (snapshot === null) throw new Error('the policy to start from is refused');
  const explanation = await explainSnapshot(snapshot, { method: 'GET', url: 'http://catalog/items', headers: [] });
  const shown = /\$ weft explain .*\n([^]*?)```/.exec(readme)?.[1]?.trimEnd().split('\n');
  expect(explanationLines(explanation)).toEqual(shown);
});

test('the policy to start from is valid', () => {
  const text = /```yaml\n(.*?)```/s.exec(readme)?.[1] ?? '';
  const { snapshot, problems } = compile([{ path: 'start.yaml', text }], {
    namespace: 'default',
    labels: {},
    serviceAccount: 'default',
  });
  expect(problems).toEqual([]);
  expect(snapshot?.services.map((service) => service.name)).toEqual(['catalog', 'catalog-v2']);
});

test('every make target and link in the README exists', () => {
  const makefile = readFileSync(join(root, 'Makefile'), 'utf8');
  const targets = [...readme.matchAll(/\bmake ([a-z-]+)/g)].map(([, target]) => target as string);
  expect(targets.filter((target) => !makefile.includes(`\n${target}:`))).toEqual([]);
  const links = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, link]) => link as string);
  expect(links.filter((link) => !link.startsWith('http') && !existsSync(join(root, link)))).toEqual([]);
});
