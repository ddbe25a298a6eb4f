/** Limits on what may be open at once, as leases: connections, pending requests, requests, retries. */

/** A number of slots. Whoever acquired one releases it exactly once. */
export class Slots {
  /** This data thread's share. A reload may lower it below `active`: what is held stays until it is released. */
  limit: number;
  private held: number;

  constructor(limit: number) {
    this.limit = limit;
    this.held = 0;
  }

  get active(): number {
    return this.held;
  }

  tryAcquire(): boolean {
    if (this.held >= this.limit) return false;
    this.held++;
    return true;
  }

  /** Throws if nothing is held: that lease was released twice. */
  release(): void {
    if (this.held === 0) throw new Error('a slot was released that nobody held');
    this.held--;
  }
}

/**
 * The share of data thread `thread` (from 0) of a limit for the whole sidecar. Shares sum to the limit, unless it is
 * below the number of threads: a thread without any share could serve nobody, so each gets at least 1. A limit of 0
 * means nothing is let through and stays 0.
 */
export function shareOf(limit: number, thread: number, threads: number): number {
  if (limit === 0) return 0;
  const share = Math.floor(limit / threads) + (thread < limit % threads ? 1 : 0);
  return Math.max(1, share);
}
