/**
 * An HTTP/1 connection from a caller: one exchange at a time, in order, as long as both want.
 *
 * Bytes of the next request wait (bounded by one read, with the socket paused) while the current one is answered.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { type RequestEvents, RequestParser } from '../http/h1-parser.ts';
import {
  bodyFraming,
  CHUNK_END,
  chunkLine,
  interimHead,
  lastChunk,
  type ResponseFraming,
  responseHead,
} from '../http/h1-writer.ts';
import { DEFAULT_LIMITS } from '../http/limits.ts';
import type { Fields, HttpVersion, RequestHead, ResponseHead } from '../http/message.ts';
import type { DownstreamStream } from '../http/stream.ts';
import { Deadline } from '../net/deadline.ts';
import { detailOf } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import type { Caller } from './caller.ts';
import { Exchange } from './exchange.ts';
import { Lingering } from './linger.ts';
import { BODY_IDLE_MS, HEAD_TIMEOUT_MS, PHASE_MS, type Phase, STREAM_IDLE_MS, WRITE_STALL_MS } from './phases.ts';
import { refusal } from './reply.ts';
import type { Room } from './room.ts';
import { openTunnel } from './tunnel-request.ts';

/** How often a connection looks at its clock: what bounds the error of all that phases.ts says. */
const CHECK_MS = 2_000;

/** ResponseFraming of the exchange under way; one object for the life of the connection. */
class Framing implements ResponseFraming {
  version: HttpVersion = 11;
  close = false;
  keepAlive10 = false;
  requestMethod = '';
}

export class HttpSession implements TransportOwner, RequestEvents, DownstreamStream {
  private readonly room: Room;
  private readonly caller: Caller;
  private readonly transport: Transport;
  private readonly parser: RequestParser;
  private readonly framing = new Framing();
  private readonly check: Deadline;
  private exchange: Exchange | null = null;
  /** Bytes that belong to the next request, or to the new protocol of an upgrade. */
  private pending: Buffer | null = null;
  /** What was pending and is being read: it need not be copied to wait again. */
  private released: Buffer | null = null;
  private hasBody = false;
  private requestDone = true;
  private responseDone = true;
  private chunked = false;
  private bodiless = false;
  private tunnel = false;
  private feeding = false;
  private leaving = false;
  private paused = false;
  private phase: Phase = 'idle';
  private dueAt = 0;
  /** A byte of the exchange was passed on since the phase began or was looked at. */
  private moved = false;

  constructor(room: Room, caller: Caller, transport: Transport) {
    this.room = room;
    this.caller = caller;
    this.transport = transport;
    this.parser = new RequestParser(this, {
      limits: DEFAULT_LIMITS,
      scheme: caller.encrypted ? 'https' : 'http',
      normalization: room.snapshot?.snapshot.mesh.pathNormalization ?? 'BASE',
    });
    this.check = new Deadline(() => this.checkTime());
    this.enter('idle');
    room.io.deadlines.set(this.check, CHECK_MS);
    room.sessions.add(this);
    transport.owner = this;
  }

  destroy(): void {
    const { exchange, transport } = this;
    // The last answer may not have left yet.
    if (exchange === null) this.linger();
    else transport.turn(() => exchange.spoil(FAILURES.drainTimeout, ''));
  }

  /** The next answer is the last on this connection. */
  goAway(): void {
    this.leaving = true;
    if (this.exchange !== null) this.framing.close = true;
  }

  // What the socket says

  onBytes(bytes: Buffer, start: number, end: number): void {
    if (this.tunnel) {
      this.moved = true;
      this.exchange?.receiveBytes(bytes, start, end);
      return;
    }
    if (this.pending !== null || (this.exchange === null ? this.transport.congested : this.requestDone)) {
      this.hold(bytes, start, end);
      return;
    }
    this.feed(bytes, start, end);
  }

  onEof(): void {
    if (this.tunnel) {
      this.exchange?.receiveTunnelEnd();
    } else {
      // Nobody can tell a caller that half-closes from one that is gone; nginx and Envoy take it for gone too. What it still
      // waits for must not seem whole to it.
      if (this.exchange === null) this.transport.giveUp();
      else this.transport.reset();
    }
  }

