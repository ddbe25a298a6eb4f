/** A slice of open-loop load at an even rate, from a process of its own (`programs/even-load.ts`). */
import { join } from 'node:path';
import { runProgram } from '../support/process.ts';
import type { Deployment } from './peer.ts';

const PROGRAM = join(import.meta.dirname, 'programs/even-load.ts');

/** Milliseconds. */
export interface EvenLoadReport {
  readonly p50: number;
  readonly p99: number;
  /** How much later than it fell due a request was seen, at worst: the machine was busy with something else. */
  readonly latest: number;
}

export interface EvenLoad {
  readonly connections: number;
  /** Requests per second. */
  readonly rate: number;
  readonly ms: number;
  /** Milliseconds of it before that do not count. */
  readonly leadMs: number;
}

/** Rejects unless every request was answered with 200. */
export async function runEvenLoad({ port, host }: Deployment, load: EvenLoad): Promise<EvenLoadReport> {
  const { connections, rate, ms, leadMs } = load;
  const args = [PROGRAM, ...[port, host, '/1k', connections, rate, ms, leadMs].map(String)];
  return JSON.parse(await runProgram({ command: process.execPath, args })) as EvenLoadReport;
}
