/**
 * Slow start: an endpoint that is new, or was ejected until now, gets a growing share of the traffic, so that cold
 * caches and compilers do not meet the full load.
 */

export interface SlowStartSettings {
  /** How long the share grows, in milliseconds; 0 switches slow start off. */
  readonly windowMs: number;
  /** Share at the start, in percent of the full weight; Envoy's default is 10. */
  readonly minWeightPercent: number;
  /** 1: grows evenly; above 1: faster at the beginning. Envoy's default is 1. */
  readonly aggression: number;
}

/** Weights are whole numbers to pickers; this many stand for a weight of 1, so that a share of it has room. */
export const WEIGHT_STEPS = 100;

/**
 * The weight of an endpoint that has been up for `upMs`, in steps of 1/WEIGHT_STEPS and at least one: the percentage
 * `(upMs / window) ^ (1 / aggression)` of the full one, as in Envoy. All endpoints of a picker need weights in these steps.
 */
export function rampedWeight(weight: number, upMs: number, settings: SlowStartSettings): number {
  const full = weight * WEIGHT_STEPS;
  if (upMs >= settings.windowMs) return full;
  const grown = (Math.max(0, upMs) / settings.windowMs) ** (1 / settings.aggression);
  return Math.max(1, Math.round(full * Math.max(settings.minWeightPercent / 100, grown)));
}