  onClosed(error: Error | null): void {
    this.check.clear();
    this.room.sessions.delete(this);
    const { exchange } = this;
    this.exchange = null;
    exchange?.abandon(FAILURES.clientGone, error === null ? '' : detailOf(error));
  }

  onCongested(): void {
    this.enter('stalled');
    this.exchange?.downstreamCongested();
  }

  onWritable(): void {
    if (this.exchange === null) {
      if (!this.tunnel) this.nextRequest();
      return;
    }
    this.enter(this.tunnel ? 'tunnel' : 'answer');
    this.exchange.downstreamWritable();
  }

  // What the parser says

  onRequest(head: RequestHead): void {
    const { room, framing } = this;
    const { snapshot } = room;
    framing.version = head.version;
    framing.requestMethod = head.method;
    framing.keepAlive10 = head.version === 10 && !head.close;
    framing.close = head.close || this.leaving || room.draining;
    this.hasBody = head.length !== 0;
    this.requestDone = false;
    this.responseDone = false;
    if (snapshot === null) {
      this.refuse(FAILURES.notReady, 'no policy is in force yet');
      return;
    }
    this.enter('answer');
    if (head.method === 'CONNECT') {
      this.parser.stop();
      this.leave();
      openTunnel(room, snapshot, this.caller, this.transport, head);
      return;
    }
    this.exchange = new Exchange(room, snapshot, this.caller, this, head);
    this.exchange.start();
  }

  onData(bytes: Buffer, start: number, end: number): void {
    if (this.phase === 'body' || this.phase === 'answer') this.enter('body');
    this.exchange?.receiveBytes(bytes, start, end);
  }

  onEnd(trailers: Fields | null): void {
    this.requestDone = true;
    if (this.phase === 'body') this.enter('answer');
    this.exchange?.receiveEnd(trailers);
    if (this.responseDone) this.turnAround();
  }

  onRequestError(failure: Failure, detail: string): void {
    this.framing.close = true;
    if (this.exchange !== null) {
      this.exchange.spoil(failure, detail);
      return;
    }
    this.responseDone = false;
    this.refuse(failure, detail);
  }

  // What the exchange says

  sendInterim(head: ResponseHead): void {
    if (this.framing.version !== 10) this.transport.text(interimHead(head));
  }

  sendHead(head: ResponseHead, length: number): void {
    const { framing } = this;
    const body = bodyFraming(head.status, length, framing);
    // A body that nobody finished reading would be taken for the next request.
    if (body === 'close' || (this.hasBody && !this.requestDone) || this.room.draining) framing.close = true;
    this.chunked = body === 'chunked';
    this.bodiless = body === 'none';
    if (head.status === 101) this.becomeTunnel();
    this.transport.text(responseHead(head, length, framing));
    if (this.tunnel) this.releasePending();
  }

  sendBytes(bytes: Uint8Array, start: number, end: number): void {
    if (this.bodiless && !this.tunnel) return;
    this.moved = true;
    const { transport } = this;
    if (!this.chunked) {
      transport.bytes(bytes, start, end);
      return;
    }
    transport.text(chunkLine(end - start));
    transport.bytes(bytes, start, end);
    transport.text(CHUNK_END);
  }

  sendEnd(trailers: Fields | null): void {
    this.responseDone = true;
    this.exchange = null;
    if (this.tunnel) {
      // Nobody is left to speak to, and a caller that says more would stay for ever.
      this.linger();
      return;
    }
    if (this.chunked) this.transport.text(lastChunk(trailers));
    this.turnAround();
  }

  abort(): void {
    this.exchange = null;
    this.transport.reset();
  }

  pauseRequest(): void {
    if (this.paused) return;
    this.paused = true;
    // It is not the caller who keeps us waiting now.
    if (this.phase === 'body') this.enter('answer');
    this.transport.pause();
  }

  resumeRequest(): void {
    if (!this.paused || (this.pending !== null && !this.tunnel)) return;
    this.paused = false;
    this.transport.resume();
  }

