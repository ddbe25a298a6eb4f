import { LARGEST_STREAM_ID } from './h2-frames.ts';
import { PastStreams } from './h2-past.ts';
import type { H2Stream } from './h2-stream.ts';

/** The open streams of a connection, and what there is to know of the others. */
export class StreamTable<T> {
  readonly past: PastStreams = new PastStreams();
  /** Highest identifier the peer has used; only clients open streams, so 0 on a client. */
  lastPeerId = 0;
  private nextOwnId = 1;
  private readonly open: Map<number, H2Stream<T>> = new Map();

  get size(): number {
    return this.open.size;
  }

  /** Streams that this side can still open before its identifiers are used up. */
  get idsLeft(): number {
    return Math.floor((LARGEST_STREAM_ID - this.nextOwnId) / 2) + 1;
  }

  get(id: number): H2Stream<T> | undefined {
    return this.open.get(id);
  }

  /** All open streams, as a copy that callbacks cannot disturb. */
  all(): H2Stream<T>[] {
    return [...this.open.values()];
  }

  takeOwnId(): number {
    const id = this.nextOwnId;
    this.nextOwnId += 2;
    return id;
  }

  add(stream: H2Stream<T>): void {
    this.open.set(stream.id, stream);
  }

  remove(stream: H2Stream<T>): void {
    this.open.delete(stream.id);
  }

  /** Notes that the peer opened `id`, which is above all before it. */
  peerOpened(id: number): void {
    this.past.addOpened(this.lastPeerId, id);
    this.lastPeerId = id;
  }

  /** Neither side has ever used this identifier, nor can it have been meant to be used before others that were. */
  isIdle(id: number): boolean {
    if (id % 2 === 0) return true;
    return id >= this.nextOwnId && id > this.lastPeerId;
  }
}
