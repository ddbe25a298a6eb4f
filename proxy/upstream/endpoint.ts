/**
 * One address that serves a cluster, and what this data thread remembers of it: its load, its idle connections, its
 * last TLS ticket. Kept by address across snapshots, so that a reload forgets nothing.
 */
import { isIP } from 'node:net';
import { hash32 } from './balance/hash.ts';
import type { PeakLatency } from './balance/peak-ewma.ts';
import type { H1Connection } from './h1-connection.ts';
import type { H2Link } from './h2-link.ts';
import type { EndpointState } from './outlier.ts';
import type { Dialing, Lane } from './pool.ts';
import type { EndpointSpec } from './spec.ts';

/** A pooled connection is not used after this long without a request: below what servers commonly allow (5 s). */
export const POOL_IDLE_MS = 3_000;
/** Never trust an idle connection for less than this. */
const MIN_POOL_IDLE_MS = 100;
/** The share of an observed or announced idle time after which a connection is given up before the far side does. */
const SAFE_SHARE = 0.8;

/** Two hashes of 32 bits: endpoints of one cluster do not meet by chance. */
const SESSION_SEEDS = [0x5e55, 0x10b5];

/** A TLS session and what was verified when it was made: resumption verifies nothing by itself. */
export interface SessionTicket {
  readonly ticket: Buffer;
  readonly spiffeId: string;
  readonly bundleHash: string;
  /** Of the own certificate that the far side then saw, and goes on judging us by. */
  readonly ownFingerprint: string;
  readonly notAfter: number;
}

export class Endpoint {
  readonly address: string;
  readonly port: number;
  /** `address:port`, IPv6 in brackets. */
  readonly key: string;
  /** As policy says; `weight` is the share of the moment, which slow start lets grow up to it. */
  declaredWeight: number;
  weight: number;
  zone: string;
  meshTls: boolean;
  ready: boolean;
  state: EndpointState = 'admitting';
  /** What active checks say; true where nobody checks. */
  healthy = true;
  /** Monotonic time at which it came, or came back. */
  upSince: number;
  /** null unless the balancer asks how slow it is. */
  latency: PeakLatency | null = null;
  /** False once no snapshot names it: its connections close when they fall idle. */
  wanted = true;
  /** Requests under way. */
  active = 0;
  connections = 0;
  requests = 0;
  failures = 0;
  /** Last used at the end: it is the most likely to be still alive. */
  readonly idle: H1Connection[] = [];
  /** HTTP/2 connections that take new streams. */
  readonly links: H2Link[] = [];
  /** Streams that one of them takes, as the far side said last. */
  linkStreams: number = Number.POSITIVE_INFINITY;
  /** What meshed connections turned out to speak, by what the caller speaks. */
  readonly learned: Record<Lane, Lane | 'unknown'> = { h1: 'unknown', h2: 'unknown' };
  /** A dial that others may wait for. */
  readonly dialing: Record<Lane, Dialing | null> = { h1: null, h2: null };
  ticket: SessionTicket | null = null;
  /** A connection that was made under another one is not used again. */
  generation = 0;
  idleMs: number = POOL_IDLE_MS;
  private cookieId: string | null = null;

  /** `now` is monotonic time: slow start counts from it. */
  constructor(spec: EndpointSpec, now = 0) {
    this.address = spec.address;
    this.port = spec.port;
    this.key = endpointKey(spec);
    this.declaredWeight = spec.weight;
    this.weight = spec.weight;
    this.zone = spec.zone;
    this.meshTls = spec.meshTls;
    this.ready = spec.ready;
    this.upSince = now;
  }

  /** Ready by policy, not ejected, and well by the checks. */
  get available(): boolean {
    return this.ready && this.healthy && this.state !== 'ejected';
  }

  update(spec: EndpointSpec, now = 0): void {
    if (spec.ready && !this.ready) this.upSince = now;
    this.declaredWeight = spec.weight;
    this.weight = spec.weight;
    this.zone = spec.zone;
    this.meshTls = spec.meshTls;
    this.ready = spec.ready;
    this.wanted = true;
  }

  /** What a session cookie calls it. */
  get sessionId(): string {
    this.cookieId ??= SESSION_SEEDS.map((seed) => hash32(this.key, seed).toString(36)).join('');
    return this.cookieId;
  }

  /** The far side announced (`Keep-Alive: timeout=`) or showed how long it keeps idle connections. */
  learnIdle(ms: number): void {
    this.idleMs = Math.min(this.idleMs, Math.max(MIN_POOL_IDLE_MS, Math.floor(ms * SAFE_SHARE)));
  }

  /** It is to be called in another way from now on: what was learned by the old one, and its connections, are of no use. */
  forgetConnections(): void {
    this.generation++;
    this.ticket = null;
    this.linkStreams = Number.POSITIVE_INFINITY;
    this.learned.h1 = 'unknown';
    this.learned.h2 = 'unknown';
    this.closeIdle();
  }

  closeIdle(): void {
    for (const connection of this.idle.splice(0)) connection.close();
    for (const link of this.links.splice(0)) link.goAway();
  }
}

export function endpointKey(spec: { readonly address: string; readonly port: number }): string {
  return isIP(spec.address) === 6 ? `[${spec.address}]:${spec.port}` : `${spec.address}:${spec.port}`;
}
