/**
 * One HTTP/2 connection without its socket (RFC 9113): bytes in, events out; frames to send gather in an H2Output. The
 * same class serves both roles. What the peer may do is bounded by H2Limits; all time comes from the clock given.
 *
 * Life: construct, `start()`, `feed` what arrives, `flushed()` whenever the output was written out, `lost()` when the
 * transport ended. Ends of its own are told by onConnectionError and onDone.
 */
import { type Clock, systemClock } from '../../shared/clock.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { DRAIN_PING, FrameDispatch, OWNER_PING } from './h2-dispatch.ts';
import type { H2Events } from './h2-events.ts';
import type { H2Fault } from './h2-faults.ts';
import * as frames from './h2-frames.ts';
import { H2Guard } from './h2-guard.ts';
import { DEFAULT_H2_LIMITS, type H2Limits } from './h2-limits.ts';
import type { H2Output } from './h2-output.ts';
import type { FrameReader } from './h2-reader.ts';
import { H2Receiver } from './h2-receiver.ts';
import { H2Sender } from './h2-sender.ts';
import { PeerSettings, writeSettings } from './h2-settings.ts';
import { H2Stream } from './h2-stream.ts';
import { StreamTable } from './h2-streams.ts';
import { fieldsBlock, requestBlock, responseBlock } from './h2-write-heads.ts';
import type { Fields, RequestHead, ResponseHead } from './message.ts';
import type { PathNormalization } from './path.ts';

export interface H2Options {
  readonly limits?: H2Limits;
  /** Of the paths of requests that come in; BASE by default. */
  readonly normalization?: PathNormalization;
  readonly clock?: Clock;
  /** Client: streams that the peer is known to take, before its SETTINGS say so. */
  readonly firstStreams?: number;
}

type Going = 'open' | 'draining' | 'leaving' | 'ended';

export class H2Connection<T> {
  readonly role: 'client' | 'server';
  readonly peer: PeerSettings = new PeerSettings();
  private readonly events: H2Events<T>;
  private readonly limits: H2Limits;
  private readonly guard: H2Guard;
  private readonly output: H2Output;
  private readonly streams: StreamTable<T> = new StreamTable();
  private readonly sender: H2Sender<T>;
  private readonly receiver: H2Receiver<T>;
  private readonly reader: FrameReader;
  /** open; draining: graceful GOAWAY sent; leaving: final GOAWAY sent; ended: nothing is read or sent any more. */
  private going: Going = 'open';
  private peerLeaves = false;

  constructor(role: 'client' | 'server', events: H2Events<T>, output: H2Output, options: H2Options = {}) {
    const limits = options.limits ?? DEFAULT_H2_LIMITS;
    this.role = role;
    this.events = events;
    this.limits = limits;
    this.output = output;
    this.peer.assume(options.firstStreams);
    this.guard = new H2Guard(limits, options.clock ?? systemClock);
    this.sender = new H2Sender(output, this.peer, limits, (stream) => this.events.onWindow(stream));
    this.receiver = new H2Receiver(this, events, limits, this.streams, this.sender, options.normalization ?? 'BASE');
    const { guard, streams, sender, receiver } = this;
    this.reader = new FrameDispatch(this, events, limits, guard, streams, sender, receiver).reader;
  }

  /** Streams that are open. */
  get size(): number {
    return this.streams.size;
  }

  /** A copy that callbacks cannot disturb. */
  get open(): H2Stream<T>[] {
    return this.streams.all();
  }

  /** Requests that could be opened now; 0 on a server, after a GOAWAY of either side, and at the end. */
  get available(): number {
    if (this.role === 'server' || this.going !== 'open' || this.peerLeaves) return 0;
    return Math.max(0, Math.min(this.peer.maxConcurrentStreams - this.streams.size, this.streams.idsLeft));
  }

  /** Nothing is read or sent any more. */
  get ended(): boolean {
    return this.going === 'ended';
  }

  /** The peer is in the middle of a frame or a header block (a deadline for slow heads). */
  get midway(): boolean {
    return this.reader.midway;
  }

  /** Tells one frame or header block that the peer is in the middle of from the next. */
  get begun(): number {
    return this.reader.begun;
  }

  /** Content bytes received and not consumed, all streams together. */
  get debt(): number {
    return this.receiver.debt;
  }

  /** A server that has sent its final GOAWAY; the receiver asks. */
  get refusesStreams(): boolean {
    return this.going === 'leaving';
  }

