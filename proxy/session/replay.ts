/** A request's body as far as it has come: kept while another attempt may have to send it again. */
import type { Fields } from '../http/message.ts';
import type { UpstreamStream } from '../http/stream.ts';

/** Of one request; a longer body streams on and is sent once. */
const REPLAY_BYTES = 65_536;
/** Of all requests of one direction on a data thread: 128 of the longest at a time. */
const ALL_REPLAY_BYTES = 8 * 1024 * 1024;

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
  private chunks: Buffer[] | null = null;
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
    (this.chunks ??= []).push(Buffer.from(bytes.subarray(start, end)));
    this.bytes += length;
    this.memory.used += length;
  }

  end(trailers: Fields | null): void {
    this.complete = true;
    this.trailers = trailers;
  }

  sendTo(stream: UpstreamStream): void {
    if (this.chunks !== null) {
      for (const chunk of this.chunks) stream.sendBytes(chunk, 0, chunk.length);
      if (!this.whole) this.drop();
    }
    if (this.complete) stream.sendEnd(this.trailers);
  }

  /** There will be no further attempt. */
  letGo(): void {
    this.whole = false;
    this.drop();
  }

  private overflows(length: number): boolean {
    const { memory } = this;
    return this.bytes + length > REPLAY_BYTES || memory.used + length > memory.limit;
  }

  private drop(): void {
    if (this.chunks === null) return;
    this.memory.used -= this.bytes;
    this.bytes = 0;
    this.chunks = null;
  }
}
