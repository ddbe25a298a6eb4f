/**
 * An HTTP/1.1 connection to an endpoint. It carries one stream at a time, and is that stream: a lease costs no object.
 *
 * After a response the connection goes back to its pool only if both messages ended in order; any byte that arrives
 * while it is idle, and any doubt about where a message ended, closes it (CHECKS, "response queue poisoning").
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { type ResponseEvents, ResponseParser } from '../http/h1-parser.ts';
import { chunkLine, lastChunk, requestHead } from '../http/h1-writer.ts';
import { DEFAULT_LIMITS } from '../http/limits.ts';
import { type Fields, type RequestHead, type ResponseHead, UNKNOWN_LENGTH } from '../http/message.ts';
import type { StreamListener, UpstreamStream } from '../http/stream.ts';
import { Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import { detailOf } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import { followsEnd } from '../net/write-errors.ts';
import type { Endpoint } from './endpoint.ts';

/** What the pool does with connections that become free or end. */
export interface ConnectionHost {
  onIdle(connection: H1Connection): void;
  onGone(connection: H1Connection): void;
  /** Requests a connection may carry in its life; 0: no bound. */
  readonly maxRequestsPerConnection: number;
  /** A connection as old as this takes no further request, milliseconds; 0: no bound. */
  readonly maxConnectionAgeMs: number;
  /** Milliseconds without a request after which policy closes a connection; 0: policy says nothing. */
  readonly idleMs: number;
}

const PARSER_OPTIONS = { limits: DEFAULT_LIMITS };

/** Listens to a response that nobody wants. */
const NOBODY: StreamListener = {
  onInterim() {},
  onHead() {},
  onBytes() {},
  onEnd() {},
  onFailure() {},
  onCongested() {},
  onWritable() {},
};

export class H1Connection implements UpstreamStream, TransportOwner, ResponseEvents {
  readonly endpoint: Endpoint;
  readonly principal: string;
  /** Two wefts speak HTTP/2. */
  readonly toWeft = false;
  private readonly io: IoThread;
  private readonly host: ConnectionHost;
  private readonly transport: Transport;
  private readonly parser: ResponseParser;
  private readonly idleDeadline: Deadline;
  private listener: StreamListener | null = null;
  private requests = 0;
  private readonly openedAt: number;
  private readonly generation: number;
  private idleSince = 0;
  private method = '';
  private chunked = false;
  private requestDone = false;
  private responseHead = false;
  private responseDone = false;
  private trailers: Fields | null = null;
  /** The stream became a tunnel (101, or 2xx to CONNECT): bytes pass unread, and the connection is never pooled. */
  private tunnel = false;
  private reusable = true;
  private paused = false;
  private gone = false;
  /** How often the outbox had written when this request began. */
  private flushesBefore = 0;
  /** Something of this request has left. Else what lies on a connection that was used before is no answer to it. */
  private begun = false;
  /** The endpoint takes no more of the request; what it said before that is being read. */
  private writeError: Error | null = null;

  constructor(io: IoThread, endpoint: Endpoint, host: ConnectionHost, transport: Transport, principal: string) {
    this.io = io;
    this.endpoint = endpoint;
    this.host = host;
    this.transport = transport;
    this.principal = principal;
    this.parser = new ResponseParser(this, PARSER_OPTIONS);
    this.openedAt = io.clock.now();
    this.generation = endpoint.generation;
    this.idleDeadline = new Deadline(() => this.close());
    transport.owner = this;
    transport.outliveWrites();
  }

  get fresh(): boolean {
    return this.requests <= 1;
  }

  /** Gives the connection to its next request; null if it has ended meanwhile. */
  lease(listener: StreamListener): UpstreamStream | null {
    if (this.gone || this.transport.closed) return null;
    this.idleDeadline.clear();
    this.listener = listener;
    this.requests++;
    this.requestDone = false;
    this.responseHead = false;
    this.responseDone = false;
    this.trailers = null;
    return this;
  }

  sendHead(head: RequestHead, length: number, extra: string): void {
    this.method = head.method;
    this.chunked = length === UNKNOWN_LENGTH;
    this.parser.expect(head.method, head.upgrade);
    this.flushesBefore = this.transport.outbox.flushes;
    this.begun = this.fresh;
    this.transport.text(requestHead(head, length, extra));
  }

  sendBytes(bytes: Uint8Array, start: number, end: number): void {
    const { transport } = this;
    if (this.writeError !== null) return;
    this.noteBegun();
    if (!this.chunked || this.tunnel) {
      transport.bytes(bytes, start, end);
      return;
    }
    transport.text(chunkLine(end - start));
    transport.bytes(bytes, start, end);
    transport.text('\r\n');
  }

  sendEnd(trailers: Fields | null): void {
    if (this.tunnel) {
      this.transport.end();
      return;
    }
    if (this.chunked) this.transport.text(lastChunk(trailers));
    this.requestDone = true;
  }

  pause(): void {
    this.paused = true;
    this.transport.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.transport.resume();
  }

  cancel(): void {
    this.listener = null;
    if (this.tunnel) this.transport.reset();
    this.close();
  }

  discard(): void {
    if (this.listener !== null) this.listener = NOBODY;
  }

