/**
 * Time as the code asks for it, so that tests can hold it: a monotonic clock for durations and deadlines, the wall
 * clock for certificates and logs, and a timer.
 */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds with fraction; only differences mean anything. */
  now(): number;
  /** Wall clock milliseconds since 1970, with fraction; jumps when the host's clock does. */
  wall(): number;
  /** Calls back once after `ms` milliseconds. The timer does not keep the process alive. */
  after(ms: number, callback: () => void): Timer;
  /** Between these two calls `now` may stand still (TurnClock); other clocks do nothing. */
  hold(): void;
  release(): void;
}

/** The longest that the system's timers hold (24.8 days): what is longer they would call back for at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, callback) {
    if (ms > LONGEST_TIMER_MS) return afterLong(ms, callback);
    const timeout = setTimeout(callback, ms);
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
  hold() {},
  release() {},
};

function afterLong(ms: number, callback: () => void): Timer {
  let timer = systemClock.after(LONGEST_TIMER_MS, () => {
    timer = systemClock.after(ms - LONGEST_TIMER_MS, callback);
  });
  return { cancel: () => timer.cancel() };
}

/**
 * The system's clock for a thread that works in turns: within one turn time stands still, so that a request which asks
 * for the time a dozen times pays for it once. Outside of a turn it runs.
 */
export class TurnClock implements Clock {
  private held = -1;

  hold(): void {
    this.held = performance.now();
  }

  release(): void {
    this.held = -1;
  }

  now(): number {
    return this.held < 0 ? performance.now() : this.held;
  }

  wall(): number {
    return systemClock.wall();
  }

  after(ms: number, callback: () => void): Timer {
    return systemClock.after(ms, callback);
  }
}

/** A clock that only moves when told to; due timers fire in order of their time. */
export class ManualClock implements Clock {
  private time = 0;
  private readonly epoch: number;
  /** In order of their time, then of their making. */
  private readonly pending: { readonly at: number; readonly callback: () => void }[] = [];

  constructor(epoch = 1_700_000_000_000) {
    this.epoch = epoch;
  }

  now(): number {
    return this.time;
  }

  wall(): number {
    return this.epoch + this.time;
  }

  hold(): void {}

  release(): void {}

  after(ms: number, callback: () => void): Timer {
    const { pending } = this;
    const entry = { at: this.time + Math.max(0, ms), callback };
    let place = pending.length;
    while (place > 0 && (pending[place - 1] as { at: number }).at > entry.at) place--;
    pending.splice(place, 0, entry);
    return {
      cancel: () => {
        const at = pending.indexOf(entry);
        if (at >= 0) pending.splice(at, 1);
      },
    };
  }

  /** Moves on by `ms`, firing what falls due on the way. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (let [due] = this.pending; due !== undefined && due.at <= end; [due] = this.pending) {
      this.pending.shift();
      this.time = Math.max(this.time, due.at);
      due.callback();
    }
    this.time = end;
  }
}
