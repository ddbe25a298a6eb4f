/**
 * Which part of the traffic each zone gets from a caller in one of them.
 *
 * Proportional (Envoy's zone-aware routing): as much stays in the own zone as keeps every endpoint of all zones equally
 * busy; what a zone has too little room for goes to those with more than their callers need. Sidecars do not know how many
 * callers each zone has, and take it to be equally many.
 *
 * Forced: the own zone takes all, and gives over to the others in proportion as its endpoints fail (Envoy's
 * over-provisioning of priority levels, with the own zone as the first level and all others as the second).
 */
import type { Random } from '../../../shared/random.ts';
import type { Pickable, Picker } from '../picker.ts';
import { mix32 } from './hash.ts';

/** The own zone takes all as long as 1/1.4 of its endpoints, 72 %, are in health (Envoy's factor). */
const OVER_PROVISIONING = 1.4;

/** Forced: the share of the traffic, from 0 to 1, that so many healthy endpoints of so many can take. */
export function localShare(healthy: number, ready: number): number {
  return ready === 0 ? 0 : Math.min(1, (OVER_PROVISIONING * healthy) / ready);
}

/**
 * Proportional: shares that sum to 1, by zone. `capacity` holds the weights in health of every zone that has callers, the own
 * one among them; their sum is above 0.
 */
export function proportionalShares(capacity: ReadonlyMap<string, number>, own: string): Map<string, number> {
  const total = [...capacity.values()].reduce((sum, weight) => sum + weight, 0);
  const callers = 1 / capacity.size;
  const local = Math.min(1, (capacity.get(own) ?? 0) / total / callers);
  const spare = new Map([...capacity].map(([zone, weight]) => [zone, Math.max(0, weight / total - callers)]));
  spare.delete(own);
  const allSpare = [...spare.values()].reduce((sum, room) => sum + room, 0);
  const shares = new Map([[own, local]]);
  for (const [zone, room] of spare) shares.set(zone, allSpare === 0 ? 0 : ((1 - local) * room) / allSpare);
  return shares;
}

/** The endpoints of a zone, or of several, and their share of the traffic from 0 to 1. */
export interface ZonePart<E extends Pickable> {
  readonly picker: Picker<E>;
  readonly share: number;
}

/** So that the zone of a request says nothing of its place in the zone's table. */
const ZONE_SEED = 0x7a6f_6e65;

/** A picker for each part; what one has tried already the others take, in their order. */
export class ZonePicker<E extends Pickable> implements Picker<E> {
  private readonly pickers: readonly Picker<E>[];
  /** Of the parts up to and with each. */
  private readonly sums: Float64Array;
  private readonly byHash: boolean;
  private readonly random: Random;

  /** `byHash`: equal requests find the same zone. */
  constructor(parts: readonly ZonePart<E>[], byHash: boolean, random: Random) {
    this.pickers = parts.map(({ picker }) => picker);
    let sum = 0;
    this.sums = Float64Array.from(parts, ({ share }) => (sum += share));
    this.byHash = byHash;
    this.random = random;
  }

  pick(tried: readonly E[] | null, hash = 0): E | null {
    const drawn = this.draw(this.byHash ? mix32(hash ^ ZONE_SEED) / 2 ** 32 : this.random.float());
    const endpoint = (this.pickers[drawn] as Picker<E>).pick(tried, hash);
    if (endpoint !== null && (tried === null || !tried.includes(endpoint))) return endpoint;
    for (const [part, picker] of this.pickers.entries()) {
      const other = part === drawn ? null : picker.pick(tried, hash);
      if (other !== null && (tried === null || !tried.includes(other))) return other;
    }
    return endpoint;
  }

  /** The part that a number from 0 up to but not 1 falls into. */
  private draw(point: number): number {
    const last = this.sums.length - 1;
    let part = 0;
    while (part < last && point >= (this.sums[part] as number)) part++;
    return part;
  }
}
