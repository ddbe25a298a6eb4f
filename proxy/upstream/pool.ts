/**
 * The connections of one cluster: leases streams on those that are there, dials when there is none, keeps requests
 * waiting in order when the limit is reached. A waiter is answered exactly once, or not at all after `cancel`.
 *
 * What an endpoint speaks is known by policy, or learned from the first connection to it; until then requests wait
 * together for that one dial, since it may carry them all.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { StreamListener, UpstreamStream } from '../http/stream.ts';
import type { IoThread } from '../net/io-thread.ts';
import type { MeshPeer } from '../net/mesh-tls.ts';
import type { Transport } from '../net/transport.ts';
import { Dial, type DialListener } from './dial.ts';
import type { Endpoint } from './endpoint.ts';
import { type ConnectionHost, H1Connection } from './h1-connection.ts';
import { H2Link, type LinkHost } from './h2-link.ts';
import type { Refusal, SecureDial } from './secure-dial.ts';
import type { AppProtocol } from './spec.ts';

/** HTTP/2 connections per endpoint and data thread; a further one is made when those that are there are busy. */
const MAX_LINKS = 4;
/** Streams on one link from which on another is made. */
const BUSY_LINK = 256;

/** What the request's first caller speaks; an endpoint that declares nothing is spoken to alike. */
export type Lane = 'h1' | 'h2';

export interface StreamWaiter extends StreamListener {
  readonly lane: Lane;
  onStream(stream: UpstreamStream): void;
  /** No byte of the request was sent. `attempted`: false if it only waited for another request's dial. */
  onNoStream(failure: Failure, detail: string, attempted: boolean): void;
}

/** A request that waits for its stream. */
export interface Waiting {
  cancel(): void;
}

export interface PoolSettings {
  maxConnections: number;
  maxPending: number;
  maxRequestsPerConnection: number;
  connectTimeoutMs: number;
  /** A connection is closed when it is idle for so long; 0: what servers commonly allow. */
  idleMs: number;
  /** A connection as old as this takes no new request; 0: no bound. */
  maxConnectionAgeMs: number;
  protocol: AppProtocol;
  /** TLS of the endpoints' own is spoken, by whose ALPN they say what they speak. */
  negotiates: boolean;
  /** Source address of dials, so that an application can tell them; undefined: the kernel's choice. */
  localAddress: string | undefined;
}

/** Says, per dial, how to speak TLS, or why it cannot be spoken now. */
export interface Secures {
  secureDial(endpoint: Endpoint, lane: Lane): SecureDial | Refusal | null;
}

export class Pool implements ConnectionHost, LinkHost {
  readonly settings: PoolSettings;
  connections = 0;
  readonly io: IoThread;
  private readonly queue: Queued[] = [];
  private readonly secures: Secures;
  private readonly endpoints: ReadonlyMap<string, Endpoint>;

  /** `endpoints` are the cluster's own. */
  constructor(io: IoThread, settings: PoolSettings, secures: Secures, endpoints: ReadonlyMap<string, Endpoint>) {
    this.io = io;
    this.settings = settings;
    this.secures = secures;
    this.endpoints = endpoints;
  }

  get maxRequestsPerConnection(): number {
    return this.settings.maxRequestsPerConnection;
  }

  get maxConnectionAgeMs(): number {
    return this.settings.maxConnectionAgeMs;
  }

  get idleMs(): number {
    return this.settings.idleMs;
  }

  /** Answers at once where a stream is free, else returns what to cancel. */
  lease(endpoint: Endpoint, waiter: StreamWaiter): Waiting | null {
    const speaks = this.speaks(endpoint, waiter.lane);
    if (speaks !== 'h1') {
      const link = bestLink(endpoint, this.mayShare(endpoint, waiter.lane));
      if (link !== null) {
        if (isBusy(link)) this.grow(endpoint, waiter.lane);
        waiter.onStream(link.lease(waiter));
        return null;
      }
    }
    if (takesH1(speaks, waiter.lane)) {
      for (let connection = endpoint.idle.pop(); connection !== undefined; connection = endpoint.idle.pop()) {
        const stream = connection.lease(waiter);
        if (stream === null) continue;
        waiter.onStream(stream);
        return null;
      }
    }
    const joined = speaks === 'h1' ? null : endpoint.dialing[waiter.lane];
    if (joined !== null) return joined.join(waiter);
    const full = speaks === 'h2' && endpoint.links.length >= MAX_LINKS;
    return full ? this.enqueue(endpoint, waiter) : this.dialOrWait(endpoint, waiter);
  }

  onIdle(connection: H1Connection): void {
    const next = this.queue.shift();
    if (next === undefined) {
      connection.endpoint.idle.push(connection);
    } else if (next.endpoint === connection.endpoint && this.mayRideH1(next)) {
      const stream = connection.lease(next.waiter);
      if (stream === null) next.waiter.onNoStream(FAILURES.connectFailed, 'closed at once', false);
      else next.waiter.onStream(stream);
    } else {
      // Its place is worth more than the connection.
      this.queue.unshift(next);
      connection.close();
    }
  }

