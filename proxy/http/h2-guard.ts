/** Counts what a peer does to a connection that costs us and brings nobody anything (CVE-2019-9511 ff., CVE-2023-44487). */
import type { Clock } from '../../shared/clock.ts';
import { type H2Limits, TokenBucket } from './h2-limits.ts';

export class H2Guard {
  private readonly clock: Clock;
  private readonly resets: TokenBucket;
  private readonly settings: TokenBucket;
  private readonly pings: TokenBucket;
  private readonly empties: TokenBucket;

  constructor(limits: H2Limits, clock: Clock) {
    const now = clock.now();
    this.clock = clock;
    this.resets = new TokenBucket(limits.resetBurst, limits.resetsPerSecond, now);
    this.settings = new TokenBucket(limits.settingsBurst, limits.settingsPerSecond, now);
    this.pings = new TokenBucket(limits.pingBurst, limits.pingsPerSecond, now);
    this.empties = new TokenBucket(limits.emptyBurst, limits.emptyPerSecond, now);
  }

  /** Each counts one and is false when the peer has gone too far. */
  reset(): boolean {
    return this.resets.take(this.clock.now());
  }

  setting(): boolean {
    return this.settings.take(this.clock.now());
  }

  /** PING, PRIORITY, unknown frames, and frames for streams that are gone. */
  ping(): boolean {
    return this.pings.take(this.clock.now());
  }

  empty(): boolean {
    return this.empties.take(this.clock.now());
  }
}
