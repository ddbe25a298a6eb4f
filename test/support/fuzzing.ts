/** What every fuzzer needs: how long, from which seed, and choices that the seed decides. */
import { parseArgs } from 'node:util';
import { Random } from '../../shared/random.ts';

export class Choices extends Random {
  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** `bytes` in so many parts, which may be empty. */
  cut(bytes: Buffer, parts: number): Buffer[] {
    const ends = Array.from({ length: parts - 1 }, () => this.below(bytes.length + 1)).sort((a, b) => a - b);
    return [...ends, bytes.length].map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
  }
}

/** From the command line: `[--seconds 60] [--seed N]`; a wrong one ends the process with 2. */
export function fuzzPlan(file: string): { readonly seconds: number; readonly seed: number } {
  const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
  const seconds = Number(values.seconds ?? 60);
  const seed = Number(values.seed ?? Date.now() % 2 ** 31);
  if (seconds > 0 && Number.isInteger(seed)) return { seconds, seed };
  process.stderr.write(`usage: node ${file} [--seconds N] [--seed N]\n`);
  process.exit(2);
}
