/**
 * The data threads as the control thread sees them: started, fed, replaced when they die, drained, stopped.
 *
 * A snapshot is handed over in two phases: every thread links it, then every thread swaps it in, so that a snapshot which
 * one thread cannot use is used by none. A thread that dies is replaced at once; its listening sockets stay open here
 * meanwhile, so new connections wait in the kernel instead of being refused.
 */
import { closeSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { Identity } from '../certs/identity.ts';
import { formatHostPort } from '../shared/address.ts';
import type { Clock } from '../shared/clock.ts';
import { toParts } from './config/slices.ts';
import type { Snapshot, SnapshotPart } from './config/snapshot.ts';
import type { Binding } from './listener/bind.ts';
import type { ClusterReport, DataSettings, FromData, ListenerHandle, ToData } from './messages.ts';
import type { MetricsReport } from './telemetry/metrics.ts';
import type { SpanRecord } from './telemetry/record.ts';
import type { RestartReason } from './telemetry/weft-series.ts';
import type { UnhealthyEndpoints } from './upstream/health.ts';

/** V8's default of 96 costs 40 MB more at 1000 busy connections and wins nothing; below 24 throughput falls. */
const YOUNG_GENERATION_MB = 24;
/**
 * Little survives a request, so that helpers of the young generation's collector cost more to call than they carry: 4 to
 * 6 % of the CPU of a hop in most runs.
 */
const COLLECT_ALONE = '--no-parallel-scavenge';
/** A thread that does not answer a report in this time is left out of it. */
const REPORT_TIMEOUT_MS = 1_000;
/** A thread that dies younger than this is started again a little later each time. */
const INFANT_MS = 1_000;
const RESTART_STEP_MS = 100;
const MAX_RESTART_MS = 5_000;

export interface ThreadReport {
  readonly thread: number;
  readonly metrics: MetricsReport;
  readonly clusters: readonly ClusterReport[];
}

export interface ThreadEvents {
  onSpans(spans: readonly SpanRecord[]): void;
  /** `written` is called when nobody needs the lines any more. */
  onLog(lines: Uint8Array<ArrayBuffer>, written: () => void): void;
  onNotice(level: 'info' | 'warn' | 'error', message: string, fields: Readonly<Record<string, unknown>>): void;
  /** A thread has died and is being replaced. */
  onDeath(thread: number, reason: RestartReason, error: Error | null): void;
}

/** What each thread listens on: its own bindings, one per address. */
export interface ThreadBindings {
  readonly direction: 'inbound' | 'outbound';
  /** By thread. */
  readonly bindings: readonly Binding[];
}

interface Generation {
  readonly number: number;
  readonly parts: readonly SnapshotPart[];
}

/** How a snapshot was taken by the threads; `longestTurnMs`: none served nobody for longer meanwhile. */
export interface Applied {
  /** Why one cannot use it: then none does. */
  readonly error: string | null;
  readonly longestTurnMs: number;
}

export class DataThreads {
  private readonly entry: URL;
  private readonly settings: Omit<DataSettings, 'thread'>;
  private readonly bindings: readonly ThreadBindings[];
  private readonly clock: Clock;
  private readonly events: ThreadEvents;
  private readonly threads: DataThread[] = [];
  private identity: ToData | null = null;
  private health: ToData | null = null;
  private generation: Generation | null = null;
  private generations = 0;
  private listening = false;
  private stopping = false;
  /** The last of what has to be done one after the other: a thread that is brought up must not miss a snapshot. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    entry: URL,
    settings: Omit<DataSettings, 'thread'>,
    bindings: readonly ThreadBindings[],
    clock: Clock,
    events: ThreadEvents,
  ) {
    this.entry = entry;
    this.settings = settings;
    this.bindings = bindings;
    this.clock = clock;
    this.events = events;
  }

  get count(): number {
    return this.threads.filter((thread) => thread.alive).length;
  }

  start(): void {
    setFlagsFromString(COLLECT_ALONE);
    for (let number = 0; number < this.settings.threads; number++) this.spawn(number, 0);
  }

  useIdentity(identity: Identity, ticketKeys: Uint8Array): void {
    this.identity = { type: 'identity', identity, ticketKeys };
    for (const thread of this.threads) thread.post(this.identity);
  }

  /** What active checks say now; replacements are told too. */
  useHealth(unhealthy: UnhealthyEndpoints): void {
    this.health = { type: 'health', unhealthy };
    for (const thread of this.threads) thread.post(this.health);
  }

  /** Links everywhere, then swaps everywhere. */
  apply(snapshot: Snapshot): Promise<Applied> {
    return this.inTurn(async () => {
      this.generations++;
      const generation = { number: this.generations, parts: toParts(snapshot) };
      const threads = [...this.threads];
      const linked = await Promise.all(threads.map((thread) => thread.link(generation)));
      const error = linked.find((result) => result.error !== null)?.error ?? null;
      const longest = (turns: readonly Applied[]): number => Math.max(0, ...turns.map((turn) => turn.longestTurnMs));
      if (error !== null) return { error, longestTurnMs: longest(linked) };
      this.generation = generation;
      const swapped = await Promise.all(threads.map((thread) => thread.swap(generation.number)));
      return { error: null, longestTurnMs: longest([...linked, ...swapped]) };
    });
  }

  /** From now on, and in replacements too. Resolves when every thread listens. */
  listen(): Promise<void> {
    return this.inTurn(async () => {
      if (this.listening) return;
      this.listening = true;
      await Promise.all(this.threads.map((thread) => thread.listen(this.handles(thread.number))));
    });
  }

  async report(): Promise<ThreadReport[]> {
    const reports = await Promise.all(this.threads.map((thread) => thread.report()));
    return reports.filter((report) => report !== null);
  }

  /** Stops listening for good; resolves when what was accepted until then has been served. */
  async close(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.threads.map((thread) => thread.close()));
  }

  /** Resolves when every thread has nothing open any more. */
  async drain(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.drain()));
  }

  /** Ends what is left; resolves when the threads are gone. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.threads.map((thread) => thread.stop()));
  }

  private spawn(number: number, infants: number): void {
    const settings: DataSettings = { ...this.settings, thread: number };
    const bornAt = this.clock.now();
    const thread = new DataThread(this.entry, settings, this.clock, {
      ...this.events,
      onUp: (up) => void this.inTurn(() => this.bring(up)),
      onExit: (reason, error) => {
        if (this.stopping) return;
        this.events.onDeath(number, reason, error);
        const again = this.clock.now() - bornAt < INFANT_MS ? infants + 1 : 0;
        const delay = Math.min(MAX_RESTART_MS, RESTART_STEP_MS * again);
        if (delay === 0) this.spawn(number, again);
        else this.clock.after(delay, () => this.stopping || this.spawn(number, again));
      },
    });
    this.threads[number] = thread;
  }

  /** Brings a new thread to where the others are. */
  private async bring(thread: DataThread): Promise<void> {
    if (this.identity !== null) thread.post(this.identity);
    const { generation } = this;
    if (generation !== null && thread.generation !== generation.number) {
      const { error } = await thread.link(generation);
      if (error !== null) {
        this.events.onNotice('error', 'a new data thread cannot use the policy in force', { error });
        return;
      }
      await thread.swap(generation.number);
    }
    if (this.health !== null) thread.post(this.health);
    if (this.listening) await thread.listen(this.handles(thread.number));
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work);
    this.turn = done.catch(() => {});
    return done;
  }

  private handles(number: number): ListenerHandle[] {
    return this.bindings.flatMap(({ direction, bindings }) => {
      const binding = bindings[number];
      if (binding === undefined) return [];
      const address = formatHostPort(binding.host, binding.port);
      return binding.duplicate().map((fd) => ({ direction, address, fd }));
    });
  }
}

