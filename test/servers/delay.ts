/** How much later a greeting arrives through sidecars, measured on machines that do other things as well. */
import { availableParallelism, loadavg } from 'node:os';
import { expect } from 'vitest';
import { skip } from '../support/skips.ts';

/** A way to the greeting of a server: answers the milliseconds it took. `sample` counts from 0. */
export type Greet = (sample: number) => Promise<number>;

const SAMPLES = 20;
/** Neighbours on the machine can only make it slower, so the best of a few rounds is the figure. */
const ROUNDS = 10;
/** For all of them, on a machine where each takes its time. */
export const DELAY_TEST_MS = 120_000;
/** Samples that are taken at most. */
export const MOST_SAMPLES: number = SAMPLES * ROUNDS;
/**
 * With more processes than this waiting for each core, a miss tells about the neighbours: other test files beside this one
 * are enough for it. Run by itself on a quiet machine it tells about weft.
 */
const FAIR_LOAD = 0.3;

/**
 * Expects what sidecars add to be at most so many milliseconds: the median difference of 20 samples with them, each
 * beside one without. Above the limit another round is tried; a miss on a machine that has other work skips the test, with the figure.
 */
export async function expectDelay(limitMs: number, without: Greet, through: Greet): Promise<void> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS && best > limitMs; round++) {
    best = Math.min(best, await medianDelay(round * SAMPLES, without, through));
  }
  const load = (loadavg()[0] ?? 0) / availableParallelism();
  if (best > limitMs && load > FAIR_LOAD) {
    skip(`${best.toFixed(1)} ms were measured with a load of ${load.toFixed(1)} on each core, which is no measurement`);
  }
  expect(best).toBeLessThanOrEqual(limitMs);
}

async function medianDelay(from: number, without: Greet, through: Greet): Promise<number> {
  const added: number[] = [];
  for (let sample = from; sample < from + SAMPLES; sample++) {
    const bare = await without(sample);
    added.push((await through(sample)) - bare);
  }
  return added.sort((a, b) => a - b)[SAMPLES >> 1] ?? Number.POSITIVE_INFINITY;
}
