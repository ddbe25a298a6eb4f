/**
 * One connection to a cluster for opaque bytes: an endpoint is picked and dialled, another one if that fails. Until
 * somebody takes it, what the upstream says is kept, so that it can be dialled before it is known what the caller speaks.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Destination } from '../config/link.ts';
import type { IoThread } from '../net/io-thread.ts';
import type { MeshPeer } from '../net/mesh-tls.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import { Dial, type DialListener } from '../upstream/dial.ts';
import type { Endpoint } from '../upstream/endpoint.ts';

/** Of an upstream that speaks before anybody listens; then it is stopped. A greeting has a hundred. */
const MAX_WORDS_BYTES = 16_384;

export interface OpaqueDialEvents {
  onConnected(): void;
  /** Every endpoint failed, or none could be tried; nothing is left to cancel. */
  onRefused(failure: Failure, detail: string): void;
  /** The upstream has said this much in all, and nobody has taken it. */
  onWords?(words: Buffer): void;
  /** The upstream has ended, or is gone, and nobody has taken it. */
  onUpstreamEnd?(): void;
}

const NOTHING = Buffer.alloc(0);
/** Before anybody waits for it, and after `cancel`. */
const NOBODY: OpaqueDialEvents = { onConnected() {}, onRefused() {} };

/** Whoever makes one starts it, and ends it with `cancel`, or with `release` after `take`. */
export class OpaqueDial implements DialListener, TransportOwner {
  readonly target: Destination;
  /** The application speaks TLS with the endpoint itself. */
  passesTls = false;
  events: OpaqueDialEvents = NOBODY;
  /** null until connected. */
  upstream: Transport | null = null;
  /** Verified identity of the upstream; empty without mutual TLS. */
  principal = '';
  private readonly io: IoThread;
  private readonly sourceAddress: string;
  private readonly tried: Endpoint[] = [];
  private endpoint: Endpoint | null = null;
  private dial: Dial | null = null;
  private words: Buffer = NOTHING;
  private isStarted = false;
  private isEnded = false;
  /** How the upstream closed before it was taken. */
  private end: { readonly error: Error | null } | null = null;

  /** `sourceAddress` is the caller's: callers may be kept with an endpoint by it. */
  constructor(io: IoThread, target: Destination, sourceAddress: string) {
    this.io = io;
    this.target = target;
    this.sourceAddress = sourceAddress;
  }

  /** Does nothing where it has been started. */
  start(): void {
    if (this.isStarted) return;
    this.isStarted = true;
    this.target.cluster.budget.onRequest();
    this.attempt();
  }

  /** `address:port` of the endpoint of the moment; empty without. */
  get endpointKey(): string {
    return this.endpoint === null ? '' : this.endpoint.key;
  }

  /** The upstream has said something that nobody has taken. */
  get hasSpoken(): boolean {
    return this.words.length > 0;
  }

  /** The upstream's owner is another one now: what it has said and done so far is told to it. */
  replay(): void {
    const { upstream, words } = this;
    if (upstream === null) return;
    this.words = NOTHING;
    if (words.length > 0) upstream.owner.onBytes(words, 0, words.length);
    if (this.isEnded) upstream.owner.onEof();
    if (this.end === null) upstream.resume();
    else upstream.owner.onClosed(this.end.error);
  }

  /** Ends at once, whatever the state; no event follows. */
  cancel(): void {
    this.upstream?.destroy();
    this.drop();
  }

  /** The same where the caller was cut off: the upstream sees that. */
  abort(): void {
    this.upstream?.reset();
    this.drop();
  }

  /** Gives the endpoint's and the cluster's connection slot back. */
  release(): void {
    const { endpoint } = this;
    this.endpoint = null;
    if (endpoint === null) return;
    endpoint.active--;
    this.target.cluster.pool.released(endpoint);
  }

  onConnected(upstream: Transport, peer: MeshPeer | null): void {
    this.dial = null;
    this.upstream = upstream;
    this.principal = peer === null ? '' : peer.spiffeId;
    upstream.owner = this;
    if (this.endpoint !== null) this.target.cluster.record(this.endpoint, 'success');
    this.events.onConnected();
  }

  onDialFailed(failure: Failure, detail: string): void {
    const { endpoint, target } = this;
    this.dial = null;
    this.release();
    if (endpoint !== null) {
      endpoint.failures++;
      if (failure.fault === 'upstream') target.cluster.record(endpoint, 'localFailure');
      this.tried.push(endpoint);
    }
    if (this.tried.length <= target.cluster.spec.retries && target.cluster.budget.tryRetry()) this.attempt();
    else this.events.onRefused(failure, detail);
  }

  // The upstream, while nobody has taken it

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.words = Buffer.concat([this.words, bytes.subarray(start, end)]);
    if (this.words.length >= MAX_WORDS_BYTES) this.upstream?.pause();
    this.events.onWords?.(this.words);
  }

  onEof(): void {
    this.isEnded = true;
    this.events.onUpstreamEnd?.();
  }

  onClosed(error: Error | null): void {
    this.end = { error };
    this.events.onUpstreamEnd?.();
  }

  onCongested(): void {}

  onWritable(): void {}

  private drop(): void {
    this.events = NOBODY;
    this.dial?.cancel();
    this.dial = null;
    this.release();
  }

  private attempt(): void {
    const { io, target } = this;
    const { cluster } = target;
    const endpoint = cluster.pick(this.tried, cluster.hash?.ofConnection(this.sourceAddress));
    if (endpoint === null) {
      this.events.onRefused(FAILURES.noReadyEndpoint, `${cluster.key} has no ready endpoint`);
      return;
    }
    const { settings } = cluster.pool;
    if (cluster.pool.connections >= settings.maxConnections) {
      this.events.onRefused(FAILURES.connectionLimit, `${settings.maxConnections} connections are open`);
      return;
    }
    if (io.isOwnOutbound(endpoint.address, endpoint.port)) {
      this.events.onRefused(FAILURES.loopDetected, `${endpoint.key} is the own outbound listener`);
      return;
    }
    // Bytes that are TLS already are not wrapped in an endpoint's own TLS once more.
    const secure = this.passesTls && !endpoint.meshTls ? null : cluster.secureDial(endpoint, 'opaque');
    if (secure !== null && 'failure' in secure) {
      this.events.onRefused(secure.failure, secure.detail);
      return;
    }
    this.endpoint = endpoint;
    endpoint.active++;
    endpoint.requests++;
    endpoint.connections++;
    cluster.pool.connections++;
    this.dial = new Dial(io, endpoint, secure, settings.connectTimeoutMs, this, settings.localAddress);
  }
}
