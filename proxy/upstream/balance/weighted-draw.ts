/**
 * Draws places at random in proportion to their weights in constant time: Vose's alias method. Equal weights, the
 * common case, need no table.
 */
import type { Random } from '../../../shared/random.ts';

export class WeightedDraw {
  private readonly count: number;
  private readonly random: Random;
  /** Chance that a column keeps its own place, else its alias is drawn; null where all weights are equal. */
  private readonly keep: Float64Array | null;
  private readonly alias: Uint32Array;

  /** `weights` above 0, at least one. */
  constructor(weights: readonly number[], random: Random) {
    this.count = weights.length;
    this.random = random;
    this.alias = new Uint32Array(weights.length);
    this.keep = weights.every((weight) => weight === weights[0]) ? null : this.fill(weights);
  }

  /** A place from 0 to the number of weights less 1. */
  draw(): number {
    const scaled = this.random.float() * this.count;
    const column = Math.floor(scaled);
    const { keep } = this;
    if (keep === null || scaled - column < (keep[column] as number)) return column;
    return this.alias[column] as number;
  }

  private fill(weights: readonly number[]): Float64Array {
    const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
    const keep = Float64Array.from(weights, (weight) => weight / mean);
    const small: number[] = [];
    const large: number[] = [];
    for (const [place, share] of keep.entries()) (share < 1 ? small : large).push(place);
    while (small.length > 0 && large.length > 0) {
      const filled = small.pop() as number;
      const donor = large.pop() as number;
      this.alias[filled] = donor;
      keep[donor] = (keep[donor] as number) - (1 - (keep[filled] as number));
      (keep[donor] < 1 ? small : large).push(donor);
    }
    // What is left is 1 but for rounding.
    for (const place of [...small, ...large]) keep[place] = 1;
    return keep;
  }
}
