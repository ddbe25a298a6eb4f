import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { runProgram, startProgram } from '../../support/process.ts';

const node = (script: string): { command: string; args: string[] } => ({
  command: process.execPath,
  args: ['-e', script],
});

test('a line that is wanted is found whether it was printed before or comes later, on either stream', async () => {
  await using program = startProgram(node(`console.log('one'); console.error('two'); setInterval(() => 0, 1000)`));
  const two = await program.waitForLine((line) => (line === 'two' ? line : undefined));
  const one = await program.waitForLine((line) => (line === 'one' ? line.length : undefined));
  expect([one, two]).toEqual([3, 'two']);
});

test('waiting for a line of a program that ends without it fails with the output', async () => {
  const program = startProgram(node(`console.log('something else'); process.exitCode = 3`));
  await expect(program.waitForLine(() => undefined)).rejects.toThrow(/ended \(3\)[^]*something else/);
});

test('waiting for a line that does not come in time fails', async () => {
  await using program = startProgram(node(`setInterval(() => 0, 1000)`));
  await expect(program.waitForLine(() => undefined, 20)).rejects.toThrow('did not come within 20 ms');
});

test('a program that ignores SIGTERM is killed when its time is over', async () => {
  await using program = startProgram(
    node(`process.on('SIGTERM', () => 0); console.log('up'); setInterval(() => 0, 1000)`),
  );
  await program.waitForLine((line) => (line === 'up' ? line : undefined));
  expect(await program.stop('SIGTERM', 50)).toEqual({ code: null, signal: 'SIGKILL' });
});

test('leaving the scope of a program leaves no process behind', async () => {
  let pid = 0;
  {
    await using program = startProgram(node(`setInterval(() => 0, 1000)`));
    pid = program.pid;
    expect(existsSync(`/proc/${pid}`)).toBe(true);
  }
  expect(existsSync(`/proc/${pid}`)).toBe(false);
});

test('a program that does not exist ends at once, and says so when it is run to its end', async () => {
  const program = startProgram({ command: '/does/not/exist' });
  expect((await program.exit).code).toBeNull();
  expect(() => program.pid).toThrow('ENOENT');
  await expect(runProgram({ command: '/does/not/exist' })).rejects.toThrow('ENOENT');
});

test('a program that fails is reported with what it printed', async () => {
  await expect(runProgram(node(`console.error('no such luck'); process.exit(4)`))).rejects.toThrow(/4:\nno such luck/);
  expect(await runProgram(node(`console.log('done')`))).toBe('done');
});
