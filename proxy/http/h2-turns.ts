import type { H2Stream } from './h2-stream.ts';

/** Streams that wait for room on the connection, in order; linked through the streams, so that any can leave. */
export class TurnQueue<T> {
  private first: H2Stream<T> | null = null;
  private last: H2Stream<T> | null = null;

  get empty(): boolean {
    return this.first === null;
  }

  /** Puts a stream at the end, unless it stands in the queue already. */
  add(stream: H2Stream<T>): void {
    if (stream.queued) return;
    stream.queued = true;
    stream.before = this.last;
    stream.behind = null;
    if (this.last === null) this.first = stream;
    else this.last.behind = stream;
    this.last = stream;
  }

  /** Takes the first. */
  next(): H2Stream<T> | null {
    const stream = this.first;
    if (stream !== null) this.remove(stream);
    return stream;
  }

  remove(stream: H2Stream<T>): void {
    if (!stream.queued) return;
    if (stream.before === null) this.first = stream.behind;
    else stream.before.behind = stream.behind;
    if (stream.behind === null) this.last = stream.before;
    else stream.behind.before = stream.before;
    stream.queued = false;
    stream.before = null;
    stream.behind = null;
  }
}
