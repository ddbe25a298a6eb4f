/**
 * What became of streams that are gone. The peer may not know yet that we reset a stream: its late frames are harmless.
 * Late frames of a stream that ended otherwise are an error, and of one that never was a worse one (RFC 9113 section 5.1).
 */

/** Streams we reset of which we remember each by its number. */
const MOST_RESET = 256;
const MOST_GAPS = 16;

export class PastStreams {
  private readonly reset: Set<number> = new Set();
  /** Up to here we no longer know which streams we reset, and forgive all. */
  private forgivenUpTo = 0;
  /** Pairs of first and last identifiers that the peer skipped when it opened a later stream. */
  private readonly gaps: number[] = [];

  addReset(id: number): void {
    this.reset.add(id);
    if (this.reset.size <= MOST_RESET) return;
    const oldest = this.reset.values().next().value as number;
    this.reset.delete(oldest);
    this.forgivenUpTo = Math.max(this.forgivenUpTo, oldest);
  }

  /** The peer opened `id` after `previous`; what lies between was never open. */
  addOpened(previous: number, id: number): void {
    if (id - previous <= 2) return;
    this.gaps.push(previous + 1, id - 1);
    if (this.gaps.length > 2 * MOST_GAPS) this.gaps.splice(0, 2);
  }

  /** Late frames of this stream are to be ignored. */
  forgives(id: number): boolean {
    return id <= this.forgivenUpTo || this.reset.has(id);
  }

  wasSkipped(id: number): boolean {
    for (let i = 0; i < this.gaps.length; i += 2) {
      if (id >= (this.gaps[i] as number) && id <= (this.gaps[i + 1] as number)) return true;
    }
    return false;
  }
}
