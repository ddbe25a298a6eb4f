/**
 * Work that is done once for many events, however often it was asked for: what many requests add to one connection leaves
 * in one write. `setImmediate` runs right after the poll phase that read them; a microtask or `nextTick` runs after every
 * single read, which is right only for who has nothing to wait for: with one stream open the extra turn of the loop would
 * cost four system calls and bring nobody's bytes along.
 */
import type { Clock } from '../../shared/clock.ts';

/** Milliseconds that bytes are held for company, where turn follows on turn. */
const HOLD_MS = 0.25;
/** A TLS record full: what comes on top makes no record fewer. */
const ENOUGH_BYTES = 16_384;

export interface TurnEnd {
  /** Called once for each time it was added. */
  onTurnEnd(): void;
}

/** Bytes on their way to one connection. */
export interface Gathering extends TurnEnd {
  readonly waitingBytes: number;
}

/** Grows with every event of the thread. */
export interface Activity {
  readonly events: number;
}

export class Turns {
  private readonly later = new Batch();
  private readonly soon = new Batch();
  private readonly gathered: Gathered;

  constructor(clock: Clock, activity: Activity) {
    this.gathered = new Gathered(clock, activity);
  }

  /** At the end of the turn. The caller adds itself at most once until it is called. */
  add(item: TurnEnd): void {
    if (this.later.push(item)) setImmediate(this.later.run);
  }

  /** At the end of the read that is being handled: for work that nothing else in this turn will join. */
  addSoon(item: TurnEnd): void {
    if (this.soon.push(item)) process.nextTick(this.soon.run);
  }

  /**
   * At the end of a turn: of the first that brings nothing new, or that finds a record full, or that ends `HOLD_MS` later.
   * While requests come one after the other, one more look at the sockets is cheaper than a record, a write, a wake-up
   * and a read for each: 22 % of a pair's CPU at 4 connections, 13 % at 16. The caller adds itself at most once until it
   * is called.
   */
  gather(item: Gathering): void {
    this.gathered.push(item);
  }
}

class Batch {
  private waiting: TurnEnd[] = [];
  private spare: TurnEnd[] = [];
  readonly run = (): void => this.finish();

  /** True if this is the first of the batch. */
  push(item: TurnEnd): boolean {
    this.waiting.push(item);
    return this.waiting.length === 1;
  }

  private finish(): void {
    const due = this.waiting;
    this.waiting = this.spare;
    for (let i = 0; i < due.length; i++) (due[i] as TurnEnd).onTurnEnd();
    due.length = 0;
    this.spare = due;
  }
}

class Gathered {
  private waiting: Gathering[] = [];
  private spare: Gathering[] = [];
  /** When the first of them came. */
  private since = 0;
  /** Events up to the last look; -1 before the first. */
  private seen = -1;
  private isScheduled = false;
  private readonly clock: Clock;
  private readonly activity: Activity;
  private readonly onTurnEnd = (): void => this.look();

  constructor(clock: Clock, activity: Activity) {
    this.clock = clock;
    this.activity = activity;
  }

  push(item: Gathering): void {
    if (this.waiting.push(item) > 1) return;
    this.since = this.clock.now();
    this.seen = -1;
    this.schedule();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(this.onTurnEnd);
  }

  private look(): void {
    this.isScheduled = false;
    const { events } = this.activity;
    const mayGrow = events !== this.seen && this.clock.now() - this.since < HOLD_MS;
    this.seen = events;
    const due = this.waiting;
    this.waiting = this.spare;
    let count = 0;
    for (let i = 0; i < due.length; i++) {
      const item = due[i] as Gathering;
      if (mayGrow && item.waitingBytes < ENOUGH_BYTES) this.waiting.push(item);
      else due[count++] = item;
    }
    for (let i = 0; i < count; i++) (due[i] as Gathering).onTurnEnd();
    due.length = 0;
    this.spare = due;
    if (this.waiting.length > 0) this.schedule();
  }
}