  onGone(connection: H1Connection): void {
    const { idle } = connection.endpoint;
    const at = idle.indexOf(connection);
    if (at >= 0) idle.splice(at, 1);
    this.released(connection.endpoint);
  }

  onLinkGone(link: H2Link): void {
    const { links } = link.endpoint;
    const at = links.indexOf(link);
    if (at >= 0) links.splice(at, 1);
    this.released(link.endpoint);
  }

  onLinkRoom(link: H2Link): void {
    if (this.queue.length === 0) return;
    for (let i = 0; i < this.queue.length && link.room > 0; ) {
      const queued = this.queue[i] as Queued;
      const { endpoint, waiter } = queued;
      if (endpoint === link.endpoint && (link.shared || this.mayShare(endpoint, waiter.lane))) {
        this.queue.splice(i, 1);
        waiter.onStream(link.lease(waiter));
      } else {
        i++;
      }
    }
  }

  /** A connection, or an attempt to make one, has ended. */
  released(endpoint: Endpoint): void {
    endpoint.connections--;
    this.connections--;
    const next = this.connections < this.settings.maxConnections ? this.queue.shift() : undefined;
    if (next !== undefined) next.moved = this.lease(next.endpoint, next.waiter);
  }

  dequeue(queued: Queued): void {
    const at = this.queue.indexOf(queued);
    if (at >= 0) this.queue.splice(at, 1);
  }

  /** A dial has found out what the far side speaks. */
  established(endpoint: Endpoint, lane: Lane, transport: Transport, peer: MeshPeer | null): H1Connection | null {
    const principal = peer === null ? '' : peer.spiffeId;
    if (!this.isH2(endpoint, lane, peer)) {
      endpoint.learned[lane] = 'h1';
      return new H1Connection(this.io, endpoint, this, transport, principal);
    }
    endpoint.learned[lane] = 'h2';
    endpoint.links.push(new H2Link(this.io, endpoint, this, transport, principal, peer?.alpn === SHARED_ALPN));
    return null;
  }

  private mayRideH1({ endpoint, waiter }: Queued): boolean {
    return takesH1(this.speaks(endpoint, waiter.lane), waiter.lane);
  }

  private speaks(endpoint: Endpoint, lane: Lane): Lane | 'unknown' {
    return endpoint.meshTls || this.settings.negotiates ? endpoint.learned[lane] : this.plainProtocol(lane);
  }

  /** May a request go by an HTTP/2 link that is not weft's own, which any request may? */
  private mayShare(endpoint: Endpoint, lane: Lane): boolean {
    return lane === 'h2' || this.speaks(endpoint, lane) === 'h2';
  }

  private plainProtocol(lane: Lane): Lane {
    const { protocol } = this.settings;
    if (protocol === 'http2' || protocol === 'grpc') return 'h2';
    return protocol === 'http' ? 'h1' : lane;
  }

  /** CONTRACT, "Between sidecars": `istio` or nothing selected means the request's own protocol. */
  private isH2(endpoint: Endpoint, lane: Lane, peer: MeshPeer | null): boolean {
    if (peer === null) return this.plainProtocol(lane) === 'h2';
    if (peer.alpn === SHARED_ALPN || peer.alpn === 'h2') return true;
    if (!endpoint.meshTls) return peer.alpn === '' && this.plainProtocol(lane) === 'h2';
    return lane === 'h2' && (peer.alpn === '' || peer.alpn === 'istio');
  }

  private dialOrWait(endpoint: Endpoint, waiter: StreamWaiter): Waiting | null {
    if (this.connections >= this.settings.maxConnections) {
      const queued = this.enqueue(endpoint, waiter);
      if (queued !== null) this.closeOneIdle();
      return queued;
    }
    const dialing = this.dial(endpoint, waiter.lane);
    if (dialing instanceof Dialing) return dialing.join(waiter);
    waiter.onNoStream(dialing.failure, dialing.detail, true);
    return null;
  }

  /** A request that waits is worth more than a connection that idles at another endpoint; its place goes to the queue. */
  private closeOneIdle(): void {
    for (const { idle } of this.endpoints.values()) {
      const [oldest] = idle;
      if (oldest === undefined) continue;
      oldest.close();
      return;
    }
  }

  private enqueue(endpoint: Endpoint, waiter: StreamWaiter): Waiting | null {
    if (this.queue.length >= this.settings.maxPending) {
      waiter.onNoStream(FAILURES.pendingLimit, `${this.queue.length} requests wait already`, true);
      return null;
    }
    const queued = new Queued(this, endpoint, waiter);
    this.queue.push(queued);
    return queued;
  }

  /** One more link for later requests; nobody waits for it. */
  private grow(endpoint: Endpoint, lane: Lane): void {
    if (endpoint.links.length >= MAX_LINKS || endpoint.dialing[lane] !== null) return;
    if (this.connections < this.settings.maxConnections) this.dial(endpoint, lane);
  }

