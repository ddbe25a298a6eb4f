/** One data thread as the control thread sees it: a worker, what it is asked, and what it says by itself. */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../shared/clock.ts';
import type { SnapshotPart } from './config/snapshot.ts';
import { GivenSocket } from './listener/given-socket.ts';
import type { ClusterReport, DataSettings, FromData, ListenerHandle, ToData } from './messages.ts';
import type { MetricsReport } from './telemetry/metrics.ts';
import type { SpanRecord } from './telemetry/record.ts';
import type { RestartReason } from './telemetry/weft-series.ts';

/** V8's default of 96 costs 40 MB more at 1000 busy connections and wins nothing; below 24 throughput falls. */
const YOUNG_GENERATION_MB = 24;
/** A thread that does not answer a report in this time is left out of it. */
const REPORT_TIMEOUT_MS = 1_000;

/** One thread's answer to a scrape. */
export interface ThreadReport {
  readonly thread: number;
  readonly metrics: MetricsReport;
  readonly clusters: readonly ClusterReport[];
}

/** What a thread says without being asked. */
export interface ThreadNews {
  onSpans(spans: readonly SpanRecord[]): void;
  /** `written` is called when nobody needs the lines any more. */
  onLog(lines: Uint8Array<ArrayBuffer>, written: () => void): void;
  onNotice(level: 'info' | 'warn' | 'error', message: string, fields: Readonly<Record<string, unknown>>): void;
  /** Of a thread that lives, in the order in which it counted; also what comes too late for who asked. */
  onReport(report: ThreadReport): void;
}

/** A snapshot on its way to the threads; numbers count up from 1. */
export interface Generation {
  readonly number: number;
  readonly parts: readonly SnapshotPart[];
}

/** How a snapshot was taken by the threads; `longestTurnMs`: none served nobody for longer meanwhile. */
export interface Applied {
  /** Why one cannot use it: then none does. */
  readonly error: string | null;
  readonly longestTurnMs: number;
}

export interface DataThreadEvents extends ThreadNews {
  onUp(thread: DataThread): void;
  onExit(reason: RestartReason, error: Error | null): void;
}

/** One worker; every question to it is answered at the latest by its death. */
export class DataThread {
  readonly number: number;
  alive = true;
  /** Number of the snapshot that it has swapped in; 0 for none. */
  generation = 0;
  private readonly worker: Worker;
  private readonly clock: Clock;
  private readonly events: DataThreadEvents;
  private readonly questions = new Set<Question>();
  /** What it was given but has not said it listens on: it would leak with the thread. */
  private given: readonly GivenSocket[] = [];
  private reports = 0;
  private error: Error | null = null;

  constructor(entry: URL, settings: DataSettings, clock: Clock, events: DataThreadEvents) {
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

  /** The thread must live: it owns the descriptors from now on. */
  listen(listeners: readonly ListenerHandle[]): Promise<void> {
    this.given = listeners.map(({ fd }) => new GivenSocket(fd));
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
        const report = { thread: this.number, metrics: answer.metrics, clusters: answer.clusters };
        this.events.onReport(report);
        resolve(report);
        return true;
      },
      () => {
        timer.cancel();
        resolve(null);
      },
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
    for (const socket of this.given) socket.close();
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
