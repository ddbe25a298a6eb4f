/**
 * Prefers the endpoints of the own zone, and gives over to the other zones in proportion as they fail: Envoy's
 * over-provisioning of priority levels, with the own zone as the first level and all others as the second.
 */
import type { Random } from '../../../shared/random.ts';
import type { Pickable, Picker } from '../picker.ts';

/** The own zone takes all as long as 1/1.4 of its endpoints, 72 %, are in health (Envoy's factor). */
const OVER_PROVISIONING = 1.4;

/** The share of the traffic, from 0 to 1, that so many healthy endpoints of so many can take. */
export function localShare(healthy: number, ready: number): number {
  return ready === 0 ? 0 : Math.min(1, (OVER_PROVISIONING * healthy) / ready);
}

/** Two pickers and the share of the first; what one has tried already the other takes. */
export class ZonePicker<E extends Pickable> implements Picker<E> {
  private readonly local: Picker<E>;
  private readonly others: Picker<E>;
  private readonly share: number;
  private readonly random: Random;

  constructor(local: Picker<E>, others: Picker<E>, share: number, random: Random) {
    this.local = local;
    this.others = others;
    this.share = share;
    this.random = random;
  }

  pick(tried: readonly E[] | null, hash = 0): E | null {
    const stays = this.share >= 1 || this.random.float() < this.share;
    const first = stays ? this.local : this.others;
    const endpoint = first.pick(tried, hash);
    if (endpoint !== null && (tried === null || !tried.includes(endpoint))) return endpoint;
    return (stays ? this.others : this.local).pick(tried, hash) ?? endpoint;
  }
}