  private feed(bytes: Buffer, start: number, end: number): void {
    this.feeding = true;
    let at = start;
    while (at < end && this.acceptsMore()) {
      // Once for each request in the bytes: what was answered at once has made it idle again.
      if (this.phase === 'idle') this.enter('head');
      at = this.parser.feed(bytes, at, end);
    }
    this.feeding = false;
    const { owner } = this.transport;
    if (owner !== this) {
      if (at < end) owner.onBytes(bytes, at, end);
      return;
    }
    if (at < end) this.hold(bytes, at, end);
    else if (this.exchange === null && !this.parser.inHead && !this.transport.congested) this.enter('idle');
  }

  /** The parser may go on: in a body, or with no exchange under way. */
  private acceptsMore(): boolean {
    if (this.parser.dead || this.transport.owner !== this || this.tunnel) return false;
    return this.exchange === null ? !this.transport.congested : !this.requestDone;
  }

  private hold(bytes: Buffer, start: number, end: number): void {
    const rest = bytes.subarray(start, end);
    if (this.pending !== null) this.pending = Buffer.concat([this.pending, rest]);
    else this.pending = bytes === this.released ? rest : Buffer.from(rest);
    this.pauseRequest();
  }

  private releasePending(): void {
    const { pending } = this;
    if (pending === null) return;
    this.pending = null;
    this.released = pending;
    this.resumeRequest();
    this.onBytes(pending, 0, pending.length);
    this.released = null;
  }

  /** Both messages have ended: the next request, or the end. */
  private turnAround(): void {
    if (!this.requestDone || !this.responseDone) {
      if (this.framing.close && this.responseDone) this.linger();
      return;
    }
    if (this.framing.close || this.parser.dead) {
      this.linger();
      return;
    }
    this.nextRequest();
  }

  /** A caller that does not take its answers is given no more: the stalled phase goes on until it does. */
  private nextRequest(): void {
    // Of no use to what may be refused next; and a slice of a head keeps all of that alive while the connection idles.
    this.framing.requestMethod = '';
    if (this.transport.congested) return;
    this.enter('idle');
    if (this.feeding) return;
    if (this.pending !== null) this.releasePending();
    else this.resumeRequest();
  }

  private refuse(failure: Failure, detail: string): void {
    this.framing.close = true;
    const { story, direction } = this.room;
    story.refusedConnection(direction, failure, detail, this.caller.sourceAddress);
    const reply = refusal(failure, detail);
    this.sendHead(reply.head, reply.body.length);
    this.sendBytes(reply.body, 0, reply.body.length);
    this.responseDone = true;
    this.linger();
  }

  private becomeTunnel(): void {
    this.tunnel = true;
    this.chunked = false;
    this.enter('tunnel');
  }

  /** Hands the transport to somebody else for good. */
  private leave(): void {
    this.check.clear();
    this.room.sessions.delete(this);
    if (this.paused) this.transport.resume();
  }

  private linger(): void {
    this.pending = null;
    this.leave();
    new Lingering(this.room.io, this.transport);
  }

  private enter(phase: Phase): void {
    this.phase = phase;
    this.moved = false;
    this.dueAt = this.room.io.clock.now() + PHASE_MS[phase];
  }

  private checkTime(): void {
    if (this.moved) this.enter(this.phase);
    if (this.room.io.clock.now() < this.dueAt) {
      this.room.io.deadlines.set(this.check, CHECK_MS);
      return;
    }
    this.transport.turn(() => this.outOfTime());
  }

  private outOfTime(): void {
    switch (this.phase) {
      case 'idle':
        this.linger();
        break;
      case 'head':
        this.responseDone = false;
        this.refuse(FAILURES.headTimeout, `no complete head within ${HEAD_TIMEOUT_MS} ms`);
        break;
      case 'body':
        this.framing.close = true;
        this.exchange?.spoil(FAILURES.bodyTimeout, `no byte of the body within ${BODY_IDLE_MS} ms`);
        break;
      case 'answer':
        this.framing.close = true;
        this.exchange?.spoil(FAILURES.streamIdle, `nothing moved for ${STREAM_IDLE_MS} ms`);
        break;
      case 'stalled':
        this.exchange?.abandon(FAILURES.writeStalled, `no byte taken within ${WRITE_STALL_MS} ms`);
        this.transport.giveUp();
        break;
      case 'tunnel':
        this.transport.destroy();
        break;
    }
  }
}
