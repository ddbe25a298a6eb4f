/**
 * Opaque bytes from a caller to a cluster: waits for the dial, then pipes, and tells what became of it. Used for CONNECT,
 * and for connections whose bytes are no HTTP.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { LinkedSnapshot } from '../config/link.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import type { TcpSeries } from '../telemetry/metrics.ts';
import { denialOf, type Refused } from './admission.ts';
import type { Caller } from './caller.ts';
import { Tunnel, type TunnelEnd } from './l4.ts';
import type { OpaqueDial, OpaqueDialEvents } from './opaque-dial.ts';
import type { Reporting, Room } from './room.ts';

/** Bytes that a caller may send ahead while its upstream is being dialled; then it is paused. */
const AHEAD_BYTES = 65_536;

export interface OpaqueEvents {
  /** The upstream is there: what must be said before its bytes (200 to CONNECT) is said now. */
  onOpen(): void;
  /** Every endpoint failed; the transport is still the caller's to close. */
  onRefused(failure: Failure, detail: string): void;
}

/** Owns the transport and the dial, which may be under way or done already, until both are closed. */
export class OpaqueConnection implements TransportOwner, OpaqueDialEvents, Reporting {
  private readonly room: Room;
  private readonly caller: Caller;
  private readonly transport: Transport;
  private readonly authority: string;
  private readonly dial: OpaqueDial;
  private readonly events: OpaqueEvents;
  private readonly startedAt: number;
  private tunnel: Tunnel | null = null;
  private series: TcpSeries | null = null;
  /** Bytes that the metrics have been told of. */
  private toldReceived = 0;
  private toldSent = 0;
  private ahead: Buffer[] = [];
  private aheadBytes = 0;
  private eof = false;
  /** Why we have ended it ourselves: policy that came later, or the end of the sidecar. */
  private verdict: Refused | null = null;

  constructor(
    room: Room,
    caller: Caller,
    transport: Transport,
    authority: string,
    dial: OpaqueDial,
    events: OpaqueEvents,
  ) {
    this.room = room;
    this.caller = caller;
    this.transport = transport;
    this.authority = authority;
    this.dial = dial;
    this.events = events;
    this.startedAt = room.io.clock.now();
    transport.owner = this;
    dial.events = this;
    room.tunnels.add(this);
    if (dial.upstream === null) dial.start();
    else this.onConnected();
  }

  destroy(): void {
    if (this.tunnel === null) {
      this.dial.cancel();
      this.onRefused(FAILURES.drainTimeout, '');
    } else {
      this.cut({ failure: FAILURES.drainTimeout, detail: '' });
    }
  }

  judgeAgain(snapshot: LinkedSnapshot): void {
    const denial = denialOf(this.room, snapshot, this.caller);
    if (denial !== null) this.cut(denial);
  }

  /** Tells the metrics how many bytes have passed so far: a tunnel may stand for weeks. */
  report(): void {
    const { series, tunnel } = this;
    if (series === null || tunnel === null) return;
    series.received(tunnel.received - this.toldReceived);
    series.sent(tunnel.sent - this.toldSent);
    this.toldReceived = tunnel.received;
    this.toldSent = tunnel.sent;
  }

  onConnected(): void {
    const { room, transport, dial, caller } = this;
    if (dial.upstream === null) return;
    const { cluster, service } = dial.target;
    const seen = caller.direction === 'inbound' ? caller.principal : dial.principal;
    this.series = room.story.tcpSeries(caller.direction, service, seen);
    this.series.opened();
    this.tunnel = new Tunnel(room.io, transport, dial.upstream, cluster.spec.tcpIdleMs, (end) => this.ended(end));
    this.events.onOpen();
    this.passAhead();
    dial.replay();
  }

  onRefused(failure: Failure, detail: string): void {
    this.leave(failure, detail);
    this.room.story.refused(failure);
    this.events.onRefused(failure, detail);
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.ahead.push(Buffer.from(bytes.subarray(start, end)));
    this.aheadBytes += end - start;
    if (this.aheadBytes >= AHEAD_BYTES) this.transport.pause();
  }

  onEof(): void {
    this.eof = true;
  }

  onClosed(): void {
    this.dial.cancel();
    this.leave(FAILURES.clientGone, 'closed while the upstream was dialled');
  }

  onCongested(): void {}

  onWritable(): void {}

  private cut(verdict: Refused): void {
    this.verdict ??= verdict;
    (this.tunnel ?? this.transport).reset();
  }

  /** What the caller has sent since it was accepted goes to the tunnel, its new owner. */
  private passAhead(): void {
    const { transport, ahead } = this;
    this.ahead = [];
    for (const chunk of ahead) transport.owner.onBytes(chunk, 0, chunk.length);
    if (this.aheadBytes >= AHEAD_BYTES) transport.resume();
    if (this.eof) transport.owner.onEof();
  }

  private ended(end: TunnelEnd): void {
    const upstream = this.dial.endpointKey;
    this.dial.release();
    this.report();
    this.series?.closed();
    this.leave(end.failure, end.detail, upstream);
  }

  private leave(failure: Failure | null, detail: string, upstream = ''): void {
    const { room, caller, dial, tunnel, verdict } = this;
    if (!room.tunnels.delete(this)) return;
    if (verdict !== null) room.story.refused(verdict.failure);
    const now = room.io.clock.now();
    room.lastBusyAt = now;
    const durationMs = now - this.startedAt;
    room.story.connection({
      direction: caller.direction,
      startedAt: room.io.clock.wall() - durationMs,
      durationMs,
      failure: verdict?.failure ?? failure,
      detail: verdict?.detail ?? detail,
      receivedBytes: tunnel === null ? 0 : tunnel.received,
      sentBytes: tunnel === null ? 0 : tunnel.sent,
      authority: this.authority,
      cluster: dial.target.cluster.key,
      upstream,
      downstream: `${caller.sourceAddress}:${caller.sourcePort}`,
      downstreamPrincipal: caller.principal,
      upstreamPrincipal: dial.principal,
    });
  }
}
