/**
 * Circuit breaking by error rate, one breaker per cluster that asks for it. `opossum` keeps the rolling window and
 * decides; this file keeps promises and events off the request path: admission reads one field, and since no success
 * closes an open rate, successes are counted here and told to opossum in bulk before it hears of the next failure.
 *
 * States are `admitting → ejected → probing → admitting` (opossum: closed, open, half open).
 */
import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import { type Clock, systemClock } from '../../shared/clock.ts';

export type BreakerState = 'admitting' | 'ejected' | 'probing';

export interface BreakerSettings {
  /** Percent of failed requests in the window at which the breaker ejects, above 0 and up to 100. */
  readonly errorRatePercent: number;
  readonly errorWindowMs: number;
  /** The rate means nothing below so many requests in the window. */
  readonly errorMinimumRequests: number;
  /** How long nobody is admitted before one request may probe. */
  readonly openMs: number;
}

/** A change of state with the numbers that caused it, for log and metric. */
export interface BreakerChange {
  readonly key: string;
  readonly from: BreakerState;
  readonly to: BreakerState;
  /** Of the requests that ended in the window. */
  readonly failures: number;
  readonly total: number;
  readonly settings: BreakerSettings;
}

/** Slices of the rolling window: what is forgotten at once. */
const BUCKETS = 10;

/**
 * opossum opens above its threshold, users read "50 %" as "at 50 %". Smaller than any difference between two rates that
 * a window can hold.
 */
const AT_THRESHOLD = 1e-9;

/**
 * Outcomes as opossum's action returns them: settled already, so that a change of state takes effect at once instead of
 * when a promise settles.
 */
class Settled {
  private readonly error: Error | null;

  constructor(error: Error | null) {
    this.error = error;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- opossum asks for a thenable, and nobody else sees this one
  then(fulfilled: () => void): this {
    if (this.error === null) fulfilled();
    return this;
  }

  catch(rejected: (error: Error) => void): this {
    if (this.error !== null) rejected(this.error);
    return this;
  }
}

const SUCCEEDED = new Settled(null);
const FAILED = new Settled(new Error('the request failed'));

export class Breaker {
  readonly key: string;
  readonly settings: BreakerSettings;
  /** Requests turned away so far. */
  refused: number;
  private current: BreakerState;
  /** Counts changes of state: an outcome from before the last one says nothing about the upstream as it is now. */
  private epoch: number;
  private probeOut: boolean;
  /** Since opossum last heard of successes, in the bucket that is being filled. */
  private successes: number;
  private bucket: number;
  private readonly bucketMs: number;
  private readonly clock: Clock;
  private readonly rotation: EventEmitter;
  private readonly circuit: CircuitBreaker<[boolean], void>;
  private readonly onChange: (change: BreakerChange) => void;

  constructor(
    key: string,
    settings: BreakerSettings,
    onChange: (change: BreakerChange) => void,
    clock: Clock = systemClock,
  ) {
    this.key = key;
    this.settings = settings;
    this.refused = 0;
    this.current = 'admitting';
    this.epoch = 0;
    this.probeOut = false;
    this.successes = 0;
    this.bucketMs = settings.errorWindowMs / BUCKETS;
    this.bucket = Math.floor(clock.now() / this.bucketMs);
    this.clock = clock;
    this.rotation = new EventEmitter();
    this.onChange = onChange;
    this.circuit = this.buildCircuit();
  }

  get state(): BreakerState {
    return this.current;
  }

  /** Failed and all requests in the window, as of the last outcome. */
  get numbers(): { readonly failures: number; readonly total: number } {
    const { failures, fires } = this.circuit.stats;
    return { failures, total: fires + this.successes };
  }

  /**
   * A lease that must be settled exactly once, or null: refuse with `breakerOpen`. Settling may change the state, and
   * then calls `onChange` before it returns.
   */
  admit(): BreakerLease | null {
    if (this.current === 'admitting') return new BreakerLease(this, this.epoch);
    if (this.current === 'ejected' || this.probeOut) {
      this.refused++;
      return null;
    }
    this.probeOut = true;
    return new BreakerLease(this, this.epoch);
  }

  /** For BreakerLease only. */
  record(epoch: number, failed: boolean): void {
    if (epoch !== this.epoch) return;
    this.turnWindow();
    if (!failed && this.current === 'admitting') {
      this.successes++;
      return;
    }
    this.tellSuccesses();
    // A probe's outcome always changes the state, which ends the probe.
    void this.circuit.fire(failed);
  }

