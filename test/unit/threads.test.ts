/** Data threads that do what a test says, under the control thread's own keeping of them. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { afterEach, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import type { DataSettings } from '../../proxy/messages.ts';
import { DataThreads, type ThreadBindings } from '../../proxy/threads.ts';
import { ManualClock } from '../../shared/clock.ts';
import { service, snapshotOf } from '../support/policy-documents.ts';

/** Of a program that hears `message` and can `post`; `thread` is its number. */
function program(body: string): URL {
  const text = `import { parentPort, workerData } from 'node:worker_threads';
    const { thread } = workerData;
    const post = (message) => parentPort.postMessage(message);
    parentPort.on('message', (message) => {
      if (message.type === 'stop') process.exit();
      ${body}
    });
    post({ type: 'up' });`;
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
}

const started: DataThreads[] = [];
afterEach(() => Promise.all(started.splice(0).map((threads) => threads.stop())));

class Stage {
  readonly clock = new ManualClock();
  /** What the control thread hears, in order. */
  readonly heard: string[] = [];
  readonly threads: DataThreads;
  private readonly waiting = new Map<string, () => void>();

  constructor(entry: URL, count: number, bindings: readonly ThreadBindings[] = []) {
    const settings = { threads: count } as DataSettings;
    this.threads = new DataThreads(entry, settings, bindings, this.clock, {
      onSpans: () => {},
      onLog: () => {},
      onNotice: (level, message, { error }) => this.hear(`${level}: ${message}: ${String(error)}`),
      onReport: ({ thread }) => this.hear(`report of ${thread}`),
      onDeath: (thread) => this.hear(`death of ${thread}`),
    });
    this.threads.start();
    started.push(this.threads);
  }

  /** Resolves when this has been heard. */
  async until(what: string): Promise<void> {
    if (this.heard.includes(what)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.waiting.set(what, resolve);
    await promise;
  }

  private hear(what: string): void {
    this.heard.push(what);
    this.waiting.get(what)?.();
  }
}

const REPORT = '{ type: "report", id: message.id, metrics: null, clusters: [] }';

test('a report is heard before the death of its thread, whatever the other threads take for theirs', async () => {
  const entry = program(
    `if (message.type === 'report' && thread === 0) { post(${REPORT}); setImmediate(process.exit); }`,
  );
  const stage = new Stage(entry, 2);
  const reports = stage.threads.report();
  await stage.until('death of 0');
  stage.clock.advance(1_000);
  expect((await reports).map(({ thread }) => thread)).toEqual([0]);
  expect(stage.heard).toEqual(['report of 0', 'death of 0']);
});

test('a report that comes too late for one scrape is heard all the same', async () => {
  const entry = program(`if (message.type === 'report') globalThis.late = ${REPORT};
    if (message.type === 'health') { post(globalThis.late); }`);
  const stage = new Stage(entry, 1);
  const reports = stage.threads.report();
  stage.clock.advance(1_000);
  expect(await reports).toEqual([]);
  stage.threads.useHealth({});
  await stage.until('report of 0');
});

test('a thread for whose listeners no descriptor is left listens when there are some, and policy is not held up', async () => {
  const entry = program(`if (message.type === 'listen') post({ type: 'listening' });
    if (message.type === 'snapshot') post({ type: 'linked', generation: message.generation, error: null, longestTurnMs: 0 });
    if (message.type === 'swap') post({ type: 'swapped', generation: message.generation, longestTurnMs: 0 });
    if (message.type === 'drain') process.exit();`);
  let left = 1;
  const duplicate = (): number[] => {
    if (left-- > 0) return [];
    throw new Error('out of file descriptors?');
  };
  const binding = { host: '127.0.0.1', port: 1, duplicate, close: () => {} };
  const stage = new Stage(entry, 1, [{ direction: 'inbound', bindings: [binding] }]);
  await stage.threads.listen();
  void stage.threads.drain();
  await stage.until('death of 0');
  stage.clock.advance(100);
  await stage.until('error: a data thread cannot listen yet: Error: out of file descriptors?');
  const applied = await stage.threads.apply(snapshotOf(service('a')));
  expect(applied.error).toBe(null);
  left = 1;
  stage.clock.advance(1_000);
  await stage.threads.apply(snapshotOf(service('b')));
  expect(left).toBe(0);
});

const dup2 = koffi.load(null).func('int dup2(int from, int to)') as (from: number, to: number) => number;

/** Gives out descriptors of files, of which a thread makes nothing, and remembers them. */
function listenerOf(given: number[]): ThreadBindings {
  const duplicate = (): number[] => {
    const fd = openSync('/dev/null', 'r');
    given.push(fd);
    return [fd];
  };
  return { direction: 'inbound', bindings: [{ host: '127.0.0.1', port: 1, duplicate, close: () => {} }] };
}

test('the descriptors of a thread that dies before it listens are closed, but for numbers that are others by then', async () => {
  const given: number[] = [];
  const stage = new Stage(program("if (message.type === 'drain') process.exit();"), 1, [
    listenerOf(given),
    listenerOf(given),
  ]);
  const listening = stage.threads.listen();
  while (given.length < 2) await Promise.resolve();
  const [adopted = -1, left = -1] = given;
  const other = openSync('/dev/zero', 'r');
  dup2(other, adopted);
  void stage.threads.drain();
  await listening;
  expect(fstatSync(adopted).ino).toBe(fstatSync(other).ino);
  expect(() => fstatSync(left)).toThrow('EBADF');
  closeSync(adopted);
  closeSync(other);
});

test('a thread that dies while it is brought up is given no descriptors', async () => {
  const given: number[] = [];
  const entry = program("if (message.type === 'identity') process.exit();");
  const stage = new Stage(entry, 1, [listenerOf(given)]);
  const unborn = stage.threads.apply(snapshotOf(service('a')));
  const listening = stage.threads.listen();
  stage.threads.useIdentity({} as Identity, new Uint8Array());
  await Promise.all([unborn, listening]);
  expect(stage.heard).toEqual(['death of 0']);
  expect(given).toEqual([]);
});
