/**
 * How many retries a cluster may see: a share of its requests plus a floor, so that an upstream that fails everything
 * gets at most 1.2 times the load plus 10/s with the defaults. Each data thread keeps its own, over its own requests.
 *
 * A retry counts when it is scheduled, before its backoff: retries that wait are load already on its way.
 */
import type { Clock } from '../../shared/clock.ts';

export interface RetryBudgetSettings {
  /** Retries for every hundred requests of the last 10 s; 20 by default. */
  readonly percent: number;
  /** Retries in any second on top of that, this thread's share; may be a fraction. 10 by default, 0 for none. */
  readonly minPerSecond: number;
}

/** Long enough that a burst of failures can use what quiet seconds saved up, short enough to forget old load. */
const WINDOW_MS = 10_000;
const BUCKETS = 20;
const BUCKET_MS = WINDOW_MS / BUCKETS;

export class RetryBudget {
  private readonly clock: Clock;
  private share: number;
  private readonly requests: Float64Array;
  private readonly retries: Float64Array;
  private requestSum: number;
  private retrySum: number;
  /** Number of the bucket that is being filled, counted from the clock's zero. */
  private bucket: number;
  private floor: RateFloor;

  constructor(clock: Clock, settings: RetryBudgetSettings) {
    this.clock = clock;
    this.share = settings.percent / 100;
    this.requests = new Float64Array(BUCKETS);
    this.retries = new Float64Array(BUCKETS);
    this.requestSum = 0;
    this.retrySum = 0;
    this.bucket = Math.floor(clock.now() / BUCKET_MS);
    this.floor = new RateFloor(settings.minPerSecond);
  }

  /** Takes new settings over; what was counted stays. */
  update(settings: RetryBudgetSettings): void {
    this.share = settings.percent / 100;
    if (settings.minPerSecond !== this.floor.perSecond) this.floor = new RateFloor(settings.minPerSecond);
  }

  /** A request was admitted; its retries are not requests. */
  onRequest(): void {
    this.turn(this.clock.now());
    const slot = this.bucket % BUCKETS;
    this.requests[slot] = (this.requests[slot] as number) + 1;
    this.requestSum++;
  }

  /** Takes a retry out of the budget; false if there is none left. */
  tryRetry(): boolean {
    const now = this.clock.now();
    this.turn(now);
    if (this.retrySum + 1 > this.requestSum * this.share) return this.floor.tryTake(now);
    const slot = this.bucket % BUCKETS;
    this.retries[slot] = (this.retries[slot] as number) + 1;
    this.retrySum++;
    return true;
  }

  /** Forgets the buckets that have left the window. */
  private turn(now: number): void {
    const current = Math.floor(now / BUCKET_MS);
    if (current === this.bucket) return;
    const expired = Math.min(current - this.bucket, BUCKETS);
    for (let step = 1; step <= expired; step++) {
      const slot = (this.bucket + step) % BUCKETS;
      this.requestSum -= this.requests[slot] as number;
      this.retrySum -= this.retries[slot] as number;
      this.requests[slot] = 0;
      this.retries[slot] = 0;
    }
    this.bucket = current;
  }
}

/**
 * So many per second and not one more in any second: the times of the last ones, in a ring. A token bucket would give
 * a second's worth twice over after a quiet time.
 */
class RateFloor {
  readonly perSecond: number;
  private readonly takenAt: Float64Array;
  private readonly spanMs: number;
  private oldest: number;

  constructor(perSecond: number) {
    const size = Math.ceil(perSecond);
    this.perSecond = perSecond;
    this.takenAt = new Float64Array(size).fill(Number.NEGATIVE_INFINITY);
    this.spanMs = (size / perSecond) * 1000;
    this.oldest = 0;
  }

  tryTake(now: number): boolean {
    const { takenAt, oldest } = this;
    if (takenAt.length === 0 || now - (takenAt[oldest] as number) < this.spanMs) return false;
    takenAt[oldest] = now;
    this.oldest = oldest + 1 === takenAt.length ? 0 : oldest + 1;
    return true;
  }
}
