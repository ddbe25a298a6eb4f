/**
 * A snapshot as a data thread uses it: maps to look up, tables to match, policies ready to run. Made once per snapshot,
 * never changed; a request keeps the one it started with.
 */
import { Cidr, parseIp } from '../../shared/address.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { splitAuthority } from '../http/authority.ts';
import { RouteTable } from '../policy/route.ts';
import { type PolicyChain, prepare } from '../policy/runner.ts';
import { type ServiceLabels, UNKNOWN_SERVICE } from '../telemetry/record.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { Clusters } from '../upstream/clusters.ts';
import { RetryPolicy } from '../upstream/retry-policy.ts';
import { directCluster } from './direct-cluster.ts';
import type {
  AppProtocol,
  BackendSpec,
  ClusterSpec,
  MirrorSpec,
  RuleSpec,
  ServicePortSpec,
  ServiceSpec,
  SessionSpec,
  Snapshot,
  SourceRef,
} from './snapshot.ts';

/** Where a share of a route's requests goes; a null cluster is an invalid reference, its share gets 500. */
export interface Backend {
  readonly cluster: Cluster | null;
  readonly weight: number;
  readonly policies: PolicyChain;
}

/** One rule, ready to run. `found` is false for the route of requests that no rule matches: they are a 404. */
export interface Route {
  readonly name: string;
  readonly source: SourceRef | null;
  readonly found: boolean;
  readonly policies: PolicyChain;
  readonly backends: readonly Backend[];
  readonly totalWeight: number;
  readonly requestTimeoutMs: number;
  readonly attemptTimeoutMs: number;
  /** Nothing moved on the stream for so long; 0: none. */
  readonly streamIdleMs: number;
  /** Attempts after the first. */
  readonly retries: number;
  readonly retryPolicy: RetryPolicy;
  /** null: no request is kept with an endpoint. */
  readonly session: SessionSpec | null;
  /** null for the many that mirror nothing. */
  readonly mirrors: readonly Mirror[] | null;
  /** Upgrade tokens that may pass, lower case. */
  readonly upgrades: readonly string[];
}

/** A share (from 0 to 1) of the requests that a further cluster sees. */
export interface Mirror {
  readonly cluster: Cluster;
  readonly share: number;
}

/** One Service port as callers address it. */
export interface Destination {
  readonly service: ServiceLabels;
  readonly protocol: AppProtocol;
  /** The port's own cluster: where opaque bytes go. */
  readonly cluster: Cluster;
  /** null where no route is attached: everything takes `otherwise`. */
  readonly routes: RouteTable<Route> | null;
  readonly otherwise: Route;
}

/** Tells the sidecar's own listeners: a request to one of them would come back. */
export type IsOwnListener = (host: string, port: number) => boolean;

const HTTP_PORT = 80;

export class LinkedSnapshot {
  readonly snapshot: Snapshot;
  private readonly clusters: Clusters;
  private readonly isOwn: IsOwnListener;
  /** By `host` and by `host:port`, every name a caller may use. */
  private readonly destinations: ReadonlyMap<string, Destination>;
  private readonly hosts: ReadonlySet<string>;
  private readonly forwarders: readonly Cidr[];

  constructor(snapshot: Snapshot, clusters: Clusters, isOwn: IsOwnListener) {
    this.snapshot = snapshot;
    this.clusters = clusters;
    this.isOwn = isOwn;
    // A cluster that is known takes its new spec over when the snapshot is swapped in; routes have it from the start.
    const specs = new Map(snapshot.clusters.map((spec) => [spec.key, spec]));
    const byKey = new Map(snapshot.clusters.map((spec) => [spec.key, clusters.open(spec)]));
    const destinations = new Map<string, Destination>();
    const hosts = new Set<string>();
    for (const service of snapshot.services) {
      const names = [...service.hosts, ...service.addresses.map(bracketed)];
      for (const name of names) hosts.add(name);
      for (const port of service.ports) {
        const destination = linkPort(service, port, byKey, specs);
        if (destination === null) continue;
        const implied = port.port === HTTP_PORT || service.ports.length === 1;
        for (const name of names) {
          destinations.set(`${name}:${port.port}`, destination);
          if (implied) destinations.set(name, destination);
        }
      }
    }
    this.destinations = destinations;
    this.hosts = hosts;
    this.forwarders = snapshot.mesh.trustedForwarders.map((block) => Cidr.parse(block)).filter((cidr) => cidr !== null);
  }

