/**
 * What a picker is. Pickers are immutable (as in gRPC's client): a pick is a few array reads, and whatever changes —
 * endpoints, weights, ejections — makes a new picker instead of being looked at on every pick.
 */
import type { Random } from '../../shared/random.ts';

/** What a picker reads of an endpoint. */
export interface Pickable {
  /** `address:port`: what consistent hashing places, the same in every sidecar. */
  readonly key: string;
  /** Share of the traffic relative to the other endpoints, above 0. Read when the picker is made. */
  readonly weight: number;
  /** Requests in flight from this data thread; whoever leases a stream counts it up and down. Read at every pick. */
  readonly active: number;
  /** Ready and not ejected. Read when the picker is made: a change needs a new one. */
  readonly available: boolean;
  /** How slow it is, where somebody measures (PeakEWMA). Read at every pick. */
  readonly latency?: LatencyEstimate | null;
}

export interface LatencyEstimate {
  /** Expected milliseconds of a request now; 0 while nothing is known. */
  expectedMs(): number;
}

export interface Picker<E extends Pickable> {
  /**
   * An endpoint that is not in `tried`; one of `tried` again only if there is no other; null if none was available.
   * `hash` (32 bits, unsigned) is the request's, for pickers that keep equal requests together.
   */
  pick(tried: readonly E[] | null, hash?: number): E | null;
}

/** One line of the registry. `endpoints` is never empty, holds each endpoint once and only those to choose from. */
export interface PickerKind {
  readonly type: string;
  build<E extends Pickable>(endpoints: readonly E[], random: Random): Picker<E>;
}
