/**
 * Opaque bytes from a caller to a cluster: picks an endpoint, dials (another one if that fails), then pipes. Used for
 * CONNECT, and for inbound bytes that are no HTTP.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Destination } from '../config/link.ts';
import type { MeshPeer } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import type { TcpSeries } from '../telemetry/metrics.ts';
import { OPAQUE_ALPN } from '../upstream/cluster.ts';
import { Dial, type DialListener } from '../upstream/dial.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { Caller } from './caller.ts';
import { Tunnel, type TunnelEnd } from './l4.ts';
import type { Room } from './room.ts';

/** Bytes that a caller may send ahead while its upstream is being dialled; then it is paused. */
const AHEAD_BYTES = 65_536;

export interface OpaqueEvents {
  /** The upstream is there: what must be said before its bytes (200 to CONNECT) is said now. */
  onOpen(): void;
  /** Every endpoint failed; the transport is still the caller's to close. */
  onRefused(failure: Failure, detail: string): void;
}

export class OpaqueConnection implements TransportOwner, DialListener {
  private readonly room: Room;
  private readonly caller: Caller;
  private readonly transport: Transport;
  private readonly authority: string;
  private readonly target: Destination;
  private readonly events: OpaqueEvents;
  private readonly startedAt: number;
  private readonly tried: Endpoint[] = [];
  private endpoint: Endpoint | null = null;
  private dial: Dial | null = null;
  private tunnel: Tunnel | null = null;
  private principal = '';
  private series: TcpSeries | null = null;
  private ahead: Buffer[] = [];
  private aheadBytes = 0;
  private eof = false;

  constructor(
    room: Room,
    caller: Caller,
    transport: Transport,
    authority: string,
    target: Destination,
    events: OpaqueEvents,
  ) {
    this.room = room;
    this.caller = caller;
    this.transport = transport;
    this.authority = authority;
    this.target = target;
    this.events = events;
    this.startedAt = room.io.clock.now();
    transport.owner = this;
    room.tunnels.add(this);
    target.cluster.budget.onRequest();
    this.attempt();
  }

  destroy(): void {
    this.transport.destroy();
    this.tunnel?.destroy();
  }

  onConnected(upstream: Transport, peer: MeshPeer | null): void {
    const { room, transport } = this;
    this.dial = null;
    this.principal = peer === null ? '' : peer.spiffeId;
    const seen = this.caller.direction === 'inbound' ? this.caller.principal : this.principal;
    this.series = room.story.tcpSeries(this.caller.direction, this.target.service, seen);
    this.series.opened();
    this.tunnel = new Tunnel(transport, upstream, (end) => this.ended(end));
    this.events.onOpen();
    for (const chunk of this.ahead) transport.owner.onBytes(chunk, 0, chunk.length);
    this.ahead = [];
    transport.resume();
    if (this.eof) transport.owner.onEof();
  }

  onDialFailed(failure: Failure, detail: string): void {
    const { endpoint } = this;
    this.release();
    if (endpoint !== null) {
      endpoint.failures++;
      this.tried.push(endpoint);
    }
    if (this.tried.length <= this.target.cluster.spec.retries && this.target.cluster.budget.tryRetry()) this.attempt();
    else this.refuse(failure, detail);
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
    this.dial?.cancel();
    this.release();
    this.leave(FAILURES.clientGone, 'closed while the upstream was dialled', 0, 0);
  }

  onCongested(): void {}

  onWritable(): void {}

  private attempt(): void {
    const { room, target } = this;
    const { cluster } = target;
    const endpoint = cluster.pick(this.tried, cluster.hash?.ofConnection(this.caller.sourceAddress));
    if (endpoint === null) {
      this.refuse(FAILURES.noReadyEndpoint, `${cluster.key} has no ready endpoint`);
      return;
    }
    const { settings } = cluster.pool;
    if (cluster.pool.connections >= settings.maxConnections) {
      this.refuse(FAILURES.connectionLimit, `${settings.maxConnections} connections are open`);
      return;
    }
    if (room.io.isOwnOutbound(endpoint.address, endpoint.port)) {
      this.refuse(FAILURES.loopDetected, `${endpoint.key} is the own outbound listener`);
      return;
    }
    const mesh = endpoint.meshTls ? cluster.meshDial(OPAQUE_ALPN) : null;
    if (mesh !== null && 'word' in mesh) {
      this.refuse(mesh, 'no identity to call with');
      return;
    }
    this.endpoint = endpoint;
    endpoint.active++;
    endpoint.requests++;
    endpoint.connections++;
    cluster.pool.connections++;
    this.dial = new Dial(room.io, endpoint, mesh, settings.connectTimeoutMs, this, settings.localAddress);
  }

  /** Gives the endpoint's and the cluster's connection slot back. */
  private release(): void {
    const { endpoint } = this;
    this.endpoint = null;
    if (endpoint === null) return;
    endpoint.active--;
    this.target.cluster.pool.released(endpoint);
  }

  private refuse(failure: Failure, detail: string): void {
    this.leave(failure, detail, 0, 0);
    this.room.story.refused(failure);
    this.events.onRefused(failure, detail);
  }

  private ended(end: TunnelEnd): void {
    const upstream = this.endpoint?.key ?? '';
    this.release();
    this.series?.closed();
    this.series?.received(end.received);
    this.series?.sent(end.sent);
    this.leave(end.failure, end.detail, end.received, end.sent, upstream);
  }

  private leave(failure: Failure | null, detail: string, received: number, sent: number, upstream = ''): void {
    const { room, caller, target } = this;
    if (!room.tunnels.delete(this)) return;
    const now = room.io.clock.now();
    room.lastBusyAt = now;
    const durationMs = now - this.startedAt;
    room.story.connection({
      direction: caller.direction,
      startedAt: room.io.clock.wall() - durationMs,
      durationMs,
      failure,
      detail,
      receivedBytes: received,
      sentBytes: sent,
      authority: this.authority,
      cluster: target.cluster.key,
      upstream,
      downstream: `${caller.sourceAddress}:${caller.sourcePort}`,
      downstreamPrincipal: caller.principal,
      upstreamPrincipal: this.principal,
    });
  }
}
