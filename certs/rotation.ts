/** When to renew a certificate, and when to cry that it will not be renewed in time. */
import type { Clock, Timer } from '../shared/clock.ts';
import type { Random } from '../shared/random.ts';
import type { Identity } from './identity.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Renewals of a fleet that was started at once drift apart. */
const RENEWAL_JITTER = 0.1;

type Validity = Pick<Identity, 'notBefore' | 'notAfter'>;

/** However short a certificate lives, or however wrong a clock is, a CA is not asked more often than this. */
const MIN_RENEWAL_MS = 1000;

/**
 * Milliseconds to wait with the renewal of an identity that came at `now`: half of the time it has left, ±10 %. What lies
 * before `now` does not count: a certificate of a few minutes, dated back by two, would be past its half at once.
 */
export function renewalDelay(identity: Validity, now: number, random: Random): number {
  const half = (identity.notAfter - Math.max(identity.notBefore, now)) / 2;
  return Math.max(MIN_RENEWAL_MS, half * (1 + RENEWAL_JITTER * (2 * random.float() - 1)));
}

/** By how much CAs commonly date certificates back, for peers whose clock is behind; it is not part of their life. */
const DATED_BACK_MS = 120_000;

/**
 * How long before its end a certificate that was not renewed is worth a warning: a day, but for the short-lived no more than
 * the last third of their life, which renewal at half of it never reaches.
 */
export function warningLead(identity: Validity): number {
  const life = identity.notAfter - identity.notBefore - DATED_BACK_MS;
  return Math.max(0, Math.min(DAY_MS, life / 3));
}

export interface ExpiryCalls {
  /** The own certificate ends in `leftMs`; once on entering the last stretch, then once a day. */
  onExpiring(leftMs: number): void;
  /** It has ended; once. */
  onExpired(): void;
}

/** Watches the end of one identity at a time by the wall clock. The owner closes it. */
export class ExpiryWatch {
  private readonly clock: Clock;
  private readonly calls: ExpiryCalls;
  private identity: Validity | null = null;
  private warnedAt = Number.NEGATIVE_INFINITY;
  private timer: Timer | null = null;

  constructor(clock: Clock, calls: ExpiryCalls) {
    this.clock = clock;
    this.calls = calls;
  }

  /** From now on this identity counts, and no earlier one. */
  use(identity: Validity): void {
    this.identity = identity;
    this.warnedAt = Number.NEGATIVE_INFINITY;
    this.look();
  }

  close(): void {
    this.timer?.cancel();
    this.timer = null;
    this.identity = null;
  }

  /** Looks at least hourly, because the wall clock may jump and a timer would sleep through it. */
  private look(): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.identity === null) return;
    const now = this.clock.wall();
    const left = this.identity.notAfter - now;
    if (left <= 0) {
      this.identity = null;
      this.calls.onExpired();
      return;
    }
    const lead = warningLead(this.identity);
    if (left <= lead && now - this.warnedAt >= DAY_MS) {
      this.warnedAt = now;
      this.calls.onExpiring(left);
    }
    const wait = left > lead ? left - lead : left;
    this.timer = this.clock.after(Math.min(wait, HOUR_MS), () => this.look());
  }
}
