/**
 * All clusters of a data thread by key: the memory that outlives snapshots. A snapshot's clusters are created when it is
 * linked and brought up to date when it is swapped in; strangers' destinations (ALLOW_ANY) come and go by use.
 */

import type { IoThread } from '../net/io-thread.ts';
import { Cluster, type ClusterEvents, type ThreadShare } from './cluster.ts';
import type { UnhealthyEndpoints } from './health.ts';
import type { ClusterSpec } from './spec.ts';

/** Unknown hosts that keep connections at the same time; the one unused for longest makes room. */
export const MAX_STRANGERS = 1024;
/** Ports of the own application; a caller that tries them all must not fill the memory. */
export const MAX_DELIVERIES = 256;

const NONE: ReadonlySet<string> = new Set();

export class Clusters {
  private readonly io: IoThread;
  private readonly share: ThreadShare;
  private readonly events: ClusterEvents;
  private readonly named = new Map<string, Cluster>();
  private readonly strangers = new Map<string, Cluster>();
  private readonly deliveries = new Map<string, Cluster>();
  private readonly kept: Cluster[] = [];
  private unhealthy: ReadonlyMap<string, ReadonlySet<string>> = new Map();

  constructor(io: IoThread, share: ThreadShare, events: ClusterEvents) {
    this.io = io;
    this.share = share;
    this.events = events;
  }

  /** The cluster of this key, made if it is new; one that exists is left as it is until `update`. */
  open(spec: ClusterSpec): Cluster {
    let cluster = this.named.get(spec.key);
    if (cluster === undefined) {
      cluster = new Cluster(this.io, spec, this.share, this.events);
      this.named.set(spec.key, cluster);
      this.tellHealth(cluster);
    }
    return cluster;
  }

  /** A cluster that no snapshot brings or takes: the own application. */
  keep(spec: ClusterSpec): Cluster {
    const cluster = new Cluster(this.io, spec, this.share, this.events);
    this.kept.push(cluster);
    return cluster;
  }

  /** Brings the clusters of a snapshot up to date, one a step; a spec that is the same object again changes nothing. */
  *updating(specs: readonly ClusterSpec[]): Generator<void, void> {
    for (const spec of specs) {
      const cluster = this.open(spec);
      if (cluster.spec === spec) continue;
      cluster.update(spec);
      this.tellHealth(cluster);
      yield;
    }
  }

  /** Ends those that a snapshot with exactly these clusters, in force by now, does not name. */
  *retiring(specs: readonly ClusterSpec[]): Generator<void, void> {
    const wanted = new Set(specs.map(({ key }) => key));
    for (const [key, cluster] of this.named) {
      if (wanted.has(key)) continue;
      this.named.delete(key);
      cluster.retire();
      yield;
    }
  }

  /** Both at once: exactly these clusters are in force. */
  update(specs: readonly ClusterSpec[]): void {
    for (const _step of this.updating(specs));
    for (const _step of this.retiring(specs));
  }

  /** What active checks say: clusters that are not named are in full health. */
  useHealth(unhealthy: UnhealthyEndpoints): void {
    this.unhealthy = new Map(Object.entries(unhealthy).map(([key, endpoints]) => [key, new Set(endpoints)]));
    for (const cluster of this.named.values()) this.tellHealth(cluster);
  }

  /** A destination that no policy knows as a cluster: a stranger, or one endpoint by its own address. */
  stranger(key: string, make: () => ClusterSpec): Cluster {
    const known = touched(this.strangers, key);
    if (known !== undefined) return known;
    return admit(this.strangers, MAX_STRANGERS, key, new Cluster(this.io, make(), this.share, this.events));
  }

  /** A port of the own application, dialled from this address. */
  delivery(key: string, make: () => ClusterSpec, localAddress: string): Cluster {
    const known = touched(this.deliveries, key);
    if (known !== undefined) return known;
    const cluster = new Cluster(this.io, make(), this.share, this.events, localAddress);
    return admit(this.deliveries, MAX_DELIVERIES, key, cluster);
  }

  /** Those that a snapshot names: a bounded set of labels. */
  declared(): IterableIterator<Cluster> {
    return this.named.values();
  }

  *[Symbol.iterator](): IterableIterator<Cluster> {
    yield* this.kept;
    yield* this.named.values();
    yield* this.strangers.values();
    yield* this.deliveries.values();
  }

  private tellHealth(cluster: Cluster): void {
    cluster.useHealth(this.unhealthy.get(cluster.key) ?? NONE);
  }
}

/** Moves it to the end: the first of the map is the one unused for longest. */
function touched(clusters: Map<string, Cluster>, key: string): Cluster | undefined {
  const cluster = clusters.get(key);
  if (cluster === undefined) return undefined;
  clusters.delete(key);
  clusters.set(key, cluster);
  return cluster;
}

function admit(clusters: Map<string, Cluster>, most: number, key: string, cluster: Cluster): Cluster {
  const oldest = clusters.size < most ? undefined : clusters.entries().next().value;
  if (oldest !== undefined) {
    clusters.delete(oldest[0]);
    oldest[1].retire();
  }
  clusters.set(key, cluster);
  return cluster;
}
