/**
 * From all endpoints of a cluster to the picker in force: who is available, what to do when few are, which zone, and how
 * much of the traffic newcomers get. Made anew whenever something of that changes, so that a pick asks nothing.
 */
import type { Random } from '../../shared/random.ts';
import { localShare, proportionalShares, ZonePicker } from './balance/zones.ts';
import { createPicker, pickerOver } from './balancer.ts';
import type { Endpoint } from './endpoint.ts';
import type { Picker } from './picker.ts';
import { rampedWeight, type SlowStartSettings, WEIGHT_STEPS } from './slow-start.ts';
import type { LoadBalancerSpec } from './spec.ts';

/** Envoy's: a newcomer begins with a tenth and grows evenly. */
const MIN_WEIGHT_PERCENT = 10;
const AGGRESSION = 1;
/** While somebody warms up, weights are set again so often in its window, but no faster than this. */
const RAMP_STEPS = 20;
const MIN_RAMP_MS = 100;

export interface Choice {
  readonly picker: Picker<Endpoint>;
  /** Milliseconds after which weights have grown enough for a new choice; 0: nobody warms up. */
  readonly renewInMs: number;
  /** So few are in health that all are used. */
  readonly panicking: boolean;
}

/** `zone` is the own one, empty if unknown; `now` the monotonic time. */
export function choose(
  spec: LoadBalancerSpec,
  endpoints: readonly Endpoint[],
  zone: string,
  now: number,
  random: Random,
): Choice {
  const renewInMs = setWeights(endpoints, spec.slowStartMs, now);
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  const healthy = ready.filter((endpoint) => endpoint.available);
  const panicking = ready.length > 0 && healthy.length * 100 < spec.panicPercent * ready.length;
  const candidates = panicking ? ready : healthy;
  return { picker: byZone(spec, candidates, ready, zone, random), renewInMs, panicking };
}

function byZone(
  spec: LoadBalancerSpec,
  candidates: readonly Endpoint[],
  ready: readonly Endpoint[],
  zone: string,
  random: Random,
): Picker<Endpoint> {
  const { type, zones } = spec;
  const aware = zones !== null && zone !== '' && candidates.length > 0 && ready.length >= zones.minEndpoints;
  const groups = !aware
    ? []
    : zones.force
      ? forced(candidates, ready, zone, zones.minEndpointsInZone)
      : proportional(candidates, ready, zone);
  if (groups.length < 2) return pickerOver(type, candidates, random);
  const parts = groups.map(({ endpoints, share }) => ({ picker: pickerOver(type, endpoints, random), share }));
  return new ZonePicker(parts, spec.hashOn !== null, random);
}

interface Group {
  readonly endpoints: readonly Endpoint[];
  readonly share: number;
}

/** The own zone, and all others; none where the own zone has too few endpoints to be preferred. */
function forced(candidates: readonly Endpoint[], ready: readonly Endpoint[], zone: string, fewest: number): Group[] {
  const local = candidates.filter((endpoint) => endpoint.zone === zone);
  if (local.length === 0 || local.length < fewest) return [];
  const others = candidates.filter((endpoint) => endpoint.zone !== zone);
  const readyHere = ready.filter((endpoint) => endpoint.zone === zone).length;
  const share = localShare(local.length, readyHere);
  const groups = [
    { endpoints: local, share },
    { endpoints: others, share: 1 - share },
  ];
  return groups.filter(({ endpoints }) => endpoints.length > 0);
}

/** A group for each zone that has candidates. A zone whose endpoints are all in trouble still has callers. */
function proportional(candidates: readonly Endpoint[], ready: readonly Endpoint[], zone: string): Group[] {
  const capacity = new Map<string, number>([[zone, 0]]);
  for (const endpoint of ready) capacity.set(endpoint.zone, 0);
  for (const endpoint of candidates) {
    capacity.set(endpoint.zone, (capacity.get(endpoint.zone) as number) + endpoint.declaredWeight);
  }
  const shares = proportionalShares(capacity, zone);
  return [...Map.groupBy(candidates, (endpoint) => endpoint.zone)].map(([name, endpoints]) => ({
    endpoints,
    share: shares.get(name) as number,
  }));
}

/** Gives each endpoint its weight of the moment. */
function setWeights(endpoints: readonly Endpoint[], slowStartMs: number, now: number): number {
  if (slowStartMs === 0) {
    for (const endpoint of endpoints) endpoint.weight = endpoint.declaredWeight;
    return 0;
  }
  const settings: SlowStartSettings = {
    windowMs: slowStartMs,
    minWeightPercent: MIN_WEIGHT_PERCENT,
    aggression: AGGRESSION,
  };
  let growing = false;
  for (const endpoint of endpoints) {
    const upMs = now - endpoint.upSince;
    endpoint.weight = rampedWeight(endpoint.declaredWeight, upMs, settings);
    if (endpoint.weight < endpoint.declaredWeight * WEIGHT_STEPS) growing = true;
  }
  return growing ? Math.max(MIN_RAMP_MS, slowStartMs / RAMP_STEPS) : 0;
}

/** The picker before anybody is known. */
export function nobody(random: Random): Picker<Endpoint> {
  return createPicker('RoundRobin', [], random);
}