  /** Writes our side of the preface (section 3.4). */
  start(): void {
    if (this.role === 'client') {
      const at = this.output.reserve(frames.PREFACE.length);
      this.output.copy(frames.PREFACE, 0, frames.PREFACE.length, at);
    }
    writeSettings(this.output, this.role, this.limits);
    this.receiver.openWindow();
  }

  /** Takes bytes[start, end) from the transport; keeps no reference to them. */
  feed(bytes: Buffer, start: number, end: number): void {
    this.reader.feed(bytes, start, end);
  }

  /** The owner has written the output out (and cleared or rotated it), and the transport takes more. */
  flushed(): void {
    if (!this.ended) this.sender.flushed();
  }

  /** The transport ended: every open stream is reset with CONNECTION_LOST. */
  lost(detail: string): void {
    if (!this.ended) this.end(detail);
  }

  /**
   * Client: opens a stream for `head`. `length` is that of the body (UNKNOWN_LENGTH, or 0 for none), `extra` further
   * field lines (`name: value\r\n` each), `end` that nothing follows. Null when none is `available`.
   */
  request(head: RequestHead, length: number, extra: string, end: boolean): H2Stream<T> | null {
    if (this.available <= 0) return null;
    const method = head.upgrade === null ? head.method : 'CONNECT';
    const id = this.streams.takeOwnId();
    const stream = new H2Stream<T>(this, id, method, this.peer.initialWindow, this.limits.streamWindow);
    stream.headSent = true;
    stream.localEnded = end;
    this.streams.add(stream);
    this.sender.headers(id, requestBlock(head, length, extra), end);
    return stream;
  }

  /** Asks for a sign of life; onPingAck brings `token` (an unsigned 32-bit number) back. */
  ping(token: number): void {
    if (!this.ended) frames.writePing(this.output, 0, OWNER_PING, token);
  }

  /**
   * Ends gracefully. A server says GOAWAY for no stream yet, waits one round trip, and then names the last stream that
   * it serves (section 6.8); a client just opens no more. onDone follows when no stream is left.
   */
  shutdown(): void {
    if (this.going !== 'open') return;
    if (this.role === 'client') {
      this.leave();
      return;
    }
    this.going = 'draining';
    frames.writeGoaway(this.output, frames.LARGEST_STREAM_ID, frames.NO_ERROR, '');
    frames.writePing(this.output, 0, DRAIN_PING, 0);
  }

  /** Ends at once: GOAWAY, every stream reset with CONNECTION_LOST, nothing more read. The owner flushes and closes. */
  close(code: number, detail: string): void {
    this.closeFor(code, detail, null);
  }

  // ---- What streams ask for (H2Stream is the public face of these).

  sendResponse(stream: H2Stream<T>, head: ResponseHead, length: number, extra: string, end: boolean): void {
    if (stream.localEnded || stream.aborted || stream.headSent) return;
    stream.headSent = head.status >= 200;
    this.sender.headers(stream.id, responseBlock(head, length, stream.method, extra), end);
    if (end) this.endLocal(stream);
  }

  /** A stream that is over takes everything, so that nobody keeps bytes for it. */
  sendData(stream: H2Stream<T>, bytes: Uint8Array, start: number, end: number, endStream: boolean): number {
    if (stream.localEnded || stream.aborted) return end - start;
    const taken = this.sender.data(stream, bytes, start, end, endStream);
    if (endStream && taken === end - start) this.endLocal(stream);
    return taken;
  }

  sendTrailers(stream: H2Stream<T>, trailers: Fields): void {
    if (stream.localEnded || stream.aborted) return;
    const block = fieldsBlock(trailers);
    if (block === '') this.sender.data(stream, NOTHING, 0, 0, true);
    else this.sender.headers(stream.id, block, true);
    this.endLocal(stream);
  }

  resetStream(stream: H2Stream<T>, code: number): void {
    if (!(stream.closed || this.ended)) {
      this.abort(stream, code);
      return;
    }
    this.receiver.release(stream);
    // From within the event that tells of its end: there is room for another stream from now on.
    this.settle(stream);
  }

  consume(stream: H2Stream<T>, count: number): void {
    this.receiver.consume(stream, count);
  }

  // ---- What the receiver and the dispatch report.

