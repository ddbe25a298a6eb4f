/** A vitest of its own for the tests of reporters: one file of the given text, reported by one reporter alone. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT: string = join(import.meta.dirname, '../..');

/** Runs `text` as `sample.test.ts`; `reporter` is a path from the root of the project, `options` go to vitest. */
export async function runInner(
  reporter: string,
  text: string,
  ...options: string[]
): Promise<{ code: number; output: string }> {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, '.cache/inner-run-'));
  writeFileSync(join(folder, 'sample.test.ts'), text);
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--root', folder, '--reporter', reporter];
  try {
    return await new Promise((resolve) => {
      execFile(process.execPath, [...vitest, ...options], { cwd: ROOT }, (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr });
      });
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
