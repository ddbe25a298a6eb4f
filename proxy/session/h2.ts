/**
 * An HTTP/2 connection from a caller: any number of exchanges at once, each on its own stream, all writing into one
 * buffer that leaves at most once per turn (net/turns).
 */
import { randomBytes } from 'node:crypto';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Backlog } from '../http/backlog.ts';
import { H2Connection } from '../http/h2-connection.ts';
import type { H2Events } from '../http/h2-events.ts';
import { CANCEL, INTERNAL_ERROR, NO_ERROR } from '../http/h2-frames.ts';
import { DEFAULT_H2_LIMITS, MESH_H2_LIMITS, withWindows } from '../http/h2-limits.ts';
import { H2Output } from '../http/h2-output.ts';
import type { H2Stream } from '../http/h2-stream.ts';
import { type Fields, type RequestHead, ResponseHead, UNKNOWN_LENGTH } from '../http/message.ts';
import type { DownstreamStream } from '../http/stream.ts';
import { Deadline } from '../net/deadline.ts';
import { detailOf } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import type { Gathering } from '../net/turns.ts';
import type { Caller } from './caller.ts';
import { Exchange } from './exchange.ts';
import { Lingering } from './linger.ts';
import { HEAD_TIMEOUT_MS, KEEP_ALIVE_MS, STREAM_IDLE_MS, WRITE_STALL_MS } from './phases.ts';
import { refusal } from './reply.ts';
import type { Room } from './room.ts';

/** Room for the frames of a usual turn; it grows under load and shrinks when idle. */
const OUTPUT_BYTES = 16_384;
/** How often a connection looks at its clock. */
const CHECK_MS = 2_000;

export class H2Session implements TransportOwner, Gathering, H2Events<H2Request> {
  readonly room: Room;
  private readonly caller: Caller;
  private readonly transport: Transport;
  private readonly output: H2Output;
  private readonly connection: H2Connection<H2Request>;
  private readonly check: Deadline;
  /** Monotonic time since which nothing came, a head is incomplete, or nothing could be written; 0: not so. */
  private quietSince: number;
  private midwaySince = 0;
  private stalledSince = 0;
  /** The frame that was incomplete after the last read. */
  private midwayIn = 0;
  private scheduled = false;
  private over = false;

  constructor(room: Room, caller: Caller, transport: Transport) {
    this.room = room;
    this.caller = caller;
    this.transport = transport;
    this.output = new H2Output(OUTPUT_BYTES, () => this.schedule());
    this.connection = new H2Connection<H2Request>('server', this, this.output, {
      limits: withWindows(caller.principal === '' ? DEFAULT_H2_LIMITS : MESH_H2_LIMITS, room.io.http2Windows),
      normalization: room.snapshot?.snapshot.mesh.pathNormalization ?? 'BASE',
      clock: room.io.clock,
    });
    this.quietSince = room.io.clock.now();
    this.check = new Deadline(() => this.checkTime());
    room.io.deadlines.set(this.check, CHECK_MS);
    room.sessions.add(this);
    transport.owner = this;
    this.connection.start();
    if (room.draining) this.connection.shutdown();
  }

  destroy(): void {
    const { connection } = this;
    for (const { user } of connection.open) user?.exchange?.spoil(FAILURES.drainTimeout, '');
    connection.close(NO_ERROR, 'the sidecar ends');
    this.finish();
  }

  /** A drain has begun: no new streams, those that are open finish (RFC 9113 section 6.8). */
  goAway(): void {
    this.connection.shutdown();
  }

  get waitingBytes(): number {
    return this.output.length;
  }

  onTurnEnd(): void {
    this.scheduled = false;
    if (this.transport.closed || this.output.length === 0) return;
    if (this.transport.whole(this.output.pending(), this.output)) this.output.clear();
    else this.output.rotate();
    if (!this.transport.congested) this.connection.flushed();
  }

