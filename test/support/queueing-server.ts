/** An upstream that works on so many requests at a time and lets the others wait, on a clock that is moved by hand. */
import type { ManualClock } from '../../shared/clock.ts';

export class QueueingServer {
  /** Milliseconds of work per request; a change holds for requests that begin afterwards. */
  serviceMs: number;
  served = 0;
  private readonly clock: ManualClock;
  private readonly workers: number;
  private busy = 0;
  private readonly queue: (() => void)[] = [];

  constructor(clock: ManualClock, workers: number, serviceMs: number) {
    this.clock = clock;
    this.workers = workers;
    this.serviceMs = serviceMs;
  }

  request(onAnswer: () => void): void {
    if (this.busy < this.workers) this.work(onAnswer);
    else this.queue.push(onAnswer);
  }

  private work(onAnswer: () => void): void {
    this.busy++;
    this.clock.after(this.serviceMs, () => {
      this.busy--;
      this.served++;
      onAnswer();
      const next = this.busy < this.workers ? this.queue.shift() : undefined;
      if (next !== undefined) this.work(next);
    });
  }
}