  private dial(endpoint: Endpoint, lane: Lane): Dialing | Refusal {
    if (this.io.isOwnOutbound(endpoint.address, endpoint.port)) {
      return { failure: FAILURES.loopDetected, detail: `${endpoint.key} is the own outbound listener` };
    }
    const secure = this.secures.secureDial(endpoint, lane);
    if (secure !== null && 'failure' in secure) return secure;
    this.connections++;
    endpoint.connections++;
    const dialing = new Dialing(this, endpoint, lane, secure);
    if (this.speaks(endpoint, lane) !== 'h1') endpoint.dialing[lane] = dialing;
    return dialing;
  }
}

const SHARED_ALPN = 'istio-h2';

/** Until it is known otherwise, a request of HTTP/2 does not go by a connection that was made for one of HTTP/1.1. */
function takesH1(speaks: Lane | 'unknown', lane: Lane): boolean {
  return speaks === 'h1' || (speaks === 'unknown' && lane === 'h1');
}

function isBusy(link: H2Link): boolean {
  return link.congested || link.load >= BUSY_LINK;
}

/** The link with the fewest streams, one that is not congested if there is any; `any`: not only one of weft's own. */
function bestLink(endpoint: Endpoint, any: boolean): H2Link | null {
  const { links } = endpoint;
  let best: H2Link | null = null;
  for (let i = 0; i < links.length; i++) {
    const link = links[i] as H2Link;
    if (link.room <= 0 || !(any || link.shared)) continue;
    if (best === null || (best.congested && !link.congested)) best = link;
    else if (link.congested === best.congested && link.load < best.load) best = link;
  }
  return best;
}

/** One dial and the requests that wait for it. */
export class Dialing implements DialListener {
  private readonly pool: Pool;
  private readonly endpoint: Endpoint;
  private readonly lane: Lane;
  private readonly generation: number;
  private readonly dial: Dial;
  private readonly waiters: Joined[] = [];

  constructor(pool: Pool, endpoint: Endpoint, lane: Lane, secure: SecureDial | null) {
    this.pool = pool;
    this.endpoint = endpoint;
    this.lane = lane;
    this.generation = endpoint.generation;
    const { connectTimeoutMs, localAddress } = pool.settings;
    this.dial = new Dial(pool.io, endpoint, secure, connectTimeoutMs, this, localAddress);
  }

  join(waiter: StreamWaiter): Waiting {
    const joined = new Joined(this, waiter);
    this.waiters.push(joined);
    return joined;
  }

  leave(joined: Joined): void {
    const at = this.waiters.indexOf(joined);
    if (at < 0) return;
    this.waiters.splice(at, 1);
    if (this.waiters.length > 0) return;
    this.finish();
    this.dial.cancel();
    this.pool.released(this.endpoint);
  }

  onConnected(transport: Transport, peer: MeshPeer | null): void {
    const { pool, endpoint } = this;
    if (this.generation !== endpoint.generation) {
      transport.destroy();
      this.onDialFailed(FAILURES.connectFailed, 'policy about its TLS changed while it was dialled');
      return;
    }
    this.finish();
    const connection = pool.established(endpoint, this.lane, transport, peer);
    const waiters = this.waiters.splice(0);
    if (connection !== null) {
      const first = waiters.shift()?.waiter;
      if (first === undefined) pool.onIdle(connection);
      else this.serve(connection, first);
    }
    for (const joined of waiters) joined.moved = pool.lease(endpoint, joined.waiter);
  }

  onDialFailed(failure: Failure, detail: string): void {
    this.finish();
    const waiters = this.waiters.splice(0);
    this.pool.released(this.endpoint);
    for (const [i, { waiter }] of waiters.entries()) waiter.onNoStream(failure, detail, i === 0);
  }

  private serve(connection: H1Connection, waiter: StreamWaiter): void {
    const stream = connection.lease(waiter);
    if (stream === null) waiter.onNoStream(FAILURES.connectFailed, 'closed at once', true);
    else waiter.onStream(stream);
  }

  private finish(): void {
    const { dialing } = this.endpoint;
    if (dialing[this.lane] === this) dialing[this.lane] = null;
  }
}

/** A request that waits for a dial. */
class Joined implements Waiting {
  readonly waiter: StreamWaiter;
  /** Where it waits now, after the dial was done. */
  moved: Waiting | null = null;
  private readonly dialing: Dialing;

  constructor(dialing: Dialing, waiter: StreamWaiter) {
    this.dialing = dialing;
    this.waiter = waiter;
  }

  cancel(): void {
    if (this.moved === null) this.dialing.leave(this);
    else this.moved.cancel();
  }
}

/** A place in the queue for a connection or a stream. */
class Queued implements Waiting {
  readonly endpoint: Endpoint;
  readonly waiter: StreamWaiter;
  moved: Waiting | null = null;
  private readonly pool: Pool;

  constructor(pool: Pool, endpoint: Endpoint, waiter: StreamWaiter) {
    this.pool = pool;
    this.endpoint = endpoint;
    this.waiter = waiter;
  }

  cancel(): void {
    if (this.moved === null) this.pool.dequeue(this);
    else this.moved.cancel();
  }
}
