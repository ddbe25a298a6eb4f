/**
 * When a data thread may go (CONTRACT, "Drain"): each direction serves on until nothing is open and nothing new came for
 * a quiet time, since endpoints take seconds to learn that this one is leaving. A thread nobody is connected to goes at
 * once.
 */
import type { Clock } from '../../shared/clock.ts';

export const QUIET_MS = 2_000;
/** A connection accepted just before the listeners closed has shaken hands and asked by then. */
export const LAST_LOOK_MS = 250;
/** How often the directions are looked at. */
const CHECK_MS = 50;
/** For callers on the network of the host to take their last answers; who takes longer does not hold up the end. */
export const LAST_ANSWERS_MS = 300;
const ANSWERS_CHECK_MS = 5;

/** One direction of traffic. */
export interface Draining {
  drain(): void;
  /** Connections of any kind. */
  readonly open: number;
  /** Requests and tunnels under way. */
  readonly busy: number;
  /** Monotonic time of the last accepted connection, or of the last end of a request. */
  readonly lastBusyAt: number;
}

export class Drain {
  private readonly clock: Clock;
  private readonly directions: readonly Draining[];
  private readonly done: () => void;
  private started = false;

  constructor(clock: Clock, directions: readonly Draining[], done: () => void) {
    this.clock = clock;
    this.directions = directions;
    this.done = done;
  }

  start(): void {
    if (this.started) return;
    this.started = true;
    for (const direction of this.directions) direction.drain();
    if (this.directions.every((direction) => direction.open === 0)) this.done();
    else this.check();
  }

  /** Nothing is accepted any more: calls back when what was accepted in the last moment is served. */
  finish(done: () => void): void {
    if (this.quietFor(LAST_LOOK_MS)) done();
    else this.clock.after(CHECK_MS, () => this.finish(done));
  }

  /** Everything was ended: calls back when `left` says 0, which counts connections whose last answer is on its way. */
  last(left: () => number, done: () => void): void {
    const due = this.clock.now() + LAST_ANSWERS_MS;
    const look = (): void => {
      if (left() === 0 || this.clock.now() >= due) done();
      else this.clock.after(ANSWERS_CHECK_MS, look);
    };
    look();
  }

  private check(): void {
    if (this.quietFor(QUIET_MS)) this.done();
    else this.clock.after(CHECK_MS, () => this.check());
  }

  private quietFor(ms: number): boolean {
    const now = this.clock.now();
    return this.directions.every(({ busy, lastBusyAt }) => busy === 0 && now - lastBusyAt >= ms);
  }
}
