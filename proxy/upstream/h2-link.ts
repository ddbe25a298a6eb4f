/**
 * An HTTP/2 connection to an endpoint: the streams of many requests, of any callers, written together (net/turns).
 */
import type { Failure } from '../../shared/errors.ts';
import { H2Connection } from '../http/h2-connection.ts';
import type { H2Events } from '../http/h2-events.ts';
import { CONNECTION_LOST } from '../http/h2-frames.ts';
import { MESH_H2_LIMITS, UPSTREAM_H2_LIMITS, withWindows } from '../http/h2-limits.ts';
import { H2Output } from '../http/h2-output.ts';
import type { H2Stream } from '../http/h2-stream.ts';
import type { Fields, RequestHead, ResponseHead } from '../http/message.ts';
import type { StreamListener, UpstreamStream } from '../http/stream.ts';
import { Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import { detailOf } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import type { Gathering } from '../net/turns.ts';
import type { Endpoint } from './endpoint.ts';
import { H2Lease } from './h2-lease.ts';

/** Room for the frames of a usual turn; it grows under load and shrinks when idle. */
const OUTPUT_BYTES = 16_384;
/** A connection without a stream ends after this; nothing races with it, since HTTP/2 says GOAWAY. */
const IDLE_MS = 300_000;
/** With streams open and nothing read for this long, a PING asks for a sign of life (gRPC keepalive). */
const PING_AFTER_MS = 15_000;
/** The answer to a PING comes within this, or the connection is given up. */
const PING_TIMEOUT_MS = 10_000;
const CHECK_MS = 5_000;
/**
 * Bytes that callers who do not read may hold of a link before others get another: less than the 10 MB of unsent answers
 * at which a server on Node's http2 refuses streams.
 */
const CROWDED_BYTES = 8_388_608;
/** The same where the operator's windows are small: a part of the window. */
const CROWDED_SHARE = 1 / 8;
/** What a peer is told that only weft speaks: the origin of a request, see policy/forwarding-fields. */
const ORIGIN_HTTP1 = 'weft-origin: http/1.1\r\n';

export interface LinkHost {
  /** No new stream fits any more: GOAWAY, or the end. */
  onLinkGone(link: H2Link): void;
  /** As for connections that carry one request at a time. */
  readonly maxConnectionAgeMs: number;
  readonly idleMs: number;
  /** A stream has ended: another one fits. */
  onLinkRoom(link: H2Link): void;
}

export class H2Link implements TransportOwner, Gathering, H2Events<H2Lease> {
  readonly endpoint: Endpoint;
  readonly principal: string;
  /** The far side is a weft: requests of HTTP/1.1 callers travel here too. */
  readonly shared: boolean;
  readonly io: IoThread;
  private readonly host: LinkHost;
  private readonly transport: Transport;
  private readonly output: H2Output;
  private readonly connection: H2Connection<H2Lease>;
  private readonly check: Deadline;
  private readonly checkMs: number;
  /** Leases given out whose request has not been sent yet. */
  private reserved = 0;
  /** Those that cannot go before the far side has said what it takes. */
  private early: H2Lease[] = [];
  private lastReadAt: number;
  private readonly openedAt: number;
  private readonly crowdedBytes: number;
  private idleSince: number;
  private pingedAt = 0;
  private scheduled = false;
  private gone = false;

  constructor(
    io: IoThread,
    endpoint: Endpoint,
    host: LinkHost,
    transport: Transport,
    principal: string,
    shared: boolean,
  ) {
    this.io = io;
    this.endpoint = endpoint;
    this.host = host;
    this.transport = transport;
    this.principal = principal;
    this.shared = shared;
    this.output = new H2Output(OUTPUT_BYTES, () => this.schedule());
    const limits = withWindows(shared ? MESH_H2_LIMITS : UPSTREAM_H2_LIMITS, io.http2Windows);
    this.crowdedBytes = Math.min(CROWDED_BYTES, CROWDED_SHARE * limits.connectionWindow);
    this.connection = new H2Connection<H2Lease>('client', this, this.output, {
      limits,
      clock: io.clock,
      firstStreams: endpoint.linkStreams,
    });
    this.lastReadAt = io.clock.now();
    this.openedAt = this.lastReadAt;
    this.idleSince = this.lastReadAt;
    this.check = new Deadline(() => this.checkTime());
    this.checkMs = checkEvery(host);
    io.deadlines.set(this.check, this.checkMs);
    transport.owner = this;
    this.connection.start();
  }

  /** Streams open or about to be. */
  get load(): number {
    return this.connection.size + this.reserved;
  }

  /** Streams that could still be opened. */
  get room(): number {
    return this.gone ? 0 : this.connection.available - this.reserved;
  }

  /**
   * More waits to be written than the socket takes, or callers who do not read hold much of its window: large bodies
   * should not share it with small requests.
   */
  get congested(): boolean {
    return this.transport.congested || this.connection.debt > this.crowdedBytes;
  }

  /** The far side has said what it takes. */
  get greeted(): boolean {
    return this.connection.peer.received;
  }

  get takesUpgrades(): boolean {
    return this.connection.peer.connectProtocol;
  }

  lease(listener: StreamListener): UpstreamStream {
    this.reserved++;
    return new H2Lease(this, listener);
  }

  /** No new streams; ends when the open ones have. */
  goAway(): void {
    this.leave();
    this.connection.shutdown();
  }

  close(): void {
    this.end('closed');
    this.transport.destroy();
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

  // What leases ask for

  open(lease: H2Lease, head: RequestHead, length: number, extra: string, end: boolean): H2Stream<H2Lease> | null {
    this.reserved--;
    const lines = this.shared && head.origin < 20 ? extra + ORIGIN_HTTP1 : extra;
    const stream = this.connection.request(head, length, lines, end);
    if (stream !== null) stream.user = lease;
    return stream;
  }

  unlease(): void {
    this.reserved--;
  }

  /** `greet` follows, or `fail`. */
  awaitSettings(lease: H2Lease): void {
    this.early.push(lease);
  }

  /** A stream is over. */
  settled(): void {
    if (this.gone) return;
    if (this.load === 0) this.idleSince = this.io.clock.now();
    this.host.onLinkRoom(this);
  }

  // What the socket says

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.lastReadAt = this.io.clock.now();
    this.connection.feed(bytes, start, end);
  }

  onEof(): void {
    this.end('the endpoint closed the connection');
    this.transport.destroy();
  }

  onClosed(error: Error | null): void {
    this.end(error === null ? 'the connection was closed' : detailOf(error));
  }

  onCongested(): void {}

  onWritable(): void {
    this.connection.flushed();
  }

  // What the connection says

  onInterim(stream: H2Stream<H2Lease>, head: ResponseHead): void {
    stream.user?.listener?.onInterim(head);
  }

  onResponse(stream: H2Stream<H2Lease>, head: ResponseHead, ended: boolean): void {
    stream.user?.answer(head, ended);
  }

  onData(stream: H2Stream<H2Lease>, bytes: Buffer, start: number, end: number): void {
    stream.user?.receive(bytes, start, end);
  }

  onEnd(stream: H2Stream<H2Lease>, trailers: Fields | null): void {
    stream.user?.complete(trailers);
  }

  onReset(stream: H2Stream<H2Lease>, code: number, failure: Failure | null, detail: string): void {
    stream.user?.fail(code, failure, detail);
  }

  onWindow(stream: H2Stream<H2Lease>): void {
    stream.user?.sendRest();
  }

  onRequest(): void {}

  onRequestRefused(): void {}

  onSettings(): void {
    this.endpoint.linkStreams = this.connection.peer.maxConcurrentStreams;
    for (const lease of this.early.splice(0)) lease.greet();
    this.host.onLinkRoom(this);
  }

  onPingAck(): void {
    this.pingedAt = 0;
  }

  onGoaway(): void {
    this.leave();
  }

  onConnectionError(_code: number, detail: string): void {
    this.end(detail);
    this.onTurnEnd();
    this.transport.end();
    this.transport.destroyWhenSent();
  }

  onDone(): void {
    this.leave();
    this.failEarly('the connection takes no more streams');
    this.check.clear();
    this.onTurnEnd();
    this.transport.end();
    this.transport.destroyWhenSent();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    const { turns } = this.io;
    if (this.connection.size <= 1) turns.addSoon(this);
    else turns.gather(this);
  }

  private leave(): void {
    if (this.gone) return;
    this.gone = true;
    this.host.onLinkGone(this);
  }

  private end(detail: string): void {
    this.leave();
    this.check.clear();
    this.connection.lost(detail);
    this.failEarly(detail);
  }

  private failEarly(detail: string): void {
    for (const lease of this.early.splice(0)) lease.fail(CONNECTION_LOST, null, detail);
  }

  private checkTime(): void {
    const now = this.io.clock.now();
    // Whatever came since is a sign of life; the next silence is asked about anew.
    if (this.lastReadAt >= this.pingedAt) this.pingedAt = 0;
    if (this.pingedAt > 0 && now - this.pingedAt >= PING_TIMEOUT_MS) {
      this.end('the endpoint answers no PING');
      this.transport.destroy();
      return;
    }
    const { maxConnectionAgeMs } = this.host;
    if (maxConnectionAgeMs > 0 && now - this.openedAt >= maxConnectionAgeMs) {
      // The streams that are open end in their own time; the next request makes another connection.
      this.goAway();
    }
    if (this.load === 0) {
      if (now - this.idleSince >= (this.host.idleMs > 0 ? this.host.idleMs : IDLE_MS)) this.goAway();
    } else if (this.pingedAt === 0 && now - this.lastReadAt >= PING_AFTER_MS) {
      this.pingedAt = now;
      this.connection.ping(1);
    }
    if (!this.connection.ended) this.io.deadlines.set(this.check, this.checkMs);
  }
}

/** As often as needed to be no more than a tick late. */
function checkEvery({ idleMs, maxConnectionAgeMs }: LinkHost): number {
  return Math.min(CHECK_MS, idleMs > 0 ? idleMs : CHECK_MS, maxConnectionAgeMs > 0 ? maxConnectionAgeMs : CHECK_MS);
}