  /** For BreakerLease only: a probe that came to nothing makes room for another. */
  forgo(epoch: number): void {
    if (epoch === this.epoch) this.probeOut = false;
  }

  /** True if a breaker of these settings would be the same. */
  fits(settings: BreakerSettings): boolean {
    const own = this.settings;
    return (
      own.errorRatePercent === settings.errorRatePercent &&
      own.errorWindowMs === settings.errorWindowMs &&
      own.errorMinimumRequests === settings.errorMinimumRequests &&
      own.openMs === settings.openMs
    );
  }

  /** Ends its timer. Leases that are still out may be settled; nothing comes of it. */
  close(): void {
    this.epoch++;
    this.circuit.shutdown();
  }

  private buildCircuit(): CircuitBreaker<[boolean], void> {
    const { settings } = this;
    const circuit = new CircuitBreaker<[boolean], void>(outcomeOf, {
      name: this.key,
      timeout: false,
      errorThresholdPercentage: settings.errorRatePercent - AT_THRESHOLD,
      volumeThreshold: settings.errorMinimumRequests,
      resetTimeout: settings.openMs,
      rollingCountTimeout: settings.errorWindowMs,
      rollingCountBuckets: BUCKETS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      // Turned by us when an outcome comes: no timer per cluster and slice.
      rotateBucketController: this.rotation,
    });
    // With a fallback the promise that fire returns never rejects; the events have said it all.
    circuit.fallback(() => {});
    circuit.on('open', () => this.enter('ejected'));
    circuit.on('halfOpen', () => this.enter('probing'));
    circuit.on('close', () => this.enter('admitting'));
    return circuit;
  }

  private enter(state: BreakerState): void {
    const { failures, total } = this.numbers;
    const from = this.current;
    this.current = state;
    this.epoch++;
    this.probeOut = false;
    // opossum keeps the old failures: the first one after a recovery would eject again at once.
    if (state === 'admitting') this.rotate(BUCKETS);
    this.onChange({ key: this.key, from, to: state, failures, total, settings: this.settings });
  }

  private turnWindow(): void {
    const bucket = Math.floor(this.clock.now() / this.bucketMs);
    if (bucket === this.bucket) return;
    this.tellSuccesses();
    this.rotate(Math.min(bucket - this.bucket, BUCKETS));
    this.bucket = bucket;
  }

  /** To the first slice of its window, which is the one that opossum fills. */
  private tellSuccesses(): void {
    const [slice] = this.circuit.status.window;
    if (slice === undefined) return;
    slice.fires += this.successes;
    slice.successes += this.successes;
    this.successes = 0;
  }

  private rotate(times: number): void {
    for (let i = 0; i < times; i++) this.rotation.emit('rotate');
    // opossum notes a latency per request even with percentiles off: nobody reads them, so they need not pile up.
    for (const bucket of this.circuit.status.window) bucket.latencyTimes.length = 0;
  }
}

/** How a request ended, as the breaker sees it; `ignore` says nothing about the upstream. */
export type BreakerOutcome = 'succeed' | 'fail' | 'ignore';

/** Leave for one request. The first of succeed, fail and cancel counts. */
export class BreakerLease {
  private readonly breaker: Breaker;
  private readonly epoch: number;
  private settled: boolean;

  constructor(breaker: Breaker, epoch: number) {
    this.breaker = breaker;
    this.epoch = epoch;
    this.settled = false;
  }

  succeed(): void {
    if (this.first()) this.breaker.record(this.epoch, false);
  }

  fail(): void {
    if (this.first()) this.breaker.record(this.epoch, true);
  }

  /** The request ended in a way that says nothing about the upstream: its caller left, a limit of our own. */
  cancel(): void {
    if (this.first()) this.breaker.forgo(this.epoch);
  }

  settle(outcome: BreakerOutcome): void {
    if (outcome === 'fail') this.fail();
    else if (outcome === 'succeed') this.succeed();
    else this.cancel();
  }

  private first(): boolean {
    const first = !this.settled;
    this.settled = true;
    return first;
  }
}

/** opossum asks of a promise no more than what Settled has. */
function outcomeOf(failed: boolean): Promise<void> {
  return (failed ? FAILED : SUCCEEDED) as unknown as Promise<void>;
}
