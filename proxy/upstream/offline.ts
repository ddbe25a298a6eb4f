/** Clusters for somebody who only asks: they are linked and picked from like any others, and nothing ever dials. */
import { systemClock } from '../../shared/clock.ts';
import { Random } from '../../shared/random.ts';
import { IoThread } from '../net/io-thread.ts';
import { Clusters } from './clusters.ts';

/** Which endpoint a picker names does not matter to who asks whether there is one. */
const SEED = 1;

/** Whoever asked for them ends them with `update([])`. */
export function offlineClusters(): Clusters {
  const io = new IoThread(systemClock, new Random(SEED));
  return new Clusters(io, { thread: 0, threads: 1, zone: '' }, { onBreaker() {}, onEjection() {} });
}
