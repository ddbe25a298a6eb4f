import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
mkdirSync(join(root, '.cache'), { recursive: true });
const folder = mkdtempSync(join(root, '.cache/skips-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a test file of this text in a vitest of its own, reported by skips.ts alone. */
function report(text: string, ...options: string[]): Promise<{ code: number; output: string }> {
  writeFileSync(join(folder, 'sample.test.ts'), text);
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--root',
    folder,
    '--reporter',
    'test/support/skips.ts',
    ...options,
  ];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr });
    });
  });
}

test('a run names each skipped test under its reason and succeeds', async () => {
  const { code, output } = await report(`
    import { expect, test } from 'vitest';
    import { skip } from '${root}/test/support/skips.ts';
    test('needs a peer', () => skip('nginx is not installed'));
    test('needs the same peer', () => skip('nginx is not installed'));
    test('needs nothing', () => expect(1).toBe(1));
  `);
  expect(output).toContain(
    'skipped: nginx is not installed\n  sample.test.ts > needs a peer\n  sample.test.ts > needs the same peer\n',
  );
  expect(output).not.toContain('needs nothing');
  expect(code).toBe(0);
});

test('a run fails if a test is skipped without a reason, unless a name pattern left it out', async () => {
  const text = `import { test } from 'vitest'; test.skip('silently left out', () => undefined); test('runs', () => undefined);`;
  const silent = await report(text);
  expect(silent.output).toContain('skipped without a reason');
  expect(silent.output).toContain('silently left out');
  expect(silent.code).toBe(1);
  const filtered = await report(text, '-t', 'runs');
  expect(filtered.output).not.toContain('silently left out');
  expect(filtered.code).toBe(0);
});
