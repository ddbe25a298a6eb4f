/**
 * Ejects endpoints that fail while their neighbours do not (Envoy's outlier detection): by errors in a row and by a
 * success rate far below that of the others. States are `admitting → ejected → probing → admitting`.
 *
 * An endpoint whose time is over is not simply trusted again: it takes traffic, but the first failure ejects it anew,
 * for longer, and the first success makes it an equal.
 */
import type { Clock, Timer } from '../../shared/clock.ts';

export type EndpointState = 'admitting' | 'ejected' | 'probing';

/** How a request to an endpoint ended: local failures (refused, reset, timed out) are told apart from answers. */
export type EndpointOutcome = 'success' | 'error' | 'gatewayError' | 'localFailure';

export type EjectionReason =
  | 'consecutiveErrors'
  | 'consecutiveGatewayErrors'
  | 'consecutiveLocalFailures'
  | 'successRate'
  | 'probeFailed';

export interface OutlierSettings {
  /** Failures in a row that eject; 0 switches the rule off. Any failure counts as an error, 5xx answers included. */
  readonly consecutiveErrors: number;
  /** 502, 503, 504 and local failures in a row. */
  readonly consecutiveGatewayErrors: number;
  readonly consecutiveLocalFailures: number;
  /** How often success rates are compared; 0 switches the comparison off. */
  readonly intervalMs: number;
  /** Endpoints and requests of each within an interval, below which rates are not compared. */
  readonly successRateMinimumHosts: number;
  readonly successRateRequestVolume: number;
  /** Standard deviations below the mean at which an endpoint is an outlier; 0 switches the comparison off. */
  readonly successRateDeviations: number;
  /** First ejection; the n-th in a row lasts n times as long, up to the most. Of the unreachable each lasts so long. */
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  /** Share of the endpoints that may be ejected at once; one always may where there are others. 0: none ever. */
  readonly maxEjectionPercent: number;
}

export interface OutlierChange {
  readonly key: string;
  readonly from: EndpointState;
  readonly to: EndpointState;
  /** Why it was ejected; null for the way back. */
  readonly reason: EjectionReason | null;
  /** What the rule counted (failures in a row, or percent of success) and its limit; 0 for the way back. */
  readonly observed: number;
  readonly limit: number;
  readonly ejectedForMs: number;
}

/** Between two changes of who serves while nobody can be talked to. */
const TRADE_MS = 250;

class Health {
  readonly key: string;
  state: EndpointState = 'admitting';
  errorsInRow = 0;
  gatewayErrorsInRow = 0;
  localFailuresInRow = 0;
  successes = 0;
  total = 0;
  ejections = 0;
  ejectedAt = 0;
  timer: Timer | null = null;

  constructor(key: string) {
    this.key = key;
  }
}

