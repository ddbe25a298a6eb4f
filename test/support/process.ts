/**
 * Another program under test: started with its output captured, waited for by what it prints, and never left behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

export interface ProgramOptions {
  readonly command: string;
  readonly args?: readonly string[];
  /** Added to the environment of this process; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly cwd?: string;
  /** CPU number to run on, or a list as taskset takes it (`0-1`), all threads. */
  readonly cpu?: number | string | undefined;
  /** A file that takes both output streams instead of memory; `waitForLine` is then of no use. */
  readonly outputFile?: string | undefined;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Lines kept of a program's output; older ones are dropped. */
const KEPT_LINES = 50_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A running program. Whoever started it stops it (`stop`, `kill` or `await using`). */
export class Program implements AsyncDisposable {
  /** What it printed on both streams so far, in order of arrival. */
  readonly lines: string[] = [];
  readonly exit: Promise<Exit>;
  private readonly child: ChildProcess;
  private readonly name: string;
  private readonly watchers = new Set<(line: string) => void>();
  private ended: Exit | null = null;
  private readonly outputFile: string | undefined;

  constructor(child: ChildProcess, name: string, outputFile?: string) {
    this.child = child;
    this.name = name;
    this.outputFile = outputFile;
    running.add(child);
    this.exit = new Promise((resolve) => {
      const end = (exit: Exit): void => {
        running.delete(child);
        this.ended = exit;
        resolve(exit);
      };
      child.once('error', (error) => {
        this.take(String(error));
        end({ code: null, signal: null });
      });
      child.once('close', (code, signal) => end({ code, signal }));
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.take(line));
    }
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.name} did not start: ${this.lines.join('\n')}`);
    return this.child.pid;
  }

  /** Null while it runs. */
  get exited(): Exit | null {
    return this.ended;
  }

  get output(): string {
    return this.outputFile === undefined ? this.lines.join('\n') : readFileSync(this.outputFile, 'utf8');
  }

  /** The first line, printed already or still to come, for which `wanted` answers something other than undefined. */
  async waitForLine<T>(wanted: (line: string) => T | undefined, timeoutMs = 10_000): Promise<T> {
    for (const line of this.lines) {
      const found = wanted(line);
      if (found !== undefined) return found;
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const watch = (line: string): void => {
      const found = wanted(line);
      if (found !== undefined) resolve(found);
    };
    const fail = (why: string): void => reject(new Error(`${this.name}: ${why}; its output:\n${this.output}`));
    const timer = setTimeout(() => fail(`the line did not come within ${timeoutMs} ms`), timeoutMs);
    this.watchers.add(watch);
    void this.exit.then((exit) => fail(`ended (${exit.code ?? exit.signal}) before the line came`));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.watchers.delete(watch);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Asks it to end, and kills it when it has not within `timeoutMs`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 5_000): Promise<Exit> {
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs);
    try {
      return await this.exit;
    } finally {
      clearTimeout(timer);
    }
  }

  kill(): Promise<Exit> {
    return this.stop('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  private take(line: string): void {
    this.lines.push(line);
    if (this.lines.length > KEPT_LINES) this.lines.splice(0, KEPT_LINES / 2);
    for (const watch of this.watchers) watch(line);
  }
}

/** Starts a program. That it cannot be started shows in `exit` and `output`, as if it had ended at once. */
export function startProgram(options: ProgramOptions): Program {
  const args = [...(options.args ?? [])];
  const pinned = options.cpu === undefined ? [] : ['taskset', '-c', String(options.cpu)];
  const [command = options.command, ...rest] = [...pinned, options.command, ...args];
  const file = options.outputFile === undefined ? null : openSync(options.outputFile, 'a');
  const child = spawn(command, rest, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', file ?? 'pipe', file ?? 'pipe'],
  });
  if (file !== null) closeSync(file);
  return new Program(child, options.command, options.outputFile);
}

/** Runs a program to its end; rejects with its output unless it exits with 0. */
export async function runProgram(options: ProgramOptions, timeoutMs = 60_000): Promise<string> {
  const program = startProgram(options);
  const timer = setTimeout(() => program.signal('SIGKILL'), timeoutMs);
  const exit = await program.exit;
  clearTimeout(timer);
  if (exit.code === 0) return program.output;
  const line = [options.command, ...(options.args ?? [])].join(' ');
  throw new Error(`${line} ended with ${exit.code ?? exit.signal ?? 'an error'}:\n${program.output}`);
}

/** Is there a program of this name, in PATH or where Debian keeps its daemons? */
export function isInstalled(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(join(folder, program)));
}
