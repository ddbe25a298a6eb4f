/**
 * Opaque bytes between two transports: each side's end passes on as an end, a reset as a reset, and neither is read
 * faster than the other takes.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { detailOf } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';

export interface TunnelEnd {
  readonly failure: Failure | null;
  readonly detail: string;
  /** Bytes from downstream to upstream, and back. */
  readonly received: number;
  readonly sent: number;
}

/** Owns both transports until both are closed. */
export class Tunnel {
  private readonly downstream: Side;
  private readonly upstream: Side;
  private readonly onEnd: (end: TunnelEnd) => void;
  private open = 2;
  private failure: Failure | null = null;
  private detail = '';

  constructor(downstream: Transport, upstream: Transport, onEnd: (end: TunnelEnd) => void) {
    this.onEnd = onEnd;
    this.downstream = new Side(this, downstream, upstream);
    this.upstream = new Side(this, upstream, downstream);
    downstream.owner = this.downstream;
    upstream.owner = this.upstream;
  }

  destroy(): void {
    this.downstream.transport.destroy();
    this.upstream.transport.destroy();
  }

  closed(side: Side, error: Error | null): void {
    const other = side === this.downstream ? this.upstream : this.downstream;
    if (error !== null && this.failure === null) {
      this.failure = side === this.downstream ? FAILURES.clientGone : FAILURES.upstreamCut;
      this.detail = detailOf(error);
    }
    if (!other.transport.closed) {
      if (error === null && side.ended) other.transport.end();
      else other.transport.reset();
    }
    this.open--;
    if (this.open === 0) this.report();
  }

  private report(): void {
    const { failure, detail } = this;
    this.onEnd({ failure, detail, received: this.downstream.bytes, sent: this.upstream.bytes });
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
