/** Load that does not count, before what counts: until a proxy that compiles itself under load has done so. */
import type { Load } from './compare.ts';
import type { Deployment } from './peer.ts';

/**
 * V8 goes on compiling a sidecar's code, at the sidecar's cost, for its first 300,000 requests: by then 132 of 134
 * functions that it compiled in 500,000, by 60,000 only 89.
 */
const COMPILED_AFTER = 300_000;
/** On a busy machine the time is what ends it. */
const MOST_MS = 45_000;
/** A run for orientation takes what it gets in this time. */
const QUICK_MS = 4_000;
/** Connections, buffers and caches of a program that is compiled already. */
const NATIVE_MS = 1_000;

export interface WarmUp {
  readonly compilesUnderLoad: boolean;
  readonly isQuick: boolean;
}

/** `load` is called for a slice at a time. */
export async function warmUp(name: string, deployment: Deployment, load: Load, how: WarmUp): Promise<void> {
  const { compilesUnderLoad, isQuick } = how;
  const most = !compilesUnderLoad ? NATIVE_MS : isQuick ? QUICK_MS : MOST_MS;
  const end = performance.now() + most;
  let work = 0;
  while (work < COMPILED_AFTER && performance.now() < end) work += await load(deployment);
  if (compilesUnderLoad && !isQuick && work < COMPILED_AFTER)
    console.error(`${name} was measured after ${work} requests: some of it was not compiled yet`);
}