  /** What a canonical authority (http/authority) means: a Service port, a stranger where those are allowed, or why not. */
  find(authority: string): Destination | Failure {
    const destination = this.destinations.get(authority);
    if (destination !== undefined) return destination;
    const { host, port } = splitAuthority(authority);
    if (host === '') return FAILURES.badHost;
    if (this.hosts.has(bracketed(host))) return FAILURES.noServicePort;
    if (this.snapshot.mesh.outboundTrafficPolicy === 'REGISTRY_ONLY') return FAILURES.unknownDestination;
    return this.stranger(authority, host, port < 0 ? HTTP_PORT : port);
  }

  /** What policy declares for the port that is served at one of these addresses; `auto` where nothing does. */
  protocolServedAt(isOwn: IsOwnListener): AppProtocol {
    for (const { endpoints, protocol } of this.snapshot.clusters) {
      if (endpoints.some(({ address, port }) => isOwn(address, port))) return protocol;
    }
    return 'auto';
  }

  /** Are forwarding headers from this address believed (Mesh trustedForwarders)? */
  trustsForwarder(address: string): boolean {
    if (this.forwarders.length === 0) return false;
    const bytes = parseIp(address);
    return bytes !== null && this.forwarders.some((cidr) => cidr.contains(bytes));
  }

  private stranger(authority: string, host: string, port: number): Destination | Failure {
    if (this.isOwn(host, port)) return FAILURES.loopDetected;
    const key = `stranger/${authority}`;
    const endpoint = { address: host, port, ready: true, weight: 1, zone: '', meshTls: false };
    return directDestination(
      this.clusters.stranger(key, () => directCluster(key, endpoint)),
      UNKNOWN_SERVICE,
    );
  }
}

/** A destination without routes. */
export function directDestination(cluster: Cluster, service: ServiceLabels): Destination {
  return { service, protocol: 'auto', cluster, routes: null, otherwise: routeTo(cluster.key, cluster, cluster.spec) };
}

/** A route that sends everything to one cluster. */
function routeTo(name: string, cluster: Cluster, spec: ClusterSpec): Route {
  const faults = spec.faults === null ? [] : [{ kind: 'FaultInjection', config: spec.faults }];
  return {
    name,
    source: null,
    found: true,
    policies: prepare(faults),
    backends: [{ cluster, weight: 1, policies: prepare([]) }],
    totalWeight: 1,
    requestTimeoutMs: spec.requestTimeoutMs,
    attemptTimeoutMs: spec.attemptTimeoutMs,
    streamIdleMs: spec.streamIdleMs,
    retries: spec.retries,
    retryPolicy: new RetryPolicy(spec.retryRules),
    session: null,
    mirrors: null,
    upgrades: spec.upgrades,
  };
}

function linkPort(
  service: ServiceSpec,
  port: ServicePortSpec,
  clusters: ReadonlyMap<string, Cluster>,
  specs: ReadonlyMap<string, ClusterSpec>,
): Destination | null {
  const cluster = clusters.get(port.cluster);
  if (cluster === undefined) return null;
  const direct = routeTo(port.cluster, cluster, specs.get(port.cluster) ?? cluster.spec);
  const rules = port.rules.map((rule) => linkRule(rule, clusters));
  const entries = port.entries.map((entry) => ({ match: entry.match, target: rules[entry.rule] as Route }));
  return {
    service: {
      host: service.hosts.at(-1) ?? service.name,
      name: service.name,
      namespace: service.namespace,
    },
    protocol: port.protocol,
    cluster,
    routes: port.routed ? new RouteTable(entries) : null,
    otherwise: port.routed ? { ...direct, name: 'no_route', found: false } : direct,
  };
}

function linkRule(rule: RuleSpec, clusters: ReadonlyMap<string, Cluster>): Route {
  const backends = rule.backends.map((backend) => linkBackend(backend, clusters));
  return {
    name: rule.name,
    source: rule.source,
    found: true,
    policies: prepare(rule.filters),
    backends,
    totalWeight: backends.reduce((sum, backend) => sum + backend.weight, 0),
    requestTimeoutMs: rule.requestTimeoutMs,
    attemptTimeoutMs: rule.attemptTimeoutMs,
    streamIdleMs: rule.streamIdleMs,
    retries: rule.retries,
    retryPolicy: new RetryPolicy(rule.retryRules),
    session: rule.session,
    mirrors: rule.mirrors.length === 0 ? null : rule.mirrors.flatMap((mirror) => linkMirror(mirror, clusters)),
    upgrades: rule.upgrades,
  };
}

function linkBackend(backend: BackendSpec, clusters: ReadonlyMap<string, Cluster>): Backend {
  const cluster = backend.cluster === null ? null : (clusters.get(backend.cluster) ?? null);
  return { cluster, weight: backend.weight, policies: prepare(backend.filters) };
}

function linkMirror({ cluster: key, share }: MirrorSpec, clusters: ReadonlyMap<string, Cluster>): Mirror[] {
  const cluster = clusters.get(key);
  return cluster === undefined ? [] : [{ cluster, share }];
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
