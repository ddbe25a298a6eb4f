/** A request's body as far as it has come: kept while another attempt may have to send it again. */
import type { Fields } from '../http/message.ts';
import type { UpstreamStream } from '../http/stream.ts';

/** Of one request; a longer body streams on and is sent once. */
const REPLAY_BYTES = 65_536;
/** Of all requests of one direction on a data thread: 128 of the longest at a time. */
const ALL_REPLAY_BYTES = 8 * 1024 * 1024;
/**
 * What a body is kept in after its first read: as much again as there is, within these bounds. A buffer has 100 bytes of its
 * own, and bodies may come byte by byte.
 */
const LEAST_PIECE = 256;
const MOST_PIECE = 16_384;

/** Counts what all requests of one direction keep. */
export class ReplayMemory {
  used = 0;
  readonly limit: number;

  constructor(limit: number = ALL_REPLAY_BYTES) {
    this.limit = limit;
  }
}

export class Replay {
  /** The caller has sent all. */
  complete: boolean;
  /** All that came is still here. */
  whole = true;
  private trailers: Fields | null = null;
  private bytes = 0;
  /** All but the last are full; of that `lastUsed` bytes. */
  private pieces: Buffer[] | null = null;
  private lastUsed = 0;
  private readonly memory: ReplayMemory;

  constructor(memory: ReplayMemory, complete: boolean) {
    this.memory = memory;
    this.complete = complete;
  }

  /** As much waits for a stream as one request may keep. */
  get full(): boolean {
    return this.bytes >= REPLAY_BYTES;
  }

  /** `passedOn`: a stream has all that came before, and gets these. What none has is kept whatever its length. */
  keep(bytes: Buffer, start: number, end: number, passedOn: boolean): void {
    const length = end - start;
    if (this.whole && this.overflows(length)) {
      this.whole = false;
      if (passedOn) this.drop();
    }
    if (!this.whole && passedOn) return;
    this.append(bytes, start, end);
    this.bytes += length;
    this.memory.used += length;
  }

  end(trailers: Fields | null): void {
    this.complete = true;
    this.trailers = trailers;
  }

  sendTo(stream: UpstreamStream): void {
    const { pieces } = this;
    if (pieces !== null) {
      const last = pieces.length - 1;
      for (const [i, piece] of pieces.entries()) stream.sendBytes(piece, 0, i === last ? this.lastUsed : piece.length);
      if (!this.whole) this.drop();
    }
    if (this.complete) stream.sendEnd(this.trailers);
  }

  /** There will be no further attempt. */
  letGo(): void {
    this.whole = false;
    this.drop();
  }

  private append(bytes: Buffer, start: number, end: number): void {
    const pieces = (this.pieces ??= []);
    const last = pieces.at(-1);
    let from = start;
    if (last !== undefined) {
      from += bytes.copy(last, this.lastUsed, start, end);
      this.lastUsed += from - start;
    }
    if (from === end) return;
    const least = Math.min(MOST_PIECE, Math.max(LEAST_PIECE, this.bytes));
    const piece = Buffer.allocUnsafe(last === undefined ? end - from : Math.max(least, end - from));
    pieces.push(piece);
    this.lastUsed = bytes.copy(piece, 0, from, end);
  }

  private overflows(length: number): boolean {
    const { memory } = this;
    return this.bytes + length > REPLAY_BYTES || memory.used + length > memory.limit;
  }

  private drop(): void {
    if (this.pieces === null) return;
    this.memory.used -= this.bytes;
    this.bytes = 0;
    this.pieces = null;
  }
}
