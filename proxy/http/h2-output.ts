/**
 * Where a connection's frames gather until its owner writes them out, at most once per turn of the event loop: one buffer,
 * appended to in place, so that a frame costs no allocation and no system call of its own.
 *
 * The owner's part: when `onPending` is called, schedule a flush. To flush, take `pending()` and write it; then either
 * `clear()`, if the transport does not need those bytes any more, or `rotate()`, if it still holds them; and tell the
 * connection by `flushed()` once the transport takes more.
 */
import { giveBack, takeBuffer } from '../../shared/spare-buffers.ts';

export class H2Output {
  bytes: Buffer;
  /** Bytes [0, length) wait to be written. */
  length: number;
  /** Bytes taken out since the transport last said that it has room: it may hold all of them. */
  taken = 0;
  /** What the next buffer begins with: room for what left in the last turn. */
  private size: number;
  private readonly least: number;
  private readonly onPending: () => void;

  /** `least`: bytes of the smallest buffer, a power of two. An output that is empty holds no buffer. */
  constructor(least: number, onPending: () => void) {
    this.bytes = NO_BYTES;
    this.length = 0;
    this.size = least;
    this.least = least;
    this.onPending = onPending;
  }

  /** Bytes that have not left yet, as far as is known: what waits here, and what the transport took since `flushed`. */
  get unsent(): number {
    return this.taken + this.length;
  }

  /** The transport has room again. */
  flushed(): void {
    this.taken = 0;
  }

  /** Makes room for `count` bytes, counts them as written and returns where they go in `bytes`. */
  reserve(count: number): number {
    const at = this.length;
    const needed = at + count;
    if (needed > this.bytes.length) this.grow(needed);
    this.length = needed;
    if (at === 0) this.onPending();
    return at;
  }

  /** Copies source[start, end) to `at`, inside what was reserved. */
  copy(source: Uint8Array, start: number, end: number, at: number): void {
    Buffer.prototype.copy.call(source, this.bytes, at, start, end);
  }

  /** A view of what waits, valid until `clear`. */
  pending(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  /** The bytes have left: others may use the buffer. */
  clear(): void {
    giveBack(this.bytes);
    this.rotate();
  }

  /** The transport keeps the buffer: go on in another. */
  rotate(): void {
    this.taken += this.length;
    this.size = this.least;
    while (this.size < this.length) this.size *= 2;
    this.length = 0;
    this.bytes = NO_BYTES;
  }

  /** What gives the present buffer back to others, once the transport that keeps it has written it. */
  lend(): () => void {
    const { bytes } = this;
    return () => giveBack(bytes);
  }

  private grow(needed: number): void {
    let size = Math.max(2 * this.bytes.length, this.size);
    while (size < needed) size *= 2;
    const grown = takeBuffer(size);
    this.bytes.copy(grown, 0, 0, this.length);
    giveBack(this.bytes);
    this.bytes = grown;
  }
}

const NO_BYTES: Buffer = Buffer.alloc(0);