/** The endpoints of one cluster, by key. Timers exist only while something is ejected. */
export class OutlierDetector {
  private readonly clock: Clock;
  /** A reload may change them; what was counted stays. */
  settings: OutlierSettings;
  private readonly onChange: (change: OutlierChange) => void;
  private readonly endpoints = new Map<string, Health>();
  private ejected = 0;
  private comparedAt: number;
  private tradedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, settings: OutlierSettings, onChange: (change: OutlierChange) => void) {
    this.clock = clock;
    this.settings = settings;
    this.onChange = onChange;
    this.comparedAt = clock.now();
  }

  /** Starts to watch an endpoint; a known one keeps its state. */
  add(key: string): void {
    if (!this.endpoints.has(key)) this.endpoints.set(key, new Health(key));
  }

  /** Forgets an endpoint that is gone. */
  remove(key: string): void {
    const health = this.endpoints.get(key);
    if (health === undefined) return;
    if (health.state === 'ejected') this.ejected--;
    health.timer?.cancel();
    this.endpoints.delete(key);
  }

  /** The state of an endpoint; strangers are admitted. */
  state(key: string): EndpointState {
    return this.endpoints.get(key)?.state ?? 'admitting';
  }

  /** A request to `key` ended. What comes from an ejected endpoint is from before, and says nothing new. */
  record(key: string, outcome: EndpointOutcome): void {
    const health = this.endpoints.get(key);
    if (health === undefined || health.state === 'ejected') return;
    health.total++;
    if (outcome === 'success') this.succeeded(health);
    else this.failed(health, outcome);
    const { intervalMs } = this.settings;
    if (intervalMs > 0 && this.clock.now() - this.comparedAt >= intervalMs) this.compareRates();
  }

  /** Ends all timers. */
  close(): void {
    for (const health of this.endpoints.values()) health.timer?.cancel();
    this.endpoints.clear();
    this.ejected = 0;
  }

  private succeeded(health: Health): void {
    health.successes++;
    health.errorsInRow = 0;
    health.gatewayErrorsInRow = 0;
    health.localFailuresInRow = 0;
    if (health.state === 'probing') this.enter(health, 'admitting', null, 0, 0, 0);
  }

  private failed(health: Health, outcome: Exclude<EndpointOutcome, 'success'>): void {
    const { settings } = this;
    health.errorsInRow++;
    health.gatewayErrorsInRow = outcome === 'error' ? 0 : health.gatewayErrorsInRow + 1;
    health.localFailuresInRow = outcome === 'localFailure' ? health.localFailuresInRow + 1 : 0;
    if (health.state === 'probing') this.eject(health, 'probeFailed', 1, 1);
    else if (reached(health.localFailuresInRow, settings.consecutiveLocalFailures))
      this.eject(health, 'consecutiveLocalFailures', health.localFailuresInRow, settings.consecutiveLocalFailures);
    else if (reached(health.gatewayErrorsInRow, settings.consecutiveGatewayErrors))
      this.eject(health, 'consecutiveGatewayErrors', health.gatewayErrorsInRow, settings.consecutiveGatewayErrors);
    else if (reached(health.errorsInRow, settings.consecutiveErrors))
      this.eject(health, 'consecutiveErrors', health.errorsInRow, settings.consecutiveErrors);
  }

  /** Who stands out below the others; and who was good for a whole interval pays less for the next failure. */
  private compareRates(): void {
    const { settings } = this;
    this.comparedAt = this.clock.now();
    const watched = [...this.endpoints.values()].filter((health) => health.state !== 'ejected');
    const busy = watched.filter((health) => health.total > 0 && health.total >= settings.successRateRequestVolume);
    if (settings.successRateDeviations > 0 && busy.length >= settings.successRateMinimumHosts) {
      const limit = outlierLimit(busy.map(rateOf), settings.successRateDeviations);
      for (const health of busy) if (rateOf(health) < limit) this.eject(health, 'successRate', rateOf(health), limit);
    }
    for (const health of watched) {
      health.successes = 0;
      health.total = 0;
      if (health.state === 'admitting' && health.ejections > 0) health.ejections--;
    }
  }

  private eject(health: Health, reason: EjectionReason, observed: number, limit: number): void {
    // What cannot be talked to at all, instead of answering badly.
    const unreachable = health.localFailuresInRow > 0;
    if (unreachable) this.makeRoom();
    if (!this.mayEject(unreachable)) return;
    health.ejections++;
    const { baseEjectionMs, maxEjectionMs } = this.settings;
    // Who is not there may be back any moment, and costs one refused connection to ask; who answers badly may go on so.
    const times = unreachable ? 1 : health.ejections;
    const ms = Math.min(maxEjectionMs, baseEjectionMs * times);
    this.ejected++;
    health.ejectedAt = this.clock.now();
    health.timer = this.clock.after(ms, () => this.release(health));
    this.enter(health, 'ejected', reason, observed, limit, ms);
  }

  /**
   * The last endpoint that serves has gone, too: the one that was ejected first is the likeliest to be back, as in a rollout,
   * and takes its place. No more often than needed, since all may be gone.
   */
  private makeRoom(): void {
    const now = this.clock.now();
    if (this.ejected < this.endpoints.size - 1 || now - this.tradedAt < TRADE_MS) return;
    let first: Health | null = null;
    for (const health of this.endpoints.values()) {
      if (health.state === 'ejected' && (first === null || health.ejectedAt < first.ejectedAt)) first = health;
    }
    if (first === null) return;
    this.tradedAt = now;
    first.timer?.cancel();
    this.release(first);
  }

  private release(health: Health): void {
    this.ejected--;
    health.timer = null;
    health.errorsInRow = 0;
    health.gatewayErrorsInRow = 0;
    health.localFailuresInRow = 0;
    this.enter(health, 'probing', null, 0, 0, 0);
  }

  /**
   * Never all: a fault that everybody shows is not the endpoints' own. Those that cannot even be talked to may go beyond the
   * share: in a rollout half of the endpoints may well be gone, and nothing is won by trying them.
   */
  private mayEject(unreachable: boolean): boolean {
    const count = this.endpoints.size;
    const share = Math.max(1, Math.floor((count * this.settings.maxEjectionPercent) / 100));
    const most = unreachable ? count - 1 : Math.min(share, count - 1);
    return this.settings.maxEjectionPercent > 0 && this.ejected < most;
  }

  private enter(
    health: Health,
    to: EndpointState,
    reason: EjectionReason | null,
    observed: number,
    limit: number,
    ejectedForMs: number,
  ): void {
    const from = health.state;
    health.state = to;
    this.onChange({ key: health.key, from, to, reason, observed, limit, ejectedForMs });
  }
}

function reached(count: number, limit: number): boolean {
  return limit > 0 && count >= limit;
}

/** Percent of success. */
function rateOf(health: Health): number {
  return (health.successes / health.total) * 100;
}

function outlierLimit(rates: readonly number[], deviations: number): number {
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
  return mean - deviations * Math.sqrt(variance);
}
