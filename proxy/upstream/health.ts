/**
 * Active health checks, on the control thread: asks every endpoint of every cluster whose policy wants it, by the clock,
 * and says which have failed often enough in a row. Endpoints are taken to be well until then.
 *
 * Checks of one endpoint never overlap, and start at a random point of their interval: a thousand sidecars that got the
 * same policy in the same second do not ask together.
 */
import type { Clock, Timer } from '../../shared/clock.ts';
import type { Random } from '../../shared/random.ts';
import { endpointKey } from './endpoint.ts';
import type { ActiveCheckSpec, ClusterSpec, EndpointSpec } from './spec.ts';

/** Further checks come this share of the interval earlier or later. */
const JITTER = 0.1;

/** Resolves with null if the endpoint is well, else with what is wrong; never rejects, and takes no longer than its timeout. */
export type Probe = (cluster: ClusterSpec, endpoint: EndpointSpec, check: ActiveCheckSpec) => Promise<string | null>;

export interface HealthChange {
  readonly cluster: string;
  readonly endpoint: string;
  readonly healthy: boolean;
  /** Checks in a row that said so, and what the last one said. */
  readonly inRow: number;
  readonly detail: string;
}

/** Keys of the unhealthy endpoints by key of their cluster; clusters in full health are left out. */
export type UnhealthyEndpoints = Readonly<Record<string, readonly string[]>>;

export interface HealthEvents {
  /** A check has changed what is thought of an endpoint. */
  onChange(change: HealthChange): void;
  /** All that is unhealthy now, at each change: also one by policy, which takes an endpoint that failed its checks away. */
  onUnhealthy(unhealthy: UnhealthyEndpoints): void;
}

export class HealthChecks {
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly probe: Probe;
  private readonly events: HealthEvents;
  private watched = new Map<string, Watch>();

  constructor(clock: Clock, random: Random, probe: Probe, events: HealthEvents) {
    this.clock = clock;
    this.random = random;
    this.probe = probe;
    this.events = events;
  }

  get unhealthy(): UnhealthyEndpoints {
    const keys: Record<string, string[]> = {};
    for (const { healthy, cluster, key } of this.watched.values()) {
      if (!healthy) (keys[cluster.key] ??= []).push(key);
    }
    return keys;
  }

  /** A snapshot with these clusters is in force: endpoints that stay keep what is known of them. */
  update(clusters: readonly ClusterSpec[]): void {
    const next = new Map<string, Watch>();
    for (const cluster of clusters) {
      if (cluster.activeCheck === null) continue;
      for (const endpoint of cluster.endpoints) {
        if (!endpoint.ready) continue;
        const id = `${cluster.key} ${endpointKey(endpoint)}`;
        const known = this.watched.get(id);
        next.set(id, known ?? this.watch(cluster, endpoint, cluster.activeCheck));
        if (known !== undefined) this.renew(known, cluster, endpoint, cluster.activeCheck);
      }
    }
    const forgotten = [...this.watched].filter(([id]) => !next.has(id)).map(([, watch]) => watch);
    for (const watch of forgotten) watch.close();
    this.watched = next;
    // Who comes back under the same address is another one, and nobody would say that it is well.
    if (forgotten.some(({ healthy }) => !healthy)) this.events.onUnhealthy(this.unhealthy);
  }

  close(): void {
    for (const watch of this.watched.values()) watch.close();
    this.watched.clear();
  }

  private watch(cluster: ClusterSpec, endpoint: EndpointSpec, check: ActiveCheckSpec): Watch {
    const watch = new Watch(cluster, endpoint, check);
    this.schedule(watch, this.random.float() * check.intervalMs);
    return watch;
  }

  /** A new interval counts from now on; a check that is being made is the first of it. */
  private renew(watch: Watch, cluster: ClusterSpec, endpoint: EndpointSpec, check: ActiveCheckSpec): void {
    const waits = watch.timer !== null && watch.check.intervalMs !== check.intervalMs;
    watch.update(cluster, endpoint, check);
    if (!waits) return;
    watch.timer?.cancel();
    this.schedule(watch, this.random.float() * check.intervalMs);
  }

  private schedule(watch: Watch, ms: number): void {
    watch.timer = this.clock.after(ms, () => void this.ask(watch));
  }

  private async ask(watch: Watch): Promise<void> {
    watch.timer = null;
    const problem = await this.probe(watch.cluster, watch.endpoint, watch.check);
    if (watch.closed) return;
    const changed = watch.take(problem);
    const { intervalMs } = watch.check;
    this.schedule(watch, intervalMs * (1 - JITTER + 2 * JITTER * this.random.float()));
    if (!changed) return;
    const { cluster, key, healthy, inRow } = watch;
    // First, so that who reads of it can count on it.
    this.events.onUnhealthy(this.unhealthy);
    this.events.onChange({ cluster: cluster.key, endpoint: key, healthy, inRow, detail: problem ?? '' });
  }
}

/** One endpoint of one cluster. */
class Watch {
  cluster: ClusterSpec;
  endpoint: EndpointSpec;
  check: ActiveCheckSpec;
  readonly key: string;
  healthy = true;
  /** Checks in a row that said the same. */
  inRow = 0;
  closed = false;
  /** To the next check; null while one is being made. */
  timer: Timer | null = null;
  private lastWell = true;

  constructor(cluster: ClusterSpec, endpoint: EndpointSpec, check: ActiveCheckSpec) {
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.check = check;
    this.key = endpointKey(endpoint);
  }

  update(cluster: ClusterSpec, endpoint: EndpointSpec, check: ActiveCheckSpec): void {
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.check = check;
  }

  /** Notes one answer; true if it changed what is thought of the endpoint. */
  take(problem: string | null): boolean {
    const well = problem === null;
    this.inRow = well === this.lastWell ? this.inRow + 1 : 1;
    this.lastWell = well;
    const { healthyThreshold, unhealthyThreshold } = this.check;
    if (well === this.healthy || this.inRow < (well ? healthyThreshold : unhealthyThreshold)) return false;
    this.healthy = well;
    return true;
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
  }
}
