/** Gathers a header block that comes in several frames, within its limits (RFC 9113 section 4.3). */
import type { H2Limits } from './h2-limits.ts';

export class BlockGatherer {
  /** Stream and flags of the HEADERS frame that began the block. */
  streamId = 0;
  endStream = false;
  selfDependent = false;
  bytes: Buffer = NO_BYTES;
  length = 0;
  private frames = 0;
  private readonly limits: H2Limits;

  constructor(limits: H2Limits) {
    this.limits = limits;
  }

  begin(streamId: number, endStream: boolean, selfDependent: boolean): void {
    this.streamId = streamId;
    this.endStream = endStream;
    this.selfDependent = selfDependent;
    this.length = 0;
    this.frames = 0;
  }

  /** Adds a fragment; false when the block has more bytes or frames than it may. */
  add(bytes: Buffer, start: number, end: number): boolean {
    const length = this.length + end - start;
    if (length > this.limits.blockBytes || this.frames > this.limits.continuations) return false;
    if (length > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.limits.blockBytes, 2 * length));
      this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    bytes.copy(this.bytes, this.length, start, end);
    this.length = length;
    this.frames += 1;
    return true;
  }

  /** The block is read: its memory is given back. */
  release(): void {
    this.bytes = NO_BYTES;
    this.length = 0;
  }
}

const NO_BYTES: Buffer = Buffer.alloc(0);
