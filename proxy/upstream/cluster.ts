/**
 * One Service port as this data thread calls it: endpoints, picker, connections, limits, budget, breaker.
 *
 * It outlives snapshots under its key; `update` brings it in line with a new one. An exchange asks it for admission
 * once, then for a stream per attempt.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Timer } from '../../shared/clock.ts';
import { FAILURES } from '../../shared/errors.ts';
import type { IoThread } from '../net/io-thread.ts';
import { AdaptiveConcurrency } from './adaptive-concurrency.ts';
import { BackendTls, backendAlpn } from './backend-tls.ts';
import { PeakLatency } from './balance/peak-ewma.ts';
import { Breaker, type BreakerChange } from './breaker.ts';
import { BreakerErrors } from './breaker-errors.ts';
import { choose, nobody } from './choice.ts';
import { Endpoint, endpointKey } from './endpoint.ts';
import type { LiveP95 } from './latency-histogram.ts';
import { Slots, shareOf } from './limits.ts';
import { MeshDial } from './mesh-dial.ts';
import { type EndpointOutcome, type OutlierChange, OutlierDetector } from './outlier.ts';
import type { Picker } from './picker.ts';
import { type Lane, Pool } from './pool.ts';
import { RequestHash } from './request-hash.ts';
import { RetryBudget } from './retry-budget.ts';
import type { Refusal, SecureDial } from './secure-dial.ts';
import type { AppProtocol, CircuitBreakerSpec, ClusterSpec } from './spec.ts';

/** What an HTTP request between sidecars offers, and what opaque bytes offer (CONTRACT, "Between sidecars"). */
export const HTTP_ALPN: Readonly<Record<Lane, readonly string[]>> = {
  h1: ['istio-h2', 'istio-http/1.1', 'istio', 'http/1.1'],
  h2: ['istio-h2', 'istio', 'h2'],
};
const OPAQUE_ALPN: readonly string[] = ['istio'];
const NO_ALPN: readonly string[] = [];

/** Which of how many data threads this is (from 0): limits of the whole sidecar are divided by it. And where it runs. */
export interface ThreadShare {
  readonly thread: number;
  readonly threads: number;
  /** Empty, or left out, if unknown. */
  readonly zone?: string;
}

/** Changes that an operator wants to read of, with the numbers that caused them. */
export interface ClusterEvents {
  onBreaker(cluster: Cluster, change: BreakerChange): void;
  onEjection(cluster: Cluster, change: OutlierChange): void;
}

export class Cluster {
  readonly key: string;
  readonly pool: Pool;
  readonly requests: Slots;
  readonly retries: Slots;
  readonly budget: RetryBudget;
  spec: ClusterSpec;
  /** null while no error rate is configured: the request path then touches nothing. */
  breaker: Breaker | null = null;
  /** null while `maxParallelRequests` alone bounds the requests at a time. */
  concurrency: AdaptiveConcurrency | null = null;
  /** null until somebody hedges by it. */
  p95: LiveP95 | null = null;
  readonly endpoints: Map<string, Endpoint> = new Map<string, Endpoint>();
  /** Attempts after the first, since it was made. */
  retried = 0;
  /** How equal requests find the same endpoint; null where none need to. */
  hash: RequestHash | null = null;
  /** What the breaker takes for an error. */
  breakerErrors: BreakerErrors;
  private backendTls: BackendTls | null;
  private readonly outlier: OutlierDetector;
  private picker: Picker<Endpoint>;
  /** While somebody warms up. */
  private renewal: Timer | null = null;
  private readonly io: IoThread;
  private readonly share: ThreadShare;
  private readonly events: ClusterEvents;