  // What the socket says

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.connection.feed(bytes, start, end);
    this.quietSince = this.room.io.clock.now();
    const { midway, begun } = this.connection;
    // A read rarely ends where a frame does.
    if (!midway) this.midwaySince = 0;
    else if (this.midwaySince === 0 || begun !== this.midwayIn) this.midwaySince = this.quietSince;
    this.midwayIn = begun;
  }

  onEof(): void {
    // A peer that closes has given up on every stream; HTTP/2 has no half-close.
    this.connection.lost('the caller closed its connection');
    this.transport.destroy();
  }

  onClosed(error: Error | null): void {
    this.check.clear();
    this.room.sessions.delete(this);
    this.connection.lost(error === null ? '' : detailOf(error));
  }

  onCongested(): void {
    this.stalledSince = this.room.io.clock.now();
  }

  onWritable(): void {
    this.stalledSince = 0;
    this.connection.flushed();
  }

  // What the connection says

  onRequest(stream: H2Stream<H2Request>, head: RequestHead, ended: boolean): void {
    const { snapshot } = this.room;
    const request = new H2Request(stream);
    stream.user = request;
    request.upgrades = head.upgrade !== null;
    if (head.method === 'CONNECT' && !becomeUpgrade(head)) {
      this.onRequestRefused(stream, FAILURES.upgradeRefused, 'CONNECT without a protocol is not served over HTTP/2');
      return;
    }
    if (snapshot === null) {
      this.onRequestRefused(stream, FAILURES.notReady, '');
      return;
    }
    const exchange = new Exchange(this.room, snapshot, this.caller, request, head);
    request.exchange = exchange;
    exchange.start();
    if (ended) request.exchange?.receiveEnd(null);
  }

  onRequestRefused(stream: H2Stream<H2Request> | null, failure: Failure, detail: string): void {
    const { room, caller } = this;
    room.story.refusedConnection(room.direction, failure, detail, caller.sourceAddress);
    if (stream === null) return;
    const { head, body } = refusal(failure, detail);
    const request = stream.user ?? new H2Request(stream);
    stream.user = request;
    request.sendHead(head, body.length);
    request.sendBytes(body, 0, body.length);
    request.sendEnd(null);
  }

  onData(stream: H2Stream<H2Request>, bytes: Buffer, start: number, end: number): void {
    stream.user?.receive(bytes, start, end);
  }

  onEnd(stream: H2Stream<H2Request>, trailers: Fields | null): void {
    stream.user?.receiveEnd(trailers);
  }

  onReset(stream: H2Stream<H2Request>, _code: number, failure: Failure | null, detail: string): void {
    stream.user?.gone(failure ?? FAILURES.clientGone, detail);
  }

  onWindow(stream: H2Stream<H2Request>): void {
    stream.user?.sendRest();
  }

  onInterim(): void {}

  onResponse(): void {}

  onSettings(): void {}

  onPingAck(): void {}

  onGoaway(): void {}

  onConnectionError(_code: number, detail: string): void {
    const { room, caller } = this;
    room.story.refusedConnection(room.direction, FAILURES.h2ConnectionError, detail, caller.sourceAddress);
    this.finish();
  }

  onDone(): void {
    this.finish();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    const { turns } = this.room.io;
    if (this.connection.size <= 1) turns.addSoon(this);
    else turns.gather(this);
  }

  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.check.clear();
    this.room.sessions.delete(this);
    this.onTurnEnd();
    if (!this.transport.closed) new Lingering(this.room.io, this.transport);
  }

  private checkTime(): void {
    const now = this.room.io.clock.now();
    const late = (since: number, ms: number): boolean => since > 0 && now - since >= ms;
    if (late(this.stalledSince, WRITE_STALL_MS)) {
      this.transport.destroy();
    } else if (late(this.midwaySince, HEAD_TIMEOUT_MS)) {
      this.connection.close(NO_ERROR, 'a frame or header block did not end in time');
      this.finish();
    } else if (this.connection.size === 0 && late(this.quietSince, KEEP_ALIVE_MS)) {
      this.connection.shutdown();
      this.finish();
    } else {
      this.giveUpStalled(now);
      this.room.io.deadlines.set(this.check, CHECK_MS);
    }
  }

  private giveUpStalled(now: number): void {
    if (this.connection.size === 0) return;
    for (const { user } of this.connection.open) {
      if (user?.stalled(now) !== true) continue;
      this.room.story.refused(FAILURES.writeStalled);
      user.abort(CANCEL);
    }
  }
}

/** One stream of a caller: what its exchange answers goes out as far as the windows allow; the rest waits here. */
class H2Request implements DownstreamStream {
  exchange: Exchange | null = null;
  /** It came as extended CONNECT. */
  upgrades = false;
  private readonly stream: H2Stream<H2Request>;
  /** Bytes for the new protocol that came before it was switched to; bounded by the stream's window, which stays closed. */
  private early: Buffer[] | null = null;
  /** Bytes of the answer that no window had room for; bounded by one read, since the source is paused then. */
  private rest: Backlog | null = null;
  private tunnel = false;
  private ending = false;
  /** Monotonic time since which nothing was taken of an answer that is complete; 0: not so when last looked at. */
  private stalledSince = 0;
  private trailers: Fields | null = null;
  private paused = false;
  /** Bytes received while paused: the caller may send as many again once the pause ends. */
  private owed = 0;

  constructor(stream: H2Stream<H2Request>) {
    this.stream = stream;
  }

