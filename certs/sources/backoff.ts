/** How long to wait before asking again for an identity that could not be had. */
import type { Random } from '../../shared/random.ts';

const FIRST_MS = 1000;
/** Often enough that a CA that comes back is found before anybody calls. */
const MAX_MS = 60_000;

/** Full jitter: anything between nothing and a ceiling that doubles, so that a fleet does not come back in step. */
export class Backoff {
  private readonly random: Random;
  private ceiling: number = FIRST_MS;

  constructor(random: Random) {
    this.random = random;
  }

  /** Milliseconds to wait now; never quite zero, so that a refusal cannot become a busy loop. */
  next(): number {
    const wait = Math.max(FIRST_MS / 10, this.random.float() * this.ceiling);
    this.ceiling = Math.min(MAX_MS, this.ceiling * 2);
    return wait;
  }

  reset(): void {
    this.ceiling = FIRST_MS;
  }
}
