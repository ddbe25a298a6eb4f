/**
 * The comparison itself: several deployments under the same load, in short slices in turn forth and back (A B B A), so
 * that drift of the machine meets all alike. What counts is the median over such blocks.
 */
import { cpuMicros } from './cpu.ts';
import type { Deployment } from './peer.ts';

export interface Subject {
  readonly name: string;
  readonly deployment: Deployment;
}

/** One slice of load on a deployment: how many units of work (requests, bytes) it took. */
export type Load = (deployment: Deployment) => Promise<number>;

export interface Cost {
  readonly name: string;
  /** CPU microseconds per unit of work, median over the slices. */
  readonly micros: number;
  /** First subject's cost divided by this one's, median over the blocks. */
  readonly ratio: number;
  /** First subject's cost less this one's, in microseconds, median over the blocks. */
  readonly difference: number;
}

/** Costs of every subject, the first set beside each, after `blocks` times forth and back. */
export async function compareCpu(subjects: readonly Subject[], load: Load, blocks: number): Promise<Cost[]> {
  const names = subjects.map(({ name }) => name);
  return relate(names, await measureCpu(subjects, load, blocks));
}

/** CPU microseconds per unit of work, by block and by subject, after one slice each that does not count. */
export async function measureCpu(subjects: readonly Subject[], load: Load, blocks: number): Promise<number[][]> {
  for (const { deployment } of subjects) await load(deployment);
  const perBlock: number[][] = [];
  for (let block = 0; block < blocks; block += 1) {
    const costs = subjects.map(() => 0);
    for (const index of forthAndBack(subjects.length)) {
      const deployment = subjects[index]?.deployment;
      if (deployment !== undefined) costs[index] = (costs[index] ?? 0) + (await slice(deployment, load)) / 2;
    }
    perBlock.push(costs);
  }
  return perBlock;
}

/** What was measured block by block, each beside the first. */
export function relate(names: readonly string[], perBlock: readonly (readonly number[])[]): Cost[] {
  return names.map((name, index) => {
    const own = perBlock.map((costs) => costs[index] ?? Number.NaN);
    const first = perBlock.map((costs) => costs[0] ?? Number.NaN);
    return {
      name,
      micros: median(own),
      ratio: median(own.map((cost, block) => (first[block] ?? Number.NaN) / cost)),
      difference: median(own.map((cost, block) => (first[block] ?? Number.NaN) - cost)),
    };
  });
}

/** Indices 0..n-1 and back. */
export function forthAndBack(n: number): number[] {
  const forth = Array.from({ length: n }, (_, index) => index);
  return [...forth, ...forth.toReversed()];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

async function slice(deployment: Deployment, load: Load): Promise<number> {
  const before = cpuMicros(deployment.pids);
  const work = await load(deployment);
  return (cpuMicros(deployment.pids) - before) / work;
}
