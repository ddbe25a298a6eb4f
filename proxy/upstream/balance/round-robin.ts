/**
 * RoundRobin: everybody in turn, as often as its weight says and spread evenly over the round. The round is laid out
 * when the picker is built, so that a pick reads one slot however many endpoints there are.
 */
import type { Random } from '../../../shared/random.ts';
import type { Pickable, Picker, PickerKind } from '../picker.ts';
import { layOutTurns, sharesOf } from './turns.ts';
import { untriedFrom } from './untried.ts';

/**
 * Slots of a round, about: enough that rounding a weight changes no share of the traffic by more than 1/4096 of the
 * whole, few enough to be laid out within a few milliseconds. Every endpoint has at least one.
 */
const MAX_SLOTS = 4096;

class RoundRobin<E extends Pickable> implements Picker<E> {
  private readonly endpoints: readonly E[];
  /** Places in `endpoints`, in the order of the round. */
  private readonly round: Uint32Array;
  private next: number;

  constructor(endpoints: readonly E[], random: Random) {
    this.endpoints = endpoints;
    const weights = endpoints.map((endpoint) => endpoint.weight);
    this.round = layOutTurns(sharesOf(weights, MAX_SLOTS));
    // Sidecars that start together must not all begin with the same endpoint.
    this.next = Math.floor(random.float() * this.round.length);
  }

  pick(tried: readonly E[] | null): E {
    const slot = this.next;
    this.next = slot + 1 === this.round.length ? 0 : slot + 1;
    return untriedFrom(this.endpoints, this.round[slot] as number, tried);
  }
}

export const ROUND_ROBIN: PickerKind = {
  type: 'RoundRobin',
  build: (endpoints, random) => new RoundRobin(endpoints, random),
};
