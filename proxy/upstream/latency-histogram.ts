/**
 * Latencies counted in buckets whose bounds grow by a fixed ratio: a quantile is known to within 9 % for the price of one
 * addition per latency, whatever their number and range.
 */
import type { Clock } from '../../shared/clock.ts';

/** Milliseconds: what is faster or slower is counted in the first or the last bucket. */
const LEAST_MS = 0.25;
const OCTAVES = 18;
/** Buckets from one power of two to the next. */
const STEPS = 8;
const BUCKETS = OCTAVES * STEPS;

function bucketOf(ms: number): number {
  if (ms <= LEAST_MS) return 0;
  return Math.min(BUCKETS - 1, Math.floor(Math.log2(ms / LEAST_MS) * STEPS));
}

/** Milliseconds below which `share` (0 to 1) of the latencies lie: the upper bound of the bucket that holds it. */
function quantileOf(counts: Uint32Array, total: number, share: number): number {
  let left = share * total;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    left -= counts[bucket] as number;
    if (left <= 0) return LEAST_MS * 2 ** ((bucket + 1) / STEPS);
  }
  return LEAST_MS * 2 ** OCTAVES;
}

/** Counts until it is cleared. */
export class LatencyHistogram {
  total = 0;
  private readonly counts = new Uint32Array(BUCKETS);

  add(ms: number): void {
    const bucket = bucketOf(ms);
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.total++;
  }

  /** Of at least one latency. */
  quantile(share: number): number {
    return quantileOf(this.counts, this.total, share);
  }

  clear(): void {
    this.counts.fill(0);
    this.total = 0;
  }
}

/** Of so much the latencies count, forgotten a slice at a time. */
const SLICE_MS = 5_000;
const SLICES = 6;
/** With fewer latencies one slow answer would be the quantile. */
const MIN_LATENCIES = 50;
/** Latencies after which the quantile is read again; between them the last one is good enough. */
const READ_EVERY = 32;

/** What 95 % of the answers of the last 25 to 30 seconds took at most. */
export class LiveP95 {
  private readonly clock: Clock;
  private readonly sums = new Uint32Array(BUCKETS);
  private readonly slices = Array.from({ length: SLICES }, () => new Uint32Array(BUCKETS));
  private total = 0;
  /** Number of the slice that is being filled, counted from the clock's zero. */
  private slice: number;
  private known = 0;
  private unread = 0;

  constructor(clock: Clock) {
    this.clock = clock;
    this.slice = Math.floor(clock.now() / SLICE_MS);
  }

  observe(ms: number): void {
    this.turn();
    const bucket = bucketOf(ms);
    const slice = this.slices[this.slice % SLICES] as Uint32Array;
    slice[bucket] = (slice[bucket] as number) + 1;
    this.sums[bucket] = (this.sums[bucket] as number) + 1;
    this.total++;
    this.unread++;
  }

  /** Milliseconds; 0 while too little is known. */
  get ms(): number {
    this.turn();
    if (this.total < MIN_LATENCIES) return 0;
    if (this.known === 0 || this.unread >= READ_EVERY) {
      this.known = quantileOf(this.sums, this.total, 0.95);
      this.unread = 0;
    }
    return this.known;
  }

  /** Forgets the slices that have left the window. */
  private turn(): void {
    const current = Math.floor(this.clock.now() / SLICE_MS);
    if (current === this.slice) return;
    const expired = Math.min(current - this.slice, SLICES);
    for (let step = 1; step <= expired; step++) this.forget(this.slices[(this.slice + step) % SLICES] as Uint32Array);
    this.slice = current;
    this.known = 0;
  }

  private forget(slice: Uint32Array): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const count = slice[bucket] as number;
      this.sums[bucket] = (this.sums[bucket] as number) - count;
      this.total -= count;
    }
    slice.fill(0);
  }
}