  constructor(io: IoThread, spec: ClusterSpec, share: ThreadShare, events: ClusterEvents, localAddress?: string) {
    const limits = spec.circuitBreaker;
    this.io = io;
    this.key = spec.key;
    this.spec = spec;
    this.share = share;
    this.events = events;
    this.outlier = new OutlierDetector(io.clock, spec.outlier, (change) => this.ejection(change));
    this.requests = new Slots(this.shareOf(limits.maxParallelRequests));
    this.retries = new Slots(this.shareOf(limits.maxParallelRetries));
    this.budget = new RetryBudget(io.clock, budgetOf(limits, share));
    this.backendTls = backendTlsOf(spec, io);
    this.pool = new Pool(io, { ...this.poolLimits(spec), localAddress }, this, this.endpoints);
    this.breakerErrors = new BreakerErrors(limits.errorKinds, limits.slowCallMs);
    this.picker = nobody(io.random);
    this.update(spec);
  }

  /** Takes over what a new snapshot says; endpoints that stay keep their state, those that go close when idle. */
  update(spec: ClusterSpec): void {
    const limits = spec.circuitBreaker;
    const now = this.io.clock.now();
    const otherTls = !isDeepStrictEqual(spec.backendTls, this.spec.backendTls);
    if (otherTls) this.backendTls = backendTlsOf(spec, this.io);
    this.spec = spec;
    this.requests.limit = this.shareOf(limits.maxParallelRequests);
    this.retries.limit = this.shareOf(limits.maxParallelRetries);
    this.budget.update(budgetOf(limits, this.share));
    Object.assign(this.pool.settings, this.poolLimits(spec));
    this.updateBreaker(limits);
    this.updateConcurrency(limits);
    this.outlier.settings = spec.outlier;
    this.hash = spec.loadBalancer.hashOn === null ? null : new RequestHash(spec.loadBalancer.hashOn, this.io.random);
    for (const endpoint of this.endpoints.values()) endpoint.wanted = false;
    for (const endpointSpec of spec.endpoints) {
      const known = this.endpoints.get(endpointKey(endpointSpec));
      if (known === undefined) {
        this.endpoints.set(endpointKey(endpointSpec), new Endpoint(endpointSpec, now));
      } else {
        if (otherTls || known.meshTls !== endpointSpec.meshTls) known.forgetConnections();
        known.update(endpointSpec, now);
      }
      this.outlier.add(endpointKey(endpointSpec));
    }
    for (const [key, endpoint] of this.endpoints) {
      if (endpoint.wanted) continue;
      this.endpoints.delete(key);
      this.outlier.remove(key);
      endpoint.closeIdle();
    }
    this.renewPicker();
  }

  /**
   * The endpoint for the next attempt: none of `tried` while another is there; null if none is available. `hash` keeps
   * equal requests together where the balancer does that.
   */
  pick(tried: readonly Endpoint[] | null, hash = 0): Endpoint | null {
    const endpoint = this.picker.pick(tried, hash);
    if (tried === null || (endpoint !== null && !tried.includes(endpoint))) return endpoint;
    return this.lastResort(tried) ?? endpoint;
  }

  /** What active checks found out of these endpoints (by key); others are taken to be well. */
  useHealth(unhealthy: ReadonlySet<string>): void {
    let changed = false;
    for (const [key, endpoint] of this.endpoints) {
      const healthy = !unhealthy.has(key);
      if (healthy === endpoint.healthy) continue;
      endpoint.healthy = healthy;
      if (healthy) endpoint.upSince = this.io.clock.now();
      changed = true;
    }
    if (changed) this.renewPicker();
  }

  /** How an attempt at an endpoint ended, for its ejection. */
  record(endpoint: Endpoint, outcome: EndpointOutcome): void {
    this.outlier.record(endpoint.key, outcome);
  }

  /** How to speak TLS with an endpoint right now, for a request or for opaque bytes; null: not at all. */
  secureDial(endpoint: Endpoint, use: Lane | 'opaque'): SecureDial | Refusal | null {
    if (endpoint.meshTls) {
      const { mesh, trust } = this.io;
      if (mesh === null) return { failure: FAILURES.notReady, detail: 'there is no certificate to call with' };
      return new MeshDial(mesh, this.spec, use === 'opaque' ? OPAQUE_ALPN : HTTP_ALPN[use], trust);
    }
    if (this.backendTls === null) return null;
    return this.backendTls.dial(use === 'opaque' ? NO_ALPN : backendAlpn(this.spec.protocol, use));
  }

