/** Nanoseconds per call, told apart from the noise of a shared machine: variants take turns and the best turn counts. */

export interface Variant {
  readonly name: string;
  /** Runs the thing measured `count` times. */
  readonly run: (count: number) => void;
}

/** Many short turns: some of them run without being interrupted, however busy the machine is. */
const TURNS = 100;
const CALLS = 20_000;

/** Prints ns per call of each variant and its ratio to the first; returns the ns. */
export function compare(title: string, variants: readonly Variant[]): number[] {
  const best = variants.map(() => Number.POSITIVE_INFINITY);
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [i, variant] of variants.entries()) {
      const start = process.hrtime.bigint();
      variant.run(CALLS);
      best[i] = Math.min(best[i] ?? 0, Number(process.hrtime.bigint() - start) / CALLS);
    }
  }
  process.stdout.write(`${title}\n`);
  for (const [i, variant] of variants.entries()) {
    const ns = best[i] ?? 0;
    process.stdout.write(
      `  ${variant.name.padEnd(34)} ${ns.toFixed(1).padStart(8)} ns  ×${(ns / (best[0] ?? 1)).toFixed(2)}\n`,
    );
  }
  return best;
}
