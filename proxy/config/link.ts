/**
 * A snapshot as a data thread uses it: maps to look up, tables to match, policies ready to run. Made once per snapshot,
 * never changed; a request keeps the one it started with.
 */
import { Cidr, formatHostPort, type HostPort, parseIp } from '../../shared/address.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { splitAuthority } from '../http/authority.ts';
import { Authorization } from '../policy/authorization.ts';
import { RouteTable } from '../policy/route.ts';
import { type PolicyChain, prepare } from '../policy/runner.ts';
import type { RequestSeries } from '../telemetry/metrics.ts';
import { type ServiceLabels, UNKNOWN_SERVICE } from '../telemetry/record.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { Clusters } from '../upstream/clusters.ts';
import { RetryPolicy } from '../upstream/retry-policy.ts';
import { Addresses } from './addresses.ts';
import { ConnectionRoutes } from './connection-routes.ts';
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
  /** null for the many that mirror nothing. */
  readonly mirrors: readonly Mirror[] | null;
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
  /** Metric series of its requests, by who answered; filled by session/story. */
  readonly series: Map<string, RequestSeries>;
  readonly protocol: AppProtocol;
  /** The port's own cluster: where opaque bytes go. */
  readonly cluster: Cluster;
  /** null where no route is attached: everything takes `otherwise`. */
  readonly routes: RouteTable<Route> | null;
  readonly otherwise: Route;
  /** Where bytes go that nobody looks into; null: to `cluster`. */
  readonly connections: ConnectionRoutes | null;
}

/** Tells the sidecar's own listeners: a request to one of them would come back. */
export type IsOwnListener = (host: string, port: number) => boolean;

const HTTP_PORT = 80;

export class LinkedSnapshot {
  readonly snapshot: Snapshot;
  /** Who may call the own application; null: everybody who may connect. */
  readonly authorization: Authorization | null;
  private readonly clusters: Clusters;
  private readonly isOwn: IsOwnListener;
  /** By `host` and by `host:port`, every name a caller may use. */
  private readonly destinations = new Map<string, Destination>();
  private readonly hosts = new Set<string>();
  /** By Service, in the order of its ports. */
  private readonly services = new Map<ServiceSpec, readonly (Destination | null)[]>();
  /** By address and port, as redirected connections name their destination. */
  private readonly addresses: Addresses;
  /** What was made for strangers; it ends with their clusters. */
  private readonly strangers = new WeakMap<Cluster, Destination>();
  private readonly forwarders: readonly Cidr[];

  /** Knows no Service before `linking` has entered them. */
  constructor(snapshot: Snapshot, clusters: Clusters, isOwn: IsOwnListener) {
    this.snapshot = snapshot;
    this.authorization = Authorization.of(
      snapshot.authorizations.filter(({ key }) => snapshot.ownAuthorizations.includes(key)),
    );
    this.clusters = clusters;
    this.isOwn = isOwn;
    this.addresses = new Addresses(clusters);
    this.forwarders = snapshot.mesh.trustedForwarders.map((block) => Cidr.parse(block)).filter((cidr) => cidr !== null);
  }

  /** Only while it is linked. `destinations` and `specs` (what stands behind them) in the order of the Service's ports. */
  enter(
    service: ServiceSpec,
    destinations: readonly (Destination | null)[],
    specs: ReadonlyMap<string, ClusterSpec>,
  ): void {
    this.services.set(service, destinations);
    const names = [...service.hosts, ...service.addresses.map(bracketed)];
    for (const name of names) this.hosts.add(name);
    for (const [i, port] of service.ports.entries()) {
      const destination = destinations[i] ?? null;
      if (destination === null) continue;
      const implied = port.port === HTTP_PORT || service.ports.length === 1;
      for (const name of names) {
        this.destinations.set(`${name}:${port.port}`, destination);
        if (implied) this.destinations.set(name, destination);
      }
      this.addAddresses(service, port, destination, specs.get(port.cluster));
    }
  }

