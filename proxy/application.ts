/** The own application as the inbound side calls it: where `--app` says, or at its own addresses under a redirect. */
import { formatHostPort, type HostPort } from '../shared/address.ts';
import { directCluster } from './config/direct-cluster.ts';
import { type Destination, directDestination, type LinkedSnapshot } from './config/link.ts';
import { UNKNOWN_SERVICE } from './telemetry/record.ts';
import type { Cluster } from './upstream/cluster.ts';
import type { Clusters } from './upstream/clusters.ts';
import { ANY_UPGRADE, type ClusterSpec } from './upstream/spec.ts';

/** A retry of the application makes sense once, for a pooled connection that it has just closed. */
const APP_RETRIES = 1;
/** What the application takes is its own affair: Envoy's inbound clusters have no limits either. */
const NO_LIMIT = 2 ** 31 - 1;

/** Source addresses by which the redirect tells our deliveries from other traffic (CONTRACT, "Redirected traffic"). */
const DELIVERS_FROM_IPV4 = '127.0.0.6';
const DELIVERS_FROM_IPV6 = '::6';

export class Application {
  private readonly clusters: Clusters;
  private readonly deliveries = new WeakMap<Cluster, Destination>();

  constructor(clusters: Clusters) {
    this.clusters = clusters;
  }

  /** The one place for what was not redirected; it stays for the life of the thread. */
  at(address: HostPort): Destination {
    return directDestination(this.clusters.keep(applicationSpec('app', address)), UNKNOWN_SERVICE);
  }

  /** The application at an address of this host, spoken to as its port declares. */
  deliver(original: HostPort, snapshot: LinkedSnapshot): Destination {
    const key = `app/${formatHostPort(original.host, original.port)}`;
    const from = deliversFrom(original.host);
    const cluster = this.clusters.delivery(key, () => applicationSpec(key, original), from);
    const protocol = snapshot.protocolAt(original);
    if (cluster.spec.protocol !== protocol) cluster.update({ ...cluster.spec, protocol });
    const known = this.deliveries.get(cluster);
    if (known !== undefined) return known;
    const destination = directDestination(cluster, UNKNOWN_SERVICE);
    this.deliveries.set(cluster, destination);
    return destination;
  }
}

/** The source address for a delivery to `host`. */
export function deliversFrom(host: string): string {
  return host.includes(':') ? DELIVERS_FROM_IPV6 : DELIVERS_FROM_IPV4;
}

function applicationSpec(key: string, { host, port }: HostPort): ClusterSpec {
  const spec = directCluster(key, { address: host, port, ready: true, weight: 1, zone: '', meshTls: false });
  const circuitBreaker = {
    ...spec.circuitBreaker,
    maxConnections: NO_LIMIT,
    maxPendingRequests: NO_LIMIT,
    maxParallelRequests: NO_LIMIT,
    maxParallelRetries: NO_LIMIT,
  };
  return { ...spec, circuitBreaker, retries: APP_RETRIES, upgrades: [ANY_UPGRADE] };
}
