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

const NONE: ReadonlySet<string> = new Set();

export class Clusters {
  private readonly io: IoThread;
  private readonly share: ThreadShare;
  private readonly events: ClusterEvents;
  private readonly named = new Map<string, Cluster>();
  private readonly strangers = new Map<string, Cluster>();
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
    }
    return cluster;
  }

  /** A cluster that no snapshot brings or takes: the own application. */
  keep(spec: ClusterSpec): Cluster {
    const cluster = new Cluster(this.io, spec, this.share, this.events);
    this.kept.push(cluster);
    return cluster;
  }

  /** The snapshot with exactly these clusters is in force now. */
  update(specs: readonly ClusterSpec[]): void {
    const wanted = new Set<string>();
    for (const spec of specs) {
      wanted.add(spec.key);
      const cluster = this.open(spec);
      cluster.update(spec);
      this.tellHealth(cluster);
    }
    for (const [key, cluster] of this.named) {
      if (wanted.has(key)) continue;
      this.named.delete(key);
      cluster.retire();
    }
  }

  /** What active checks say: clusters that are not named are in full health. */
  useHealth(unhealthy: UnhealthyEndpoints): void {
    this.unhealthy = new Map(Object.entries(unhealthy).map(([key, endpoints]) => [key, new Set(endpoints)]));
    for (const cluster of this.named.values()) this.tellHealth(cluster);
  }

  /** A destination that no policy knows. */
  stranger(key: string, make: () => ClusterSpec): Cluster {
    let cluster = this.strangers.get(key);
    if (cluster !== undefined) {
      this.strangers.delete(key);
    } else {
      cluster = new Cluster(this.io, make(), this.share, this.events);
      if (this.strangers.size >= MAX_STRANGERS) this.evict();
    }
    this.strangers.set(key, cluster);
    return cluster;
  }

  *[Symbol.iterator](): IterableIterator<Cluster> {
    yield* this.kept;
    yield* this.named.values();
    yield* this.strangers.values();
  }

  private tellHealth(cluster: Cluster): void {
    cluster.useHealth(this.unhealthy.get(cluster.key) ?? NONE);
  }

  private evict(): void {
    const oldest = this.strangers.entries().next().value;
    if (oldest === undefined) return;
    this.strangers.delete(oldest[0]);
    oldest[1].retire();
  }
}