  /** What this very object was linked to; undefined if another, or none, stands for the Service. */
  destinationsOf(service: ServiceSpec): readonly (Destination | null)[] | undefined {
    return this.services.get(service);
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

  /**
   * What a redirected connection means: the Service port or the endpoint at the address it was going to, whatever
   * authority it names; at a stranger's address the Service that an HTTP authority names (empty: none), since policy may
   * not know its address; else that address itself, where strangers are allowed.
   */
  findRedirected(original: HostPort, authority: string): Destination | Failure {
    const { host, port } = original;
    const known = this.addresses.find(host, port);
    if (known !== null) return known;
    if (this.hosts.has(bracketed(host))) return FAILURES.noServicePort;
    if (authority !== '') {
      const named = this.destinations.get(authority);
      if (named !== undefined) return named;
      if (this.hosts.has(bracketed(splitAuthority(authority).host))) return FAILURES.noServicePort;
    }
    if (this.snapshot.mesh.outboundTrafficPolicy === 'REGISTRY_ONLY') return FAILURES.unknownDestination;
    return this.stranger(formatHostPort(host, port), host, port);
  }

  /** What policy declares for the port that is served at one of these addresses; `auto` where nothing does. */
  protocolServedAt(isOwn: IsOwnListener): AppProtocol {
    for (const { endpoints, protocol } of this.snapshot.clusters) {
      if (endpoints.some(({ address, port }) => isOwn(address, port))) return protocol;
    }
    return 'auto';
  }

  /** The same for one address and port. */
  protocolAt({ host, port }: HostPort): AppProtocol {
    return this.addresses.protocolAt(host, port);
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
    const cluster = this.clusters.stranger(key, () =>
      directCluster(key, { address: host, port, ready: true, weight: 1, zone: '', meshTls: false }),
    );
    const known = this.strangers.get(cluster);
    if (known !== undefined) return known;
    const destination = directDestination(cluster, UNKNOWN_SERVICE);
    this.strangers.set(cluster, destination);
    return destination;
  }

  private addAddresses(
    { addresses }: ServiceSpec,
    { port }: ServicePortSpec,
    destination: Destination,
    spec: ClusterSpec | undefined,
  ): void {
    for (const address of addresses) this.addresses.addService(address, port, destination);
    if (spec === undefined) return;
    const { service, protocol } = destination;
    const directTo = (cluster: Cluster): Destination => ({ ...directDestination(cluster, service), protocol });
    for (const endpoint of spec.endpoints) {
      if (endpoint.resolved === true) continue;
      this.addresses.addEndpoint(spec, endpoint, addresses.length === 0, directTo);
    }
  }
}

/**
 * Links a snapshot in steps, none of which takes longer than a rule or a cluster does. A Service that `before` has
 * linked already (the same object: slices.ts sees to that) is taken over: its clusters are the same ones, since `before`
 * is in force and both snapshots name them.
 */
export function* linking(
  snapshot: Snapshot,
  clusters: Clusters,
  isOwn: IsOwnListener,
  before: LinkedSnapshot | null,
): Generator<void, LinkedSnapshot> {
  const linked = new LinkedSnapshot(snapshot, clusters, isOwn);
  // A cluster that is known takes its new spec over when the snapshot is swapped in; routes have it from the start.
  const specs = new Map(snapshot.clusters.map((spec) => [spec.key, spec]));
  const byKey = new Map<string, Cluster>();
  for (const spec of snapshot.clusters) {
    byKey.set(spec.key, clusters.open(spec));
    yield;
  }
  for (const service of snapshot.services) {
    const destinations = before?.destinationsOf(service) ?? (yield* linkService(service, byKey, specs));
    linked.enter(service, destinations, specs);
    yield;
  }
  return linked;
}

/** The same at once. */
export function link(snapshot: Snapshot, clusters: Clusters, isOwn: IsOwnListener): LinkedSnapshot {
  const steps = linking(snapshot, clusters, isOwn, null);
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}

/** A destination without routes. */
export function directDestination(cluster: Cluster, service: ServiceLabels): Destination {
  const otherwise = routeTo(cluster.key, cluster, cluster.spec);
  return { service, series: new Map(), protocol: 'auto', cluster, routes: null, otherwise, connections: null };
}

/** A route that sends everything to one cluster. */
function routeTo(name: string, cluster: Cluster, spec: ClusterSpec): Route {
  const faults = spec.faults === null ? [] : [{ kind: 'FaultInjection', config: spec.faults }];
  return {
    name,
    source: null,
    found: true,
    policies: prepare(faults),
    backends: [{ cluster, weight: 1, policies: prepare([]), mirrors: null }],
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

function* linkService(
  service: ServiceSpec,
  clusters: ReadonlyMap<string, Cluster>,
  specs: ReadonlyMap<string, ClusterSpec>,
): Generator<void, (Destination | null)[]> {
  const destinations: (Destination | null)[] = [];
  for (const port of service.ports) destinations.push(yield* linkPort(service, port, clusters, specs));
  return destinations;
}

function* linkPort(
  service: ServiceSpec,
  port: ServicePortSpec,
  clusters: ReadonlyMap<string, Cluster>,
  specs: ReadonlyMap<string, ClusterSpec>,
): Generator<void, Destination | null> {
  const cluster = clusters.get(port.cluster);
  if (cluster === undefined) return null;
  const direct = routeTo(port.cluster, cluster, specs.get(port.cluster) ?? cluster.spec);
  const rules: Route[] = [];
  for (const rule of port.rules) {
    rules.push(linkRule(rule, clusters));
    yield;
  }
  const routes = new RouteTable<Route>();
  for (const { match, rule } of port.entries) {
    routes.add({ match, target: rules[rule] as Route });
    yield;
  }
  return {
    service: {
      host: service.hosts.at(-1) ?? service.name,
      name: service.name,
      namespace: service.namespace,
    },
    series: new Map(),
    protocol: port.protocol,
    cluster,
    routes: port.routed ? routes : null,
    otherwise: port.routed ? { ...direct, name: 'no_route', found: false } : throughConnections(port, direct, clusters),
    connections: port.connections === null ? null : new ConnectionRoutes(port.connections, clusters),
  };
}

/** HTTP on a port with a TCPRoute goes where its connections would. */
function throughConnections(port: ServicePortSpec, direct: Route, clusters: ReadonlyMap<string, Cluster>): Route {
  const rule = port.connections?.rules[0];
  if (rule === undefined) return direct;
  const backends = rule.backends.map((backend) => linkBackend({ ...backend, filters: [], mirrors: [] }, clusters));
  const totalWeight = backends.reduce((sum, { weight }) => sum + weight, 0);
  return { ...direct, name: rule.name, source: rule.source, backends, totalWeight };
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
    mirrors: linkMirrors(rule.mirrors, clusters),
    upgrades: rule.upgrades,
  };
}

function linkBackend(backend: BackendSpec, clusters: ReadonlyMap<string, Cluster>): Backend {
  const cluster = backend.cluster === null ? null : (clusters.get(backend.cluster) ?? null);
  const mirrors = linkMirrors(backend.mirrors, clusters);
  return { cluster, weight: backend.weight, policies: prepare(backend.filters), mirrors };
}

function linkMirrors(specs: readonly MirrorSpec[], clusters: ReadonlyMap<string, Cluster>): readonly Mirror[] | null {
  const mirrors = specs.flatMap(({ cluster: key, share }) => {
    const cluster = clusters.get(key);
    return cluster === undefined ? [] : [{ cluster, share }];
  });
  return mirrors.length === 0 ? null : mirrors;
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
