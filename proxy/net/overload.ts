/**
 * When one data thread has more than it can do: too many connections for the descriptors there are, or an event loop that
 * comes round too late. What is new is refused then, so that what has begun can end.
 */
import type { Clock } from '../../shared/clock.ts';

/** Descriptors that connections never get: admin, readiness, metrics, policy and certificate files, DNS, the runtime. */
const RESERVED_DESCRIPTORS = 256;
/** Where the kernel does not say how many there may be: the usual soft limit of old. */
const USUAL_DESCRIPTORS = 1024;

/** How often the loop's delay is measured while requests come; nothing is measured while none do. */
const SAMPLE_MS = 100;
/** A turn this late is trouble, twice in a row no hiccup: no request can be served in useful time. */
const LATE_MS = 1_000;
/** A measurement says nothing any more after this. */
const STALE_MS = 5_000;

/** Connections that a data thread may accept; each may need one more descriptor towards its upstream. */
export function connectionLimit(descriptors: number, threads: number): number {
  return Math.max(1, Math.floor((descriptors - RESERVED_DESCRIPTORS) / (2 * threads)));
}

/** The soft limit in the text of `/proc/self/limits` (proc(5)). */
export function descriptorLimit(limits: string): number {
  const found = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  if (found === 'unlimited') return Number.POSITIVE_INFINITY;
  return found === undefined ? USUAL_DESCRIPTORS : Number(found);
}

export class Overload {
  /** Connections refused and requests shed so far. */
  shed = 0;
  /** Milliseconds by which the last measured turn was late. */
  delayMs = 0;
  private readonly clock: Clock;
  private readonly maxConnections: number;
  private measuring = false;
  private lateInRow = 0;
  private measuredAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, maxConnections: number) {
    this.clock = clock;
    this.maxConnections = maxConnections;
  }

  /** Is a further connection beside so many one too many? */
  refusesConnection(open: number): boolean {
    if (open < this.maxConnections) return false;
    this.shed++;
    return true;
  }

  /** Must a request that begins now be refused? */
  refusesRequest(now: number): boolean {
    if (!this.measuring) this.measure(now);
    if (this.lateInRow < 2 || now - this.measuredAt > STALE_MS) return false;
    this.shed++;
    return true;
  }

  private measure(now: number): void {
    this.measuring = true;
    this.clock.after(SAMPLE_MS, () => {
      this.measuring = false;
      this.measuredAt = this.clock.now();
      this.delayMs = Math.max(0, this.measuredAt - now - SAMPLE_MS);
      this.lateInRow = this.delayMs >= LATE_MS ? this.lateInRow + 1 : 0;
    });
  }
}
