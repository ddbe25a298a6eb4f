import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lint } from '../../../proxy/answers/lint.ts';
import { testFolder } from '../../../proxy/answers/test-cli.ts';
import { compile } from '../../../proxy/config/compile.ts';
import { decodeFiles } from '../../../proxy/config/decode.ts';
import type { Snapshot } from '../../../proxy/config/snapshot.ts';
import { formatProblem } from '../../../shared/problem.ts';

const FOLDER = join(import.meta.dirname, '../../../deploy/examples');
const GOLDEN = join(import.meta.dirname, '../../config/snapshots');
const SELF = { namespace: 'shop', labels: { app: 'inventory' }, serviceAccount: 'default' };

function files(...names: string[]): { path: string; text: string }[] {
  return names.map((path) => ({ path, text: readFileSync(join(FOLDER, path), 'utf8') }));
}

function loaded(...names: string[]): Snapshot {
  const { snapshot, problems } = compile(files(...names), SELF);
  expect(problems).toEqual([]);
  if (snapshot === null) throw new Error('refused without a problem');
  return snapshot;
}

const YAML = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'));
const EXAMPLES = YAML.filter((name) => !name.endsWith('.test.yaml'));

describe('the example policies', () => {
  it.each(EXAMPLES)('%s loads without problems or warnings', (name) => {
    const snapshot = loaded(name);
    expect(lint(decodeFiles(files(name)).documents, SELF, snapshot)).toEqual([]);
  });

  it.each(EXAMPLES)('%s compiles to the snapshot kept beside it (vitest -u renews it)', async (name) => {
    const golden = join(GOLDEN, name.replace('.yaml', '.snapshot'));
    await expect(`${JSON.stringify(loaded(name), null, 1)}\n`).toMatchFileSnapshot(golden);
  });

  it('load together, which is how a folder of them would', () => {
    expect(loaded(...EXAMPLES).services.length).toBeGreaterThanOrEqual(9);
  });

  it('are all named in their README', () => {
    const readme = readFileSync(join(FOLDER, 'README.md'), 'utf8');
    for (const name of YAML) expect(readme).toContain(`\`${name}\``);
  });

  it('pass the policy tests beside them', async () => {
    const { passed, failed, problems } = await testFolder(FOLDER, SELF);
    expect(problems.map(formatProblem)).toEqual([]);
    expect([passed, failed]).toEqual([11, 0]);
  });

  it('the one of the mesh says nothing but the defaults', () => {
    expect(loaded('mesh.yaml').mesh).toEqual(compile([], SELF).snapshot?.mesh);
  });

  it('the canary splits 90 to 10 and sends testers to v2', () => {
    const port = loaded('canary.yaml').services.find(({ name }) => name === 'catalog')?.ports[0];
    expect(port?.entries.map(({ rule }) => port.rules[rule]?.name)).toEqual([
      'shop/catalog/testers',
      'shop/catalog/everybody',
    ]);
    expect(port?.rules[1]?.backends).toEqual([
      { cluster: 'shop/catalog-v1:80', weight: 90, filters: [], mirrors: [] },
      { cluster: 'shop/catalog-v2:80', weight: 10, filters: [], mirrors: [] },
    ]);
  });

  it('the migration leaves one port of inventory without mutual TLS', () => {
    expect(loaded('migration.yaml').inbound).toEqual({ mode: 'STRICT', portModes: { 9090: 'DISABLE' } });
  });
});
