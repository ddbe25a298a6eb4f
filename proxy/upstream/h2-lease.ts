/** One request's stream on an HTTP/2 link: what a lease of it is to the exchange. */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Backlog } from '../http/backlog.ts';
import { CANCEL, CONNECTION_LOST, REFUSED_STREAM } from '../http/h2-frames.ts';
import type { H2Stream } from '../http/h2-stream.ts';
import { type Fields, type RequestHead, ResponseHead } from '../http/message.ts';
import type { StreamListener, UpstreamStream } from '../http/stream.ts';
import type { H2Link } from './h2-link.ts';

export class H2Lease implements UpstreamStream {
  readonly principal: string;
  readonly toWeft: boolean;
  listener: StreamListener | null;
  private readonly link: H2Link;
  private stream: H2Stream<H2Lease> | null = null;
  private sent = false;
  /** Bytes of the request that no window had room for; bounded by one read, since the caller is paused then. */
  private rest: Backlog | null = null;
  private ending = false;
  private trailers: Fields | null = null;
  private answered = false;
  private upgrade: string | null = null;
  /** Sends the head of an upgrade, once SETTINGS tell whether the far side takes it. */
  private waiting: (() => void) | null = null;
  private paused = false;
  private owed = 0;

  constructor(link: H2Link, listener: StreamListener) {
    this.link = link;
    this.principal = link.principal;
    this.toWeft = link.shared;
    this.listener = listener;
  }

  get fresh(): boolean {
    return false;
  }

  sendHead(head: RequestHead, length: number, extra: string): void {
    const { link } = this;
    this.upgrade = head.upgrade;
    if (head.upgrade !== null && !link.takesUpgrades) {
      if (link.greeted) {
        this.refuse(FAILURES.protocolMismatch, 'the endpoint announced no extended CONNECT (RFC 8441) over HTTP/2');
      } else {
        this.waiting = () => this.sendHead(head, length, extra);
        link.awaitSettings(this);
      }
      return;
    }
    this.sent = true;
    const end = length === 0 && !head.trailersMayFollow && head.upgrade === null;
    this.stream = link.open(this, head, length, extra, end);
    if (this.stream === null) this.refuse(FAILURES.upstreamRefusedStream, 'the connection takes no more streams');
  }

  sendBytes(bytes: Uint8Array, start: number, end: number): void {
    const { stream } = this;
    if (stream === null || stream.localEnded) return;
    if (this.rest !== null && !this.rest.empty) {
      this.rest.add(bytes, start, end);
      return;
    }
    const taken = stream.sendData(bytes, start, end, false);
    if (taken === end - start) return;
    this.rest ??= new Backlog();
    this.rest.add(bytes, start + taken, end);
    this.listener?.onCongested();
  }

  sendEnd(trailers: Fields | null): void {
    // The request that asks for an upgrade is over; its stream goes on as the tunnel.
    if (this.upgrade !== null && !this.answered) return;
    this.ending = true;
    this.trailers = trailers;
    if (this.rest === null || this.rest.empty) this.endRequest();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    const { owed } = this;
    this.owed = 0;
    if (owed > 0) this.stream?.consume(owed);
  }

  cancel(): void {
    this.listener = null;
    this.rest?.drop();
    this.rest = null;
    if (this.stream !== null) {
      this.stream.reset(CANCEL);
      this.stream = null;
      this.link.settled();
    } else {
      this.giveBack();
    }
  }

  discard(): void {
    this.cancel();
  }

  // What the link says

  /** SETTINGS are here. */
  greet(): void {
    const { waiting } = this;
    this.waiting = null;
    if (this.listener !== null) waiting?.();
  }

  answer(head: ResponseHead, ended: boolean): void {
    this.answered = true;
    // A 2xx to extended CONNECT is what 101 is in HTTP/1.1.
    const switched = this.upgrade !== null && head.status >= 200 && head.status < 300;
    this.listener?.onHead(switched ? switching(head, this.upgrade) : head);
    if (ended) this.complete(null);
  }

  receive(bytes: Buffer, start: number, end: number): void {
    this.listener?.onBytes(bytes, start, end);
    if (this.paused) this.owed += end - start;
    else this.stream?.consume(end - start);
  }

  complete(trailers: Fields | null): void {
    const { listener, stream, link } = this;
    this.listener = null;
    this.rest?.drop();
    this.rest = null;
    // The whole answer is here: what is left of the request interests nobody, and what the caller has not taken yet must
    // not be missing in the connection's window, which all callers share.
    stream?.reset(CANCEL);
    this.stream = null;
    link.settled();
    listener?.onEnd(trailers);
  }

  fail(code: number, failure: Failure | null, detail: string): void {
    const { listener, link } = this;
    this.listener = null;
    this.stream = null;
    this.rest?.drop();
    this.rest = null;
    this.giveBack();
    link.settled();
    listener?.onFailure(failure ?? this.meaning(code), detail);
  }

  sendRest(): void {
    const { rest, stream } = this;
    if (rest === null || rest.empty || stream === null || !rest.drainTo(stream)) return;
    if (this.ending) this.endRequest();
    else this.listener?.onWritable();
  }

  /** The far side is not asked. */
  private refuse(failure: Failure, detail: string): void {
    const { listener } = this;
    this.listener = null;
    this.giveBack();
    listener?.onFailure(failure, detail);
  }

  /** The stream that was never opened. */
  private giveBack(): void {
    if (this.sent) return;
    this.sent = true;
    this.link.unlease();
  }

  private endRequest(): void {
    const { stream, trailers } = this;
    if (stream === null || stream.localEnded) return;
    if (trailers === null) stream.sendData(NOTHING, 0, 0, true);
    else stream.sendTrailers(trailers);
  }

  private meaning(code: number): Failure {
    // Who has begun to answer has acted on the request, whatever it says.
    if (this.answered) return FAILURES.upstreamCut;
    if (code === REFUSED_STREAM) return FAILURES.upstreamRefusedStream;
    return code === CONNECTION_LOST ? FAILURES.upstreamReset : FAILURES.upstreamStreamReset;
  }
}

function switching(head: ResponseHead, upgrade: string | null): ResponseHead {
  return new ResponseHead(101, 'Switching Protocols', head.fields, 0, -1, head.version, false, -1, upgrade);
}

const NOTHING = Buffer.alloc(0);
