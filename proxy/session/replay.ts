/** What is kept of a request's body so that another attempt can send it again. */
import type { UpstreamStream } from '../http/stream.ts';

/** Of one request; a longer body streams on and is sent once. */
export const REPLAY_BYTES = 65_536;
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
  bytes = 0;
  private readonly memory: ReplayMemory;
  private chunks: Buffer[] = [];

  constructor(memory: ReplayMemory) {
    this.memory = memory;
  }

  /** Would so many bytes more be too many, for one request or for all? */
  overflows(length: number): boolean {
    const { memory } = this;
    return this.bytes + length > REPLAY_BYTES || memory.used + length > memory.limit;
  }

  add(bytes: Buffer, start: number, end: number): void {
    this.chunks.push(Buffer.from(bytes.subarray(start, end)));
    this.bytes += end - start;
    this.memory.used += end - start;
  }

  sendTo(stream: UpstreamStream): void {
    for (const chunk of this.chunks) stream.sendBytes(chunk, 0, chunk.length);
  }

  drop(): void {
    this.memory.used -= this.bytes;
    this.bytes = 0;
    this.chunks = [];
  }
}
