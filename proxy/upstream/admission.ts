/** What one request holds of its cluster: a slot, a place under the adaptive limit, leave of the breaker, slots for retries. */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { AdaptiveConcurrency } from './adaptive-concurrency.ts';
import type { BreakerLease, BreakerOutcome } from './breaker.ts';
import type { Cluster } from './cluster.ts';

export class Admission {
  private readonly cluster: Cluster;
  private readonly concurrency: AdaptiveConcurrency | null;
  private breakerLease: BreakerLease | null = null;
  private retrySlots = 0;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.concurrency = cluster.concurrency;
  }

  /** True if it matters to the breaker how the request ends. */
  get judged(): boolean {
    return this.breakerLease !== null;
  }

  /** Takes all that a request needs, to be given back by `leave`; or nothing, and says what there was none of. */
  enter(): Failure | null {
    const { cluster, concurrency } = this;
    if (!cluster.requests.tryAcquire()) return FAILURES.requestLimit;
    if (concurrency !== null && !concurrency.tryAcquire()) {
      cluster.requests.release();
      return FAILURES.concurrencyLimit;
    }
    if (cluster.breaker !== null) {
      this.breakerLease = cluster.breaker.admit();
      if (this.breakerLease === null) {
        concurrency?.release();
        cluster.requests.release();
        return FAILURES.breakerOpen;
      }
    }
    cluster.budget.onRequest();
    return null;
  }

  /** Takes what another attempt needs: a slot and, unless it puts no load on anybody, a share of the budget. */
  tryRetry(counts: boolean): boolean {
    const { retries, budget } = this.cluster;
    if (!retries.tryAcquire()) return false;
    if (counts && !budget.tryRetry()) {
      retries.release();
      return false;
    }
    this.retrySlots++;
    return true;
  }

  /** What a whole answer is to the breaker: its status, its gRPC code (-1 without), the milliseconds until it started. */
  outcomeOf(status: number, grpcCode: number, ms: number): BreakerOutcome {
    return this.judged && this.cluster.breakerErrors.isError(status, grpcCode, ms) ? 'fail' : 'succeed';
  }

  /** The head of an answer is here, of an attempt that began at `startedAt`. */
  answered(startedAt: number, now: number): void {
    this.concurrency?.observe(startedAt, now);
  }

  /** `unansweredMs`: how long no answer had come; 0 for a request that got one. */
  leave(outcome: BreakerOutcome, unansweredMs: number): void {
    const { cluster, concurrency, breakerLease } = this;
    for (; this.retrySlots > 0; this.retrySlots--) cluster.retries.release();
    breakerLease?.settle(outcome);
    if (concurrency !== null) {
      if (unansweredMs > 0) concurrency.unanswered(unansweredMs);
      concurrency.release();
    }
    cluster.requests.release();
  }
}