  /** No snapshot names it any more. */
  retire(): void {
    for (const endpoint of this.endpoints.values()) {
      endpoint.wanted = false;
      endpoint.closeIdle();
    }
    this.breaker?.close();
    this.outlier.close();
    this.renewal?.cancel();
  }

  /** When all that should serve have been tried: one that was ejected may be back already. */
  private lastResort(tried: readonly Endpoint[]): Endpoint | null {
    for (const endpoint of this.endpoints.values()) if (endpoint.ready && !tried.includes(endpoint)) return endpoint;
    return null;
  }

  private renewPicker(): void {
    const { io, spec } = this;
    const { loadBalancer } = spec;
    const endpoints = [...this.endpoints.values()];
    this.renewal?.cancel();
    const measured = loadBalancer.type === 'PeakEWMA';
    for (const endpoint of endpoints)
      endpoint.latency = measured ? (endpoint.latency ?? new PeakLatency(io.clock)) : null;
    const choice = choose(loadBalancer, endpoints, this.share.zone ?? '', io.clock.now(), io.random);
    this.picker = choice.picker;
    this.renewal = choice.renewInMs === 0 ? null : io.clock.after(choice.renewInMs, () => this.renewPicker());
  }

  private ejection(change: OutlierChange): void {
    const endpoint = this.endpoints.get(change.key);
    if (endpoint === undefined) return;
    endpoint.state = change.to;
    if (change.to === 'probing') endpoint.upSince = this.io.clock.now();
    this.renewPicker();
    this.events.onEjection(this, change);
  }

  private updateBreaker(limits: CircuitBreakerSpec): void {
    this.breakerErrors = new BreakerErrors(limits.errorKinds, limits.slowCallMs);
    if (this.breaker?.fits(limits) === true) return;
    this.breaker?.close();
    this.breaker =
      limits.errorRatePercent === 0
        ? null
        : new Breaker(this.key, limits, (change) => this.events.onBreaker(this, change), this.io.clock);
  }

  /** What it has learned outlives a change of its settings. */
  private updateConcurrency({ adaptiveConcurrency: spec }: CircuitBreakerSpec): void {
    if (spec === null) {
      this.concurrency = null;
      return;
    }
    const settings = { ...spec, minLimit: this.shareOf(spec.minLimit), maxLimit: this.shareOf(spec.maxLimit) };
    if (this.concurrency === null) this.concurrency = new AdaptiveConcurrency(this.io.clock, settings);
    else this.concurrency.settings = settings;
  }

  private poolLimits(spec: ClusterSpec): {
    maxConnections: number;
    maxPending: number;
    maxRequestsPerConnection: number;
    connectTimeoutMs: number;
    idleMs: number;
    maxConnectionAgeMs: number;
    protocol: AppProtocol;
    negotiates: boolean;
  } {
    const limits = spec.circuitBreaker;
    return {
      maxConnections: this.shareOf(limits.maxConnections),
      maxPending: this.shareOf(limits.maxPendingRequests),
      maxRequestsPerConnection: limits.maxRequestsPerConnection,
      connectTimeoutMs: spec.connectTimeoutMs,
      idleMs: spec.connectionIdleMs,
      maxConnectionAgeMs: spec.maxConnectionAgeMs,
      protocol: spec.protocol,
      negotiates: spec.backendTls !== null,
    };
  }

  private shareOf(limit: number): number {
    return shareOf(limit, this.share.thread, this.share.threads);
  }
}

function backendTlsOf({ backendTls }: ClusterSpec, io: IoThread): BackendTls | null {
  return backendTls === null ? null : new BackendTls(backendTls, io.clock);
}

function budgetOf(limits: CircuitBreakerSpec, share: ThreadShare): { percent: number; minPerSecond: number } {
  return { percent: limits.retryBudgetPercent, minPerSecond: limits.retryBudgetMinPerSecond / share.threads };
}
