import { spawn } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { LogOutput } from '../../../proxy/telemetry/log-output.ts';
import { ManualClock, systemClock } from '../../../shared/clock.ts';
import { Folder } from '../../support/policy.ts';

function folder(): Folder {
  const made = new Folder('weft-log-');
  onTestFinished(() => made.remove());
  return made;
}

function opened(path: string, flags: string | number): number {
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** A pipe that both ends of are open, of which nobody reads. */
async function stuckPipe(path: string): Promise<{ readFd: number; writeFd: number }> {
  const made = spawn('mkfifo', [path]);
  await new Promise((resolve) => made.once('close', resolve));
  const readFd = opened(path, constants.O_RDWR | constants.O_NONBLOCK);
  return { readFd, writeFd: opened(path, constants.O_WRONLY | constants.O_NONBLOCK) };
}

test('what is written comes out whole and in order, and each piece is given back once', async () => {
  const path = join(folder().path, 'log');
  const output = new LogOutput(opened(path, 'w'), systemClock);
  const given: number[] = [];
  let expected = '';
  for (let at = 0; at < 3000; at++) {
    const line = `${at} ${'x'.repeat(at % 200)}\n`;
    expected += line;
    output.write(Buffer.from(line), () => given.push(at));
  }
  await output.flushed();
  expect(readFileSync(path, 'latin1')).toBe(expected);
  expect(given).toEqual([...Array(3000).keys()]);
  expect(output.dropped).toBe(0);
});

test('a pipe that takes a part is written on where it stopped, when it takes more', async () => {
  const { readFd, writeFd } = await stuckPipe(join(folder().path, 'pipe'));
  const clock = new ManualClock(0);
  const output = new LogOutput(writeFd, clock);
  const sent = Buffer.from(Array.from({ length: 30_000 }, (_, at) => `${at}\n`).join(''));
  output.write(sent.subarray(0, 100_000));
  output.write(sent.subarray(100_000));
  let done = false;
  void output.flushed().then(() => (done = true));
  const parts: Buffer[] = [];
  for (let length = 0; length < sent.length; ) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(100);
    const part = Buffer.alloc(70_000);
    const read = readSome(readFd, part);
    length += read;
    parts.push(part.subarray(0, read));
  }
  await expect.poll(() => done, { timeout: 10_000 }).toBe(true);
  expect(Buffer.concat(parts).equals(sent)).toBe(true);
});

/** As many bytes as there are now. */
function readSome(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into, 0, into.length, null);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}

test('what nobody reads is dropped beyond 16 MiB and counted, and given back', async () => {
  const { writeFd } = await stuckPipe(join(folder().path, 'pipe'));
  const clock = new ManualClock(0);
  const retries = vi.spyOn(clock, 'after');
  const output = new LogOutput(writeFd, clock);
  let given = 0;
  for (let at = 0; at < 300; at++) output.write(Buffer.alloc(64 * 1024), () => given++);
  expect(output.dropped).toBe(44);
  expect(given).toBeGreaterThanOrEqual(44);
  // Only then is nobody writing any more: the number of the descriptor soon belongs to another file.
  await expect.poll(() => retries.mock.calls.length).toBe(1);
});

test('a reader that has gone costs the lines that were for it, and no error', async () => {
  const path = join(folder().path, 'log');
  const readOnly = opened('/dev/null', 'r');
  const output = new LogOutput(readOnly, systemClock);
  output.write(Buffer.from('lost\n'));
  await output.flushed();
  expect(output.dropped).toBe(1);
  const other = new LogOutput(opened(path, 'w'), systemClock);
  other.write(Buffer.from('kept\n'));
  await other.flushed();
  expect(readFileSync(path, 'latin1')).toBe('kept\n');
});
