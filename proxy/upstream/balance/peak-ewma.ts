/**
 * PeakEWMA (Finagle's): of two endpoints drawn at random the one whose answer is expected sooner, by its latency of
 * late and by what is in flight. Rises at once with a slow answer and falls slowly, so that trouble is believed
 * immediately and recovery only with proof.
 */
import type { Clock } from '../../../shared/clock.ts';
import type { Random } from '../../../shared/random.ts';
import type { LatencyEstimate, Pickable, Picker, PickerKind } from '../picker.ts';
import { untriedFrom } from './untried.ts';
import { WeightedDraw } from './weighted-draw.ts';

/** After so long without slow answers about a third (1/e) of the last peak is left; Finagle's default. */
const DECAY_MS = 10_000;

/** The latency of one endpoint; kept with the endpoint, so it outlives pickers and snapshots. */
export class PeakLatency implements LatencyEstimate {
  private readonly clock: Clock;
  private average: number;
  private observedAt: number;

  constructor(clock: Clock) {
    this.clock = clock;
    this.average = 0;
    this.observedAt = clock.now();
  }

  /** A request took `ms` until its response head. */
  observe(ms: number): void {
    const now = this.clock.now();
    const kept = this.keptAt(now);
    this.average = ms > this.average ? ms : this.average * kept + ms * (1 - kept);
    this.observedAt = now;
  }

  /** Falls towards 0 while nothing is heard, so that an endpoint nobody picks gets another chance. */
  expectedMs(): number {
    return this.average * this.keptAt(this.clock.now());
  }

  private keptAt(now: number): number {
    return Math.exp((this.observedAt - now) / DECAY_MS);
  }
}

/** Cost of an endpoint that has requests in flight and never answered one: above that of any measured one. */
const UNKNOWN_MS = 1e9;

class PeakEwma<E extends Pickable> implements Picker<E> {
  private readonly endpoints: readonly E[];
  private readonly places: WeightedDraw;

  constructor(endpoints: readonly E[], random: Random) {
    this.endpoints = endpoints;
    this.places = new WeightedDraw(
      endpoints.map((endpoint) => endpoint.weight),
      random,
    );
  }

  pick(tried: readonly E[] | null): E {
    const { endpoints, places } = this;
    const place = places.draw();
    let other = places.draw();
    if (other === place) other = place + 1 === endpoints.length ? 0 : place + 1;
    const first = untriedFrom(endpoints, place, tried);
    const second = untriedFrom(endpoints, other, tried);
    return costOf(second) < costOf(first) ? second : first;
  }
}

/** Expected wait if one more came: a newcomer is free for its first request and out of the question until it answers. */
function costOf(endpoint: Pickable): number {
  const expected = endpoint.latency?.expectedMs() ?? 0;
  const load = endpoint.active / endpoint.weight;
  if (expected === 0) return endpoint.active === 0 ? 0 : UNKNOWN_MS + load;
  return expected * (load + 1);
}

export const PEAK_EWMA: PickerKind = {
  type: 'PeakEWMA',
  build: (endpoints, random) => new PeakEwma(endpoints, random),
};
