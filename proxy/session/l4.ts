/**
 * Opaque bytes between two transports: each side's end passes on as an end, a reset as a reset, and neither is read
 * faster than the other takes. What waits for a side is bounded by one read beyond its socket's high-water mark.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { coarse, Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import { detailOf } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';

/**
 * Milliseconds of silence after which the kernel asks whether the far side is still there (then each second, ten times):
 * below the four minutes after which the first NATs and load balancers forget a connection.
 */
const KEEP_ALIVE_MS = 180_000;
/** Looks per idle time: a tunnel is ended when it moved at none of these, so at most a quarter later than promised. */
const IDLE_LOOKS = 4;

export interface TunnelEnd {
  /** null where both sides ended in order. */
  readonly failure: Failure | null;
  /** Who ended it, and how. */
  readonly detail: string;
}

/** Owns both transports until both are closed. */
export class Tunnel {
  private readonly io: IoThread;
  private readonly downstream: Side;
  private readonly upstream: Side;
  private readonly onEnd: (end: TunnelEnd) => void;
  private readonly look: Deadline;
  private readonly lookMs: number;
  private quietLooks = 0;
  private movedBefore = 0;
  private open = 2;
  private failure: Failure | null = null;
  private detail = '';

  /** `idleMs`: no byte either way for so long ends it; 0: never. */
  constructor(
    io: IoThread,
    downstream: Transport,
    upstream: Transport,
    idleMs: number,
    onEnd: (end: TunnelEnd) => void,
  ) {
    this.io = io;
    this.onEnd = onEnd;
    this.downstream = new Side(this, downstream, upstream);
    this.upstream = new Side(this, upstream, downstream);
    this.look = new Deadline(() => this.lookAtIt());
    this.lookMs = idleMs === 0 ? 0 : coarse(idleMs / IDLE_LOOKS);
    downstream.owner = this.downstream;
    upstream.owner = this.upstream;
    downstream.socket.setKeepAlive(true, KEEP_ALIVE_MS);
    upstream.socket.setKeepAlive(true, KEEP_ALIVE_MS);
    io.deadlines.set(this.look, this.lookMs);
  }

  /** Bytes from downstream to upstream so far. */
  get received(): number {
    return this.downstream.bytes;
  }

  /** And back. */
  get sent(): number {
    return this.upstream.bytes;
  }

  /** Ends at once: neither side takes what it has for the whole. */
  reset(): void {
    this.downstream.transport.reset();
    this.upstream.transport.reset();
  }

  ended(side: Side): void {
    if (this.detail === '') this.detail = `${this.nameOf(side)} ended first`;
  }

  closed(side: Side, error: Error | null): void {
    const other = side === this.downstream ? this.upstream : this.downstream;
    if (error !== null && this.failure === null) {
      this.failure = side === this.downstream ? FAILURES.clientGone : FAILURES.upstreamCut;
      this.detail = `${this.nameOf(side)} was cut: ${detailOf(error)}`;
    }
    if (!other.transport.closed) {
      if (error === null && side.ended) other.transport.end();
      else other.transport.reset();
    }
    this.open--;
    if (this.open > 0) return;
    this.look.clear();
    this.onEnd({ failure: this.failure, detail: this.detail });
  }

  private nameOf(side: Side): string {
    return side === this.downstream ? 'the caller' : 'the upstream';
  }

  private lookAtIt(): void {
    const moved = this.received + this.sent;
    this.quietLooks = moved === this.movedBefore ? this.quietLooks + 1 : 0;
    this.movedBefore = moved;
    if (this.quietLooks < IDLE_LOOKS) {
      this.io.deadlines.set(this.look, this.lookMs);
      return;
    }
    this.failure = FAILURES.streamIdle;
    this.detail = 'no byte either way for the idle timeout (TrafficPolicy timeout.tcp.idleTimeout)';
    this.downstream.transport.giveUp();
    this.upstream.transport.giveUp();
  }
}

class Side implements TransportOwner {
  readonly transport: Transport;
  bytes = 0;
  ended = false;
  private readonly tunnel: Tunnel;
  private readonly other: Transport;

  constructor(tunnel: Tunnel, transport: Transport, other: Transport) {
    this.tunnel = tunnel;
    this.transport = transport;
    this.other = other;
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.bytes += end - start;
    this.other.bytes(bytes, start, end);
  }

  onEof(): void {
    this.ended = true;
    this.tunnel.ended(this);
    this.other.end();
  }

  onClosed(error: Error | null): void {
    this.tunnel.closed(this, error);
  }

  /** Our far side takes no more: its source stops. */
  onCongested(): void {
    this.other.pause();
  }

  onWritable(): void {
    this.other.resume();
  }
}