  /** A mistake of the peer that costs it one stream (section 5.4.2). Always false, for the caller to return. */
  streamError(id: number, stream: H2Stream<T> | null, code: number, wrong: H2Fault): false {
    if (this.role === 'server' && !this.guard.reset()) return this.calm('too many streams were reset');
    const failure = this.role === 'server' ? wrong.downstream : wrong.upstream;
    if (stream === null) {
      this.sendReset(id, code);
    } else {
      this.abort(stream, code);
      this.events.onReset(stream, code, failure, wrong.detail);
    }
    return false;
  }

  /** A mistake that costs the peer its connection (section 5.4.1). Always false. */
  fail(code: number, detail: string): false {
    if (this.ended) return false;
    this.closeFor(code, detail, this.role === 'server' ? FAILURES.h2ConnectionError : FAILURES.upstreamH2Error);
    this.events.onConnectionError(code, detail);
    return false;
  }

  /** Counts a frame that carries and ends nothing; false when there were too many. */
  tolerateEmpty(): boolean {
    return this.guard.empty() || this.calm('too many empty frames');
  }

  /** Counts a frame that asks for nothing; false when there were too many. */
  tolerate(): boolean {
    return this.guard.ping() || this.calm('too many frames that ask for nothing');
  }

  /** Ends a connection that costs more than it is worth. Always false. */
  calm(detail: string): false {
    return this.fail(frames.ENHANCE_YOUR_CALM, detail);
  }

  /** `stream` null: it is over already, which makes its reset no cheaper where we answered at once. */
  resetByPeer(stream: H2Stream<T> | null, code: number): void {
    if (this.role === 'server' && !this.guard.reset()) {
      this.calm('too many streams were reset');
      return;
    }
    if (stream === null) {
      this.tolerate();
      return;
    }
    this.drop(stream);
    this.events.onReset(stream, code, null, frames.errorName(code));
    this.closeIfDone();
  }

  /** The peer takes no new streams, and serves none above `lastId`. */
  leftByPeer(lastId: number, code: number, detail: string): void {
    this.peerLeaves = true;
    this.events.onGoaway(lastId, code, detail);
    if (this.role === 'client') this.excludeAbove(lastId);
    this.closeIfDone();
  }

  /** The peer has seen our graceful GOAWAY: what it opened before, we have by now. */
  drainArrived(): void {
    if (this.going === 'draining') this.leave();
  }

  /** Forgets a stream that both sides have ended. */
  settle(stream: H2Stream<T>): void {
    if (!stream.closed) return;
    this.streams.remove(stream);
    this.sender.forget(stream);
    this.closeIfDone();
  }

  private excludeAbove(lastId: number): void {
    for (const stream of this.streams.all()) {
      if (stream.id <= lastId || stream.aborted) continue;
      this.drop(stream);
      this.events.onReset(stream, frames.REFUSED_STREAM, null, 'excluded by GOAWAY');
    }
  }

  private leave(): void {
    this.going = 'leaving';
    frames.writeGoaway(this.output, this.streams.lastPeerId, frames.NO_ERROR, '');
    this.closeIfDone();
  }

  private endLocal(stream: H2Stream<T>): void {
    stream.localEnded = true;
    this.settle(stream);
  }

  /** Resets a stream on our own account. */
  private abort(stream: H2Stream<T>, code: number): void {
    this.sendReset(stream.id, code);
    this.drop(stream);
    this.closeIfDone();
  }

  private sendReset(id: number, code: number): void {
    this.streams.past.addReset(id);
    this.sender.control(frames.RST_STREAM, id, code);
  }

  private drop(stream: H2Stream<T>): void {
    stream.aborted = true;
    this.streams.remove(stream);
    this.sender.forget(stream);
    this.receiver.release(stream);
  }

  private closeIfDone(): void {
    if (this.streams.size > 0 || this.going === 'ended') return;
    if (this.going !== 'leaving' && !this.peerLeaves) return;
    this.going = 'ended';
    this.reader.stop();
    this.events.onDone();
  }

  private closeFor(code: number, detail: string, failure: Failure | null): void {
    if (this.ended) return;
    frames.writeGoaway(this.output, this.streams.lastPeerId, code, detail);
    this.end(detail, failure);
  }

  private end(detail: string, failure: Failure | null = null): void {
    this.going = 'ended';
    this.reader.stop();
    for (const stream of this.streams.all()) {
      if (stream.aborted) continue;
      this.drop(stream);
      this.events.onReset(stream, frames.CONNECTION_LOST, failure, detail);
    }
  }
}

const NOTHING: Uint8Array = new Uint8Array(0);
