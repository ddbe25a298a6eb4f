/**
 * Brings snapshots into force, one at a time and the newest first: one that comes while another is on its way waits, one
 * that waits when a newer one comes is never begun. Names that policy gives as endpoints are filled in with their
 * addresses, again when those change.
 */
import { isIP } from 'node:net';
import type { Clock } from '../shared/clock.ts';
import type { ClusterSpec, EndpointSpec, Snapshot } from './config/snapshot.ts';
import type { Applied } from './data-thread.ts';
import { type AskName, Names } from './upstream/names.ts';

export interface RolloutEvents {
  /** `snapshot` is in force; `isNew`: not only addresses have changed. */
  onApplied(snapshot: Snapshot, isNew: boolean, longestTurnMs: number): void;
  /** No thread uses it; the last one stays. */
  onRefused(snapshot: Snapshot, error: string): void;
}

export class Rollout {
  private readonly applyTo: (snapshot: Snapshot) => Promise<Applied>;
  private readonly names: Names;
  private readonly events: RolloutEvents;
  /** As compiled. */
  private inForce: Snapshot | null = null;
  private next: Snapshot | null = null;
  private applying = false;
  /** Since what is on its way was begun. */
  private haveAddressesChanged = false;

  constructor(
    applyTo: (snapshot: Snapshot) => Promise<Applied>,
    clock: Clock,
    askName: AskName,
    events: RolloutEvents,
  ) {
    this.applyTo = applyTo;
    this.names = new Names(clock, askName, () => this.addressesChanged());
    this.events = events;
  }

  /** Resolves when nothing waits any more. */
  async apply(snapshot: Snapshot): Promise<void> {
    this.next = snapshot;
    if (this.applying) return;
    this.applying = true;
    for (let compiled = this.takeNext(); compiled !== null; compiled = this.takeNext()) await this.bring(compiled);
    this.applying = false;
  }

  close(): void {
    this.names.close();
  }

  /** What waits, else what came into force with addresses that have changed on its way; null: nothing is to be done. */
  private takeNext(): Snapshot | null {
    const next = this.next ?? (this.haveAddressesChanged ? this.inForce : null);
    this.next = null;
    this.haveAddressesChanged = false;
    return next;
  }

  private async bring(compiled: Snapshot): Promise<void> {
    const snapshot = withAddresses(compiled, this.names);
    const { error, longestTurnMs } = await this.applyTo(snapshot);
    if (error !== null) {
      this.events.onRefused(compiled, error);
      return;
    }
    const isNew = compiled !== this.inForce;
    this.inForce = compiled;
    this.names.watch(namesIn(compiled));
    this.events.onApplied(snapshot, isNew, longestTurnMs);
  }

  /** What is on its way may be newer than what is in force: only when it has come is it known to whom they belong. */
  private addressesChanged(): void {
    if (this.applying) this.haveAddressesChanged = true;
    else if (this.inForce !== null) void this.apply(this.inForce);
  }
}

function namesIn({ clusters }: Snapshot): Set<string> {
  const names = clusters.flatMap(({ endpoints }) => endpoints.filter(isNamed).map(({ address }) => address));
  return new Set(names);
}

/** A name of which nothing is known stays: a data thread that dials it asks the host itself. */
function withAddresses(snapshot: Snapshot, names: Names): Snapshot {
  const resolved = (endpoint: EndpointSpec): EndpointSpec[] => {
    const addresses = isNamed(endpoint) ? names.addressesOf(endpoint.address) : [];
    return addresses.length === 0 ? [endpoint] : addresses.map((address) => ({ ...endpoint, address, resolved: true }));
  };
  const fill = (cluster: ClusterSpec): ClusterSpec =>
    cluster.endpoints.some(isNamed) ? { ...cluster, endpoints: cluster.endpoints.flatMap(resolved) } : cluster;
  return { ...snapshot, clusters: snapshot.clusters.map(fill) };
}

function isNamed({ address }: EndpointSpec): boolean {
  return isIP(address) === 0;
}
