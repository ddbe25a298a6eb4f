import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'weft-setup-'));
afterAll(() => rmSync(folder, { recursive: true }));
for (const tool of ['sh', 'dirname', 'cat', 'mkdir', 'touch', 'sleep']) {
  symlinkSync(execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim(), join(folder, tool));
}

/** Runs the install script where `npm` is a program that prints this, or is not there at all. */
function setup(npm: string | null): { code: number | null; output: string } {
  if (npm !== null) {
    writeFileSync(join(folder, 'npm'), `#!/bin/sh\necho '${npm}'\n`);
    chmodSync(join(folder, 'npm'), 0o755);
  }
  const { status, stdout, stderr } = spawnSync(join(root, '.ci/setup'), {
    cwd: folder,
    env: { PATH: folder },
    encoding: 'utf8',
  });
  return { code: status, output: stdout + stderr };
}

test.each([
  [
    'a host without npm',
    null,
    'setup: npm is missing; install Node (any recent version brings npm) and run make again.\n',
  ],
  [
    'an npm that is too old',
    '6.14.18',
    'setup: npm 6.14.18 is too old; npm 9 or later is needed (npm install --global npm).\n',
  ],
  ['an npm that answers nonsense', 'oops', "setup: npm --version answers 'oops', which is no version number.\n"],
])('%s is told in a sentence before anything is installed', (_case, npm, sentence) => {
  expect(setup(npm)).toEqual({ code: 1, output: sentence });
});

test('the pinned Node is the one that runs this, and the one package.json asks for', () => {
  const { dependencies, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: { node: string };
    engines: { node: string };
  };
  expect(process.version).toBe(`v${dependencies.node}`);
  expect(engines.node).toBe(`>=${dependencies.node}`);
});

test('make lists every target that the contract names', () => {
  const help = execFileSync('make', ['--no-print-directory', 'help'], { cwd: root, encoding: 'utf8' });
  const targets = 'setup demo test check bench bench-quick faults fuzz schemas build image clean help'.split(' ');
  expect(targets.filter((target) => !help.includes(`make ${target} `))).toEqual([]);
});