  /** Ends the connection; a stream on it is told nothing. */
  close(): void {
    if (this.gone) return;
    this.transport.destroy();
    this.leave();
  }

  /** No further request; ends with the one that is under way. */
  goAway(): void {
    this.reusable = false;
    if (this.listener === null) this.close();
  }

  // What the socket says

  onBytes(bytes: Buffer, start: number, end: number): void {
    const { listener, parser } = this;
    if (listener === null) {
      // Nobody asked: an answer in advance would be taken for the next request's.
      this.close();
      return;
    }
    if (this.tunnel) {
      listener.onBytes(bytes, start, end);
      return;
    }
    const at = parser.feed(bytes, start, end);
    if (this.gone) return;
    if (this.tunnel) {
      if (at < end) this.listener?.onBytes(bytes, at, end);
    } else if (this.responseDone) {
      if (at < end) this.reusable = false;
      this.complete();
    }
  }

  onEof(): void {
    if (this.tunnel && !this.gone) this.tunnelEnded();
    else this.ended(null);
  }

  onClosed(error: Error | null): void {
    this.ended(error);
  }

  /** What it said before may be why it takes no more: an early answer. */
  onWriteFailed(error: Error): boolean {
    if (this.writeError !== null) return true;
    if (this.gone || this.listener === null || this.tunnel) return false;
    if (!this.begun) return false;
    this.writeError = error;
    this.reusable = false;
    return true;
  }

  onCongested(): void {
    // The kernel has taken what it had room for; of TLS that is not known.
    if (!this.transport.encrypted) this.begun = true;
    if (this.writeError === null) this.listener?.onCongested();
  }

  onWritable(): void {
    this.noteBegun();
    this.listener?.onWritable();
  }

  // What the parser says

  onInterim(head: ResponseHead): void {
    this.listener?.onInterim(head);
  }

  onResponse(head: ResponseHead): void {
    this.responseHead = true;
    if (head.close) this.reusable = false;
    if (head.keepAliveSeconds >= 0) this.endpoint.learnIdle(head.keepAliveSeconds * 1000);
    if (head.status === 101 || (this.method === 'CONNECT' && head.status >= 200 && head.status < 300)) {
      this.tunnel = true;
      this.parser.stop();
    }
    this.listener?.onHead(head);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.listener?.onBytes(bytes, start, end);
  }

  onEnd(trailers: Fields | null): void {
    // Acted on after the parser returned: only then is it known whether bytes follow that belong to no request.
    if (this.tunnel) return;
    this.responseDone = true;
    this.trailers = trailers;
  }

  onResponseError(failure: Failure, detail: string): void {
    this.failed(failure, detail);
  }

  /** Of a write that failed a plain socket tells at once, TLS before the turn of the event loop is over. */
  private noteBegun(): void {
    const { transport, requests } = this;
    if (this.begun || transport.outbox.flushes === this.flushesBefore) return;
    if (!transport.encrypted) {
      this.begun = true;
      return;
    }
    setImmediate(() => {
      if (this.requests === requests) this.begun = true;
    });
  }

  private complete(): void {
    // The next request may begin inside onIdle.
    const { listener, trailers, host } = this;
    this.listener = null;
    this.resume();
    const now = this.io.clock.now();
    const spent =
      (host.maxRequestsPerConnection > 0 && this.requests >= host.maxRequestsPerConnection) ||
      (host.maxConnectionAgeMs > 0 && now - this.openedAt >= host.maxConnectionAgeMs);
    const free = this.requestDone && !this.transport.congested;
    const wanted = this.endpoint.wanted && this.endpoint.generation === this.generation;
    if (!this.reusable || !free || spent || !wanted) {
      this.close();
    } else {
      this.idleSince = now;
      const { idleMs } = this.endpoint;
      this.io.deadlines.set(this.idleDeadline, host.idleMs > 0 ? Math.min(host.idleMs, idleMs) : idleMs);
      host.onIdle(this);
    }
    listener?.onEnd(trailers);
  }

  /** The far side of a new protocol has ended it: so do we, after what is on its way (as Envoy does). */
  private tunnelEnded(): void {
    const { listener } = this;
    this.listener = null;
    this.transport.destroyWhenSent();
    this.leave();
    listener?.onEnd(null);
  }

  private leave(): void {
    this.gone = true;
    this.idleDeadline.clear();
    this.host.onGone(this);
  }

  private ended(error: Error | null): void {
    if (this.gone) return;
    if (this.listener === null) {
      this.endpoint.learnIdle(this.io.clock.now() - this.idleSince);
      this.close();
      return;
    }
    // A reset ends no body, not even one that lasts until the connection ends: what was lost by it nobody knows.
    const { writeError } = this;
    const inOrder = error === null && (writeError === null || followsEnd(writeError));
    if (inOrder && !this.tunnel && this.parser.finish()) {
      this.reusable = false;
      this.complete();
      return;
    }
    const answering = this.responseHead || this.parser.inHead;
    const cause = writeError ?? error;
    const detail = cause === null ? 'closed' : detailOf(cause);
    this.failed(answering ? FAILURES.upstreamCut : FAILURES.upstreamReset, detail);
  }

  private failed(failure: Failure, detail: string): void {
    const { listener } = this;
    this.listener = null;
    this.close();
    listener?.onFailure(failure, detail);
  }
}
