/**
 * The data threads as the control thread sees them: started, fed, replaced when they die, drained, stopped.
 *
 * A snapshot is handed over in two phases: every thread links it, then every thread swaps it in, so that a snapshot which
 * one thread cannot use is used by none. A thread that dies is replaced at once; its listening sockets stay open here
 * meanwhile, so new connections wait in the kernel instead of being refused.
 */
import { closeSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import type { Identity } from '../certs/identity.ts';
import { formatHostPort } from '../shared/address.ts';
import type { Clock } from '../shared/clock.ts';
import { toParts } from './config/slices.ts';
import type { Snapshot } from './config/snapshot.ts';
import { type Applied, DataThread, type Generation, type ThreadNews, type ThreadReport } from './data-thread.ts';
import type { Binding } from './listener/bind.ts';
import type { DataSettings, ListenerHandle, ToData } from './messages.ts';
import type { RestartReason } from './telemetry/weft-series.ts';
import type { UnhealthyEndpoints } from './upstream/health.ts';

/**
 * Little survives a request, so that helpers of the young generation's collector cost more to call than they carry: 4 to
 * 6 % of the CPU of a hop in most runs.
 */
const COLLECT_ALONE = '--no-parallel-scavenge';
/** A thread that dies younger than this is started again a little later each time. */
const INFANT_MS = 1_000;
const RESTART_STEP_MS = 100;
const MAX_RESTART_MS = 5_000;
/** A thread that could not be brought to where the others are is brought there again after this. */
const BRING_AGAIN_MS = 1_000;

export interface ThreadEvents extends ThreadNews {
  /** A thread has died and is being replaced. */
  onDeath(thread: number, reason: RestartReason, error: Error | null): void;
}

/** What each thread listens on: its own bindings, one per address. */
export interface ThreadBindings {
  readonly direction: 'inbound' | 'outbound';
  /** By thread. */
  readonly bindings: readonly Binding[];
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

  /** From now on, and in replacements too. Resolves when every thread listens that can. */
  listen(): Promise<void> {
    return this.inTurn(async () => {
      if (this.listening) return;
      this.listening = true;
      await Promise.all(this.threads.map((thread) => this.bringListeners(thread)));
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

  /** Brings a new thread to where the others are; again a little later where that fails (out of descriptors, say). */
  private async bring(thread: DataThread): Promise<void> {
    if (this.identity !== null) thread.post(this.identity);
    const problem = await this.bringPolicy(thread);
    if (problem !== null) {
      this.bringLater(thread, 'a new data thread cannot use the policy in force', problem);
      return;
    }
    if (this.health !== null) thread.post(this.health);
    if (this.listening) await this.bringListeners(thread);
  }

  /** Why it has not the policy in force; null if it has. */
  private async bringPolicy(thread: DataThread): Promise<string | null> {
    const { generation } = this;
    if (generation === null || thread.generation === generation.number) return null;
    const { error } = await thread.link(generation);
    if (error === null) await thread.swap(generation.number);
    return error;
  }

  private async bringListeners(thread: DataThread): Promise<void> {
    // Its replacement gets its own.
    if (!thread.alive) return;
    let handles: ListenerHandle[];
    try {
      handles = this.handles(thread.number);
    } catch (error) {
      this.bringLater(thread, 'a data thread cannot listen yet', String(error));
      return;
    }
    await thread.listen(handles);
  }

  private bringLater(thread: DataThread, message: string, error: string): void {
    this.events.onNotice('error', message, { thread: thread.number, error });
    this.clock.after(BRING_AGAIN_MS, () => {
      if (thread.alive && !this.stopping) void this.inTurn(() => this.bring(thread));
    });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work);
    this.turn = done.catch(() => {});
    return done;
  }

  /** All of them or none: throws where the kernel has no descriptors left. */
  private handles(number: number): ListenerHandle[] {
    const handles: ListenerHandle[] = [];
    try {
      for (const { direction, bindings } of this.bindings) {
        const binding = bindings[number];
        if (binding === undefined) continue;
        const address = formatHostPort(binding.host, binding.port);
        handles.push(...binding.duplicate().map((fd) => ({ direction, address, fd })));
      }
    } catch (error) {
      for (const { fd } of handles) closeSync(fd);
      throw error;
    }
    return handles;
  }
}
