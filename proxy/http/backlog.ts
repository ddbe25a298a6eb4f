/**
 * Bytes of one stream that no window has room for yet: filled behind, emptied in front, in one buffer that others may use
 * when it is empty. A gigabyte that squeezes through a window leaves no garbage behind it.
 *
 * The owner bounds it by pausing the source when it is not empty: it then holds one or two reads of the source.
 */
import { giveBack, takeBuffer } from '../../shared/spare-buffers.ts';

const NO_BYTES: Buffer = Buffer.alloc(0);
/** One read of the shared buffer. */
const LEAST_BYTES = 65_536;

/** What takes bytes, as far as it can, and says how many. */
export interface Taker {
  sendData(bytes: Uint8Array, start: number, end: number, endStream: boolean): number;
}

export class Backlog {
  private memory: Buffer = NO_BYTES;
  private start = 0;
  private end = 0;

  get empty(): boolean {
    return this.start === this.end;
  }

  add(bytes: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (this.end + count > this.memory.length) this.makeRoom(count);
    this.memory.set(bytes.subarray(start, end), this.end);
    this.end += count;
  }

  /** Gives what waits to `taker`; true if nothing is left. */
  drainTo(taker: Taker): boolean {
    this.start += taker.sendData(this.memory, this.start, this.end, false);
    if (this.start < this.end) return false;
    this.drop();
    return true;
  }

  /** What waits interests nobody any more. */
  drop(): void {
    giveBack(this.memory);
    this.memory = NO_BYTES;
    this.start = 0;
    this.end = 0;
  }

  private makeRoom(count: number): void {
    const waiting = this.end - this.start;
    const needed = waiting + count;
    if (needed > this.memory.length) {
      let size = Math.max(LEAST_BYTES, this.memory.length);
      while (size < needed) size *= 2;
      const larger = takeBuffer(size);
      this.memory.copy(larger, 0, this.start, this.end);
      giveBack(this.memory);
      this.memory = larger;
    } else {
      this.memory.copyWithin(0, this.start, this.end);
    }
    this.start = 0;
    this.end = waiting;
  }
}
