/**
 * LeastRequest: of two endpoints drawn at random the one with fewer requests in flight for its weight (power of two
 * choices). Two is what spreads load almost as well as asking everybody, without every caller rushing to the same one.
 */
import type { Random } from '../../../shared/random.ts';
import type { Pickable, Picker, PickerKind } from '../picker.ts';
import { untriedFrom } from './untried.ts';
import { WeightedDraw } from './weighted-draw.ts';

class LeastRequest<E extends Pickable> implements Picker<E> {
  private readonly endpoints: readonly E[];
  private readonly places: WeightedDraw;

  constructor(endpoints: readonly E[], random: Random) {
    this.endpoints = endpoints;
    this.places = new WeightedDraw(
      endpoints.map((endpoint) => endpoint.weight),
      random,
    );
  }

  /** Both are drawn by weight and a draw goes to the first, so that idle endpoints share by weight, too. */
  pick(tried: readonly E[] | null): E {
    const { endpoints, places } = this;
    const place = places.draw();
    let other = places.draw();
    if (other === place) other = place + 1 === endpoints.length ? 0 : place + 1;
    const first = untriedFrom(endpoints, place, tried);
    const second = untriedFrom(endpoints, other, tried);
    return second.active * first.weight < first.active * second.weight ? second : first;
  }
}

export const LEAST_REQUEST: PickerKind = {
  type: 'LeastRequest',
  build: (endpoints, random) => new LeastRequest(endpoints, random),
};