interface OneThreadEvents extends Omit<ThreadEvents, 'onDeath'> {
  onUp(thread: DataThread): void;
  onExit(reason: RestartReason, error: Error | null): void;
}

/** One worker; every question to it is answered at the latest by its death. */
class DataThread {
  readonly number: number;
  alive = true;
  /** Number of the snapshot that it has swapped in; 0 for none. */
  generation = 0;
  private readonly worker: Worker;
  private readonly clock: Clock;
  private readonly events: OneThreadEvents;
  private readonly questions = new Set<Question>();
  /** Descriptors it was given but has not said it listens on: they would leak with it. */
  private given: readonly ListenerHandle[] = [];
  private reports = 0;
  private error: Error | null = null;

  constructor(entry: URL, settings: DataSettings, clock: Clock, events: OneThreadEvents) {
    this.number = settings.thread;
    this.clock = clock;
    this.events = events;
    this.worker = new Worker(entry, {
      workerData: settings,
      name: `weft-data-${settings.thread}`,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    this.worker.on('message', (message: FromData) => this.receive(message));
    this.worker.on('error', (error) => {
      this.error = error instanceof Error ? error : new Error(String(error));
    });
    this.worker.on('exit', () => this.exited());
  }

  post(message: ToData): void {
    if (this.alive) this.worker.postMessage(message);
  }

  /** A thread that dies meanwhile has no say. */
  link({ number, parts }: Generation): Promise<Applied> {
    const { promise, resolve } = Promise.withResolvers<Applied>();
    this.ask(
      { type: 'snapshot', generation: number, parts },
      (answer) => {
        if (answer.type !== 'linked' || answer.generation !== number) return false;
        resolve(answer);
        return true;
      },
      () => resolve(NOTHING_DONE),
    );
    return promise;
  }

  swap(generation: number): Promise<Applied> {
    this.generation = generation;
    const { promise, resolve } = Promise.withResolvers<Applied>();
    this.ask(
      { type: 'swap', generation },
      (answer) => {
        if (answer.type !== 'swapped') return false;
        resolve({ error: null, longestTurnMs: answer.longestTurnMs });
        return true;
      },
      () => resolve(NOTHING_DONE),
    );
    return promise;
  }

  listen(listeners: readonly ListenerHandle[]): Promise<void> {
    this.given = listeners;
    return this.until({ type: 'listen', listeners }, (answer) => answer.type === 'listening').then(() => {
      if (this.alive) this.given = [];
    });
  }

  close(): Promise<void> {
    return this.until({ type: 'close' }, (answer) => answer.type === 'closed');
  }

  drain(): Promise<void> {
    return this.until({ type: 'drain' }, (answer) => answer.type === 'drained');
  }

  stop(): Promise<void> {
    return this.until({ type: 'stop' }, () => false);
  }

  report(): Promise<ThreadReport | null> {
    const id = ++this.reports;
    const { promise, resolve } = Promise.withResolvers<ThreadReport | null>();
    const timer = this.clock.after(REPORT_TIMEOUT_MS, () => resolve(null));
    this.ask(
      { type: 'report', id },
      (answer) => {
        if (answer.type !== 'report' || answer.id !== id) return false;
        timer.cancel();
        resolve({ thread: this.number, metrics: answer.metrics, clusters: answer.clusters });
        return true;
      },
      () => resolve(null),
    );
    return promise;
  }

  private until(message: ToData, answers: (answer: FromData) => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ask(message, (answer) => answers(answer) && (resolve(), true), resolve);
    return promise;
  }

  private ask(message: ToData, answered: (answer: FromData) => boolean, died: () => void): void {
    if (!this.alive) {
      died();
      return;
    }
    this.questions.add({ answered, died });
    this.worker.postMessage(message);
  }

  private receive(message: FromData): void {
    const { events } = this;
    switch (message.type) {
      case 'up':
        events.onUp(this);
        break;
      case 'spans':
        events.onSpans(message.spans);
        break;
      case 'log':
        events.onLog(message.lines, () => this.giveBack(message.lines.buffer));
        break;
      case 'notice':
        events.onNotice(message.level, message.message, message.fields);
        break;
      default:
        for (const question of this.questions) {
          if (!question.answered(message)) continue;
          this.questions.delete(question);
          break;
        }
    }
  }

  private giveBack(memory: ArrayBuffer): void {
    if (this.alive) this.worker.postMessage({ type: 'log-memory', memory } satisfies ToData, [memory]);
  }

  private exited(): void {
    this.alive = false;
    for (const { fd } of this.given) closeQuietly(fd);
    for (const question of this.questions) question.died();
    this.questions.clear();
    this.events.onExit(reasonOf(this.error), this.error);
  }
}

const NOTHING_DONE: Applied = { error: null, longestTurnMs: 0 };

interface Question {
  /** True if this is the answer. */
  readonly answered: (answer: FromData) => boolean;
  readonly died: () => void;
}

function reasonOf(error: Error | null): RestartReason {
  if (error === null) return 'exit';
  return (error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'out_of_memory' : 'crash';
}

/** It may have been adopted, and closed with the thread, after all. */
function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // EBADF: gone already.
  }
}