  receive(bytes: Buffer, start: number, end: number): void {
    const { exchange, stream } = this;
    if (this.upgrades && !this.tunnel) {
      // An application that does not switch would take them for the next request.
      (this.early ??= []).push(Buffer.from(bytes.subarray(start, end)));
      return;
    }
    if (exchange !== null) exchange.receiveBytes(bytes, start, end);
    if (this.paused) this.owed += end - start;
    else stream.consume(end - start);
  }

  receiveEnd(trailers: Fields | null): void {
    if (this.tunnel) this.exchange?.receiveTunnelEnd();
    else this.exchange?.receiveEnd(trailers);
  }

  gone(failure: Failure, detail: string): void {
    const { exchange } = this;
    this.exchange = null;
    this.rest?.drop();
    this.rest = null;
    exchange?.abandon(failure, detail);
  }

  sendInterim(head: ResponseHead): void {
    this.stream.interim(head);
  }

  sendHead(head: ResponseHead, length: number): void {
    if (head.status === 101) {
      this.tunnel = true;
      this.stream.respond(switched(head), UNKNOWN_LENGTH, '', false);
      const { early } = this;
      this.early = null;
      for (const chunk of early ?? []) this.receive(chunk, 0, chunk.length);
      if (this.stream.remoteEnded) this.exchange?.receiveTunnelEnd();
      return;
    }
    if (this.upgrades && head.status < 300) {
      // To extended CONNECT any 2xx says that the protocol was switched (RFC 8441 section 4).
      const declined = refusal(FAILURES.upstreamBadUpgrade, 'the endpoint answered the request and did not upgrade');
      this.stream.respond(declined.head, 0, '', true);
      return;
    }
    const empty = length === 0 && !head.trailersMayFollow;
    const none = empty || this.stream.method === 'HEAD' || head.status === 204 || head.status === 304;
    this.stream.respond(head, length, '', none);
  }

  sendBytes(bytes: Uint8Array, start: number, end: number): void {
    const { stream } = this;
    if (stream.localEnded) return;
    if (this.rest !== null && !this.rest.empty) {
      this.rest.add(bytes, start, end);
      return;
    }
    const taken = stream.sendData(bytes, start, end, false);
    if (taken === end - start) return;
    this.rest ??= new Backlog();
    this.rest.add(bytes, start + taken, end);
    this.exchange?.downstreamCongested();
  }

  sendEnd(trailers: Fields | null): void {
    this.exchange = null;
    this.ending = true;
    this.trailers = trailers;
    if (this.rest === null || this.rest.empty) this.finish();
  }

  abort(code: number = INTERNAL_ERROR): void {
    this.exchange = null;
    this.rest?.drop();
    this.rest = null;
    this.stream.reset(code);
  }

  /** The answer waits for nobody but a caller that takes nothing of it. */
  stalled(now: number): boolean {
    if (!this.ending || this.rest === null || this.rest.empty) return false;
    if (this.stalledSince === 0) this.stalledSince = now;
    return now - this.stalledSince >= STREAM_IDLE_MS;
  }

  pauseRequest(): void {
    this.paused = true;
  }

  resumeRequest(): void {
    this.paused = false;
    if (this.owed === 0) return;
    const { owed } = this;
    this.owed = 0;
    this.stream.consume(owed);
  }

  /** A window has opened. */
  sendRest(): void {
    const { rest, stream } = this;
    this.stalledSince = 0;
    if (rest === null || rest.empty || !rest.drainTo(stream)) return;
    if (this.ending) this.finish();
    else this.exchange?.downstreamWritable();
  }

  private finish(): void {
    const { stream, trailers } = this;
    if (!stream.localEnded) {
      if (trailers === null) stream.sendData(NOTHING, 0, 0, true);
      else stream.sendTrailers(trailers);
    }
    // An answer that needs no more of the request (RFC 9113 section 8.1), nor of what has come of it and nobody took.
    stream.reset(NO_ERROR);
  }
}

const WEBSOCKET_KEY_BYTES = 16;

/** An extended CONNECT (RFC 8441) as the Upgrade request it stands for; false if it is a plain CONNECT. */
function becomeUpgrade(head: RequestHead): boolean {
  if (head.upgrade === null) return false;
  head.method = 'GET';
  head.length = 0;
  // RFC 8441 section 5.1: HTTP/2 has no key, an HTTP/1.1 server wants one.
  if (head.upgrade.toLowerCase() === 'websocket' && !head.fields.has('sec-websocket-key')) {
    head.fields.append('Sec-WebSocket-Key', randomBytes(WEBSOCKET_KEY_BYTES).toString('base64'));
  }
  return true;
}

/** A 101 as extended CONNECT answers: 200, and the stream is the tunnel. */
function switched(head: ResponseHead): ResponseHead {
  return new ResponseHead(200, '', head.fields, UNKNOWN_LENGTH, -1, head.version, false, -1, null);
}

const NOTHING = Buffer.alloc(0);
