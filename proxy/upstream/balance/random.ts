/** Random: each pick by itself, by weight. No state to share, none to go wrong. */
import type { Random } from '../../../shared/random.ts';
import type { Pickable, Picker, PickerKind } from '../picker.ts';
import { untriedFrom } from './untried.ts';
import { WeightedDraw } from './weighted-draw.ts';

class RandomPicker<E extends Pickable> implements Picker<E> {
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
    return untriedFrom(this.endpoints, this.places.draw(), tried);
  }
}

export const RANDOM: PickerKind = {
  type: 'Random',
  build: (endpoints, random) => new RandomPicker(endpoints, random),
};
