/** The order in which endpoints take turns by weight: what RoundRobin walks through and Maglev fills its table by. */

/**
 * Places, each as often as `shares` says (whole numbers from 1), spread evenly: the k-th of w turns of one belongs at
 * (k + ½) / w of the whole. In the order of `shares` where two belong at the same point.
 */
export function layOutTurns(shares: readonly number[]): Uint32Array {
  const count = shares.length;
  const marks = new Float64Array(shares.reduce((sum, share) => sum + share, 0));
  let filled = 0;
  for (let place = 0; place < count; place++) {
    const share = shares[place] as number;
    for (let k = 0; k < share; k++) marks[filled++] = mark(((k + 0.5) / share) * POSITIONS, place, count);
  }
  return placesInOrder(marks, count);
}

/** Positions told apart; times a million endpoints still a whole number that a double holds exactly. */
const POSITIONS = 2 ** 32;

/** Position (below 2^32) and place in one number, so that a native sort of numbers orders by both. */
export function mark(position: number, place: number, count: number): number {
  return Math.floor(position) * count + place;
}

/** Sorts the marks, and gives their places in that order. */
export function placesInOrder(marks: Float64Array, count: number): Uint32Array {
  marks.sort();
  const places = new Uint32Array(marks.length);
  for (let i = 0; i < marks.length; i++) places[i] = (marks[i] as number) % count;
  return places;
}

/**
 * Whole numbers, at least 1, in the ratio of the weights: the smallest exact ones if they sum to no more than `most`,
 * else rounded so that they sum to about it.
 */
export function sharesOf(weights: readonly number[], most: number): number[] {
  const divisor = weights.reduce(greatestCommonDivisor);
  const total = weights.reduce((sum, weight) => sum + weight, 0) / divisor;
  const scale = total <= most ? 1 : most / total;
  return weights.map((weight) => Math.max(1, Math.round((weight / divisor) * scale)));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
