/** The rules of a circuit breaker written down plainly, with a list of outcomes for a window: what the real one is held against. */
import type { BreakerSettings, BreakerState } from '../../proxy/upstream/breaker.ts';

const SLICES = 10;

export class BreakerRules {
  state: BreakerState = 'admitting';
  epoch = 0;
  private readonly settings: BreakerSettings;
  private outcomes: { slice: number; failed: boolean }[] = [];
  private probeOut = false;
  private ejectedAt = 0;

  constructor(settings: BreakerSettings) {
    this.settings = settings;
  }

  pass(now: number): void {
    if (this.state === 'ejected' && now - this.ejectedAt >= this.settings.openMs) this.enter('probing');
  }

  admit(): boolean {
    if (this.state === 'admitting') return true;
    if (this.state === 'ejected' || this.probeOut) return false;
    this.probeOut = true;
    return true;
  }

  /** A request that was admitted in `epoch` ends. */
  end(now: number, epoch: number, verdict: 'succeed' | 'fail' | 'cancel'): void {
    if (epoch !== this.epoch) return;
    if (verdict === 'cancel') {
      this.probeOut = false;
      return;
    }
    const failed = verdict === 'fail';
    if (this.state === 'probing') {
      this.ejectedAt = now;
      this.enter(failed ? 'ejected' : 'admitting');
      return;
    }
    const slice = Math.floor(now / (this.settings.errorWindowMs / SLICES));
    this.outcomes = [...this.outcomes, { slice, failed }].filter((outcome) => slice - outcome.slice < SLICES);
    const failures = this.outcomes.filter((outcome) => outcome.failed).length;
    const enough = this.outcomes.length >= this.settings.errorMinimumRequests;
    if (failed && enough && failures * 100 >= this.settings.errorRatePercent * this.outcomes.length) {
      this.ejectedAt = now;
      this.enter('ejected');
    }
  }

  private enter(state: BreakerState): void {
    this.state = state;
    this.epoch++;
    this.probeOut = false;
    if (state === 'admitting') this.outcomes = [];
  }
}
