/** What a process costs, as the kernel counts it (proc(5)). Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * CPU time of all threads of these processes so far, in microseconds. From `schedstat`, which counts nanoseconds where
 * `stat` counts ticks of 10 ms; threads that have ended no longer count.
 */
export function cpuMicros(pids: readonly number[]): number {
  let nanos = 0;
  for (const pid of pids) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      nanos += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
    }
  }
  return nanos / 1_000;
}

/** Resident memory of these processes, in KB. */
export function residentKb(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    sum += Number(line?.[1] ?? Number.NaN);
  }
  return sum;
}
