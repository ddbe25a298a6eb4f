/**
 * Coarse shared deadlines: one timer for each distinct duration, however many connections wait on it.
 *
 * Items of one duration expire in the order they were set, so a queue is a doubly linked list with set and clear in
 * constant time and no allocation; the timer is armed for its first item only, and not at all while it is empty
 * (an idle tick of 50 ms costs 0.3 % of a core). Policy has few durations, so queues are few.
 */
import type { Clock, Timer } from '../../shared/clock.ts';

/** Something that may run out of time: one per purpose, kept by its owner and set again and again. */
export class Deadline {
  /** When it falls due, on the monotonic clock; meaningless while not set. */
  at = 0;
  queue: Queue | null = null;
  previous: Deadline | null = null;
  next: Deadline | null = null;
  readonly expire: () => void;

  constructor(expire: () => void) {
    this.expire = expire;
  }

  get isSet(): boolean {
    return this.queue !== null;
  }

  clear(): void {
    this.queue?.remove(this);
  }
}

class Queue {
  readonly ms: number;
  first: Deadline | null = null;
  last: Deadline | null = null;
  timer: Timer | null = null;
  private readonly clock: Clock;
  private readonly fire: () => void;

  constructor(ms: number, clock: Clock) {
    this.ms = ms;
    this.clock = clock;
    this.fire = () => this.expireDue();
  }

  append(item: Deadline, now: number): void {
    item.at = now + this.ms;
    item.queue = this;
    item.previous = this.last;
    item.next = null;
    if (this.last === null) this.first = item;
    else this.last.next = item;
    this.last = item;
    if (this.timer === null) this.timer = this.clock.after(this.ms, this.fire);
  }

  /** Leaves the timer alone: it costs less to let it find nothing due than to cancel it for every request. */
  remove(item: Deadline): void {
    if (item.previous === null) this.first = item.next;
    else item.previous.next = item.next;
    if (item.next === null) this.last = item.previous;
    else item.next.previous = item.previous;
    item.queue = null;
    item.previous = null;
    item.next = null;
  }

  private expireDue(): void {
    this.timer = null;
    const now = this.clock.now();
    for (let item = this.first; item !== null && item.at <= now; item = this.first) {
      this.remove(item);
      item.expire();
    }
    // A timer may fire a fraction of a millisecond early; never re-arm for less than one.
    if (this.first !== null && this.timer === null) {
      this.timer = this.clock.after(Math.max(1, this.first.at - now), this.fire);
    }
  }
}

/** Steps from one power of two to the next. */
const STEPS = 16;

/**
 * A duration that somebody else chose, rounded up by at most 1/16 to one of few: each distinct duration has a queue that
 * stays. From 1 ms.
 */
export function coarse(ms: number): number {
  if (ms <= STEPS) return Math.max(1, Math.ceil(ms));
  const step = 2 ** Math.floor(Math.log2(ms)) / STEPS;
  return Math.ceil(ms / step) * step;
}

export class Deadlines {
  private readonly clock: Clock;
  private readonly queues = new Map<number, Queue>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Sets or moves the deadline to `ms` from now; 0 means none. */
  set(item: Deadline, ms: number): void {
    const current = item.queue;
    if (ms <= 0) {
      if (current !== null) current.remove(item);
      return;
    }
    if (current !== null) {
      current.remove(item);
      if (current.ms === ms) {
        current.append(item, this.clock.now());
        return;
      }
    }
    let queue = this.queues.get(ms);
    if (queue === undefined) {
      queue = new Queue(ms, this.clock);
      this.queues.set(ms, queue);
    }
    queue.append(item, this.clock.now());
  }
}
