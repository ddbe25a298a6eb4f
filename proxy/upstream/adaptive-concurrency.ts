/**
 * A limit on requests at a time that nobody has to choose: it follows the latency (the gradient of Envoy's adaptive
 * concurrency filter and of Netflix's concurrency-limits). Requests beyond what the upstream can work on at once only
 * wait there, so a latency above that of the unloaded upstream says that the limit is too high, and one like it that
 * there may be room for more.
 *
 * The unloaded latency is learned from the first answers, falls with faster ones, and is measured anew with the smallest
 * limit while requests are being refused; as long as nobody is refused, nobody pays for that. An upstream that has become
 * slower for another reason drives the limit down, since that makes it no faster, and is measured again near the smallest.
 */
import type { Clock } from '../../shared/clock.ts';
import { LatencyHistogram } from './latency-histogram.ts';
import type { AdaptiveConcurrencySpec } from './spec.ts';

/** Requests at a time before anything is known; Netflix's. From there a limit doubles within a tenth of a second. */
const INITIAL_LIMIT = 20;
/** A limit is judged by the answers of at least so long, and of at least so many. */
const WINDOW_MS = 100;
const MIN_ANSWERS = 10;
/** The unloaded latency is judged by so many (Envoy's). */
const PROBE_ANSWERS = 50;
/** Of too few answers, a probe ends then all the same. */
const MAX_PROBE_MS = 5_000;
/** One window changes the limit by no more than these factors (Envoy's). */
const MIN_GRADIENT = 0.5;
const MAX_GRADIENT = 2;
const MEDIAN = 0.5;
/** Between two probes of a limit that is near the smallest. */
const NEAR_BOTTOM_MS = 1_000;
/** What one faster window takes of the distance to it: a second of luck is not the latency to be had from now on. */
const FOLLOW_DOWN = 0.3;

export class AdaptiveConcurrency {
  /** A reload may change them. */
  settings: AdaptiveConcurrencySpec;
  /** Requests turned away so far. */
  refused = 0;
  private readonly clock: Clock;
  private current: number;
  private held = 0;
  /** Milliseconds of the unloaded upstream; 0 until it is known. */
  private unloadedMs = 0;
  private readonly window = new LatencyHistogram();
  private windowAt: number;
  /** The most requests at a time in this window. */
  private peak = 0;
  private probing = false;
  /** When the last probe began, which answers of requests from before say nothing to. */
  private probedAt: number;
  private refusedSinceProbe = false;

  /** `settings` is this data thread's share. */
  constructor(clock: Clock, settings: AdaptiveConcurrencySpec) {
    const now = clock.now();
    this.clock = clock;
    this.settings = settings;
    this.current = this.bounded(INITIAL_LIMIT);
    this.windowAt = now;
    this.probedAt = now;
  }

  get limit(): number {
    return this.probing ? this.settings.minLimit : this.current;
  }

  get active(): number {
    return this.held;
  }

  /** Who acquired a place releases it exactly once. */
  tryAcquire(): boolean {
    if (this.held >= this.limit) {
      this.refused++;
      this.refusedSinceProbe = true;
      // Where nothing is answered any more, refusals must keep the time.
      this.turn(this.clock.now());
      return false;
    }
    this.held++;
    if (this.held > this.peak) this.peak = this.held;
    return true;
  }

  release(): void {
    this.held--;
  }

  /** An answer began at `now`, of an attempt that was made at `startedAt`. */
  observe(startedAt: number, now: number): void {
    if (!this.probing || startedAt >= this.probedAt) this.window.add(now - startedAt);
    this.turn(now);
  }

  /** A request ended after so long without an answer. Who fails at once says nothing; who was waited for was slow. */
  unanswered(ms: number): void {
    if (this.unloadedMs > 0 && ms > this.unloadedMs && !this.probing) this.window.add(ms);
    this.turn(this.clock.now());
  }

  private turn(now: number): void {
    if (this.probing) {
      const enough = this.window.total >= PROBE_ANSWERS;
      if (enough || now - this.probedAt >= MAX_PROBE_MS) this.endProbe(now);
    } else if (now - this.windowAt >= WINDOW_MS && this.window.total >= MIN_ANSWERS) {
      this.judge();
      this.beginWindow(now);
      if (this.refusedSinceProbe && this.probeDue(now)) this.beginProbe(now);
    }
  }

  private judge(): void {
    const latency = this.window.quantile(MEDIAN);
    if (this.unloadedMs === 0) this.unloadedMs = latency;
    if (latency < this.unloadedMs) this.unloadedMs += FOLLOW_DOWN * (latency - this.unloadedMs);
    const allowed = this.unloadedMs * (1 + this.settings.tolerancePercent / 100);
    const gradient = Math.min(MAX_GRADIENT, Math.max(MIN_GRADIENT, allowed / latency));
    // A limit that nobody came near has not been tried out.
    if (gradient >= 1 && this.peak * 2 < this.current) return;
    const scaled = this.current * gradient;
    this.current = this.bounded(Math.floor(scaled + Math.sqrt(scaled)));
  }

  private beginWindow(now: number): void {
    this.window.clear();
    this.windowAt = now;
    this.peak = this.held;
  }

  private probeDue(now: number): boolean {
    const { minLimit, probeIntervalMs } = this.settings;
    // So far down a probe takes hardly anything away.
    const ms = this.current <= 2 * minLimit ? Math.min(NEAR_BOTTOM_MS, probeIntervalMs) : probeIntervalMs;
    return now - this.probedAt >= ms;
  }

  private beginProbe(now: number): void {
    this.probing = true;
    this.probedAt = now;
  }

  private endProbe(now: number): void {
    this.probing = false;
    if (this.window.total > 0) this.unloadedMs = this.window.quantile(MEDIAN);
    this.refusedSinceProbe = false;
    this.beginWindow(now);
  }

  private bounded(limit: number): number {
    const { minLimit, maxLimit } = this.settings;
    return Math.max(minLimit, Math.min(maxLimit, limit));
  }
}
