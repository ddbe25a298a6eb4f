/** How an upstream is called where nobody says otherwise, and how TrafficPolicies change that field by field. */

import type { FaultInjection } from '../model/fault-injection.ts';
import type { ActiveCheck } from '../model/health-check.ts';
import type { Envelope } from '../model/kind.ts';
import type { LoadBalancer } from '../model/load-balancer.ts';
import type { TargetRef, TrafficPolicy, TrafficPolicySpec } from '../model/traffic-policy.ts';
import type {
  ActiveCheckSpec,
  AdaptiveConcurrencySpec,
  BackendTlsSpec,
  CircuitBreakerSpec,
  FaultSpec,
  HashSpec,
  LoadBalancerSpec,
  OutlierSettings,
  RetryRulesSpec,
} from '../snapshot.ts';
import type { Catalog, Entry } from './catalog.ts';

/** Everything a TrafficPolicy can say, flat: `undefined` fields are those it leaves to the next wider one. */
export interface Traffic extends CircuitBreakerSpec, LoadBalancerSpec, RetryRulesSpec, OutlierSettings {
  readonly connectTimeoutMs: number;
  /** Of an opaque connection on which nothing moves; 0: none. */
  readonly tcpIdleMs: number;
  /** Of an attempt, of a stream on which nothing moves, of an idle connection, of a connection's life; 0: none. */
  readonly attemptTimeoutMs: number;
  readonly streamIdleMs: number;
  readonly connectionIdleMs: number;
  readonly maxConnectionAgeMs: number;
  /** 0: none. */
  readonly requestTimeoutMs: number;
  readonly retries: number;
  /** Upgrade tokens, lower case. */
  readonly upgrades: readonly string[];
  readonly meshTls: boolean;
  /** Shown to Services that speak TLS of their own. */
  readonly clientCertificate: BackendTlsSpec['clientCertificate'];
  readonly activeCheck: ActiveCheckSpec | null;
  readonly faults: FaultSpec | null;
}

export const TRAFFIC_DEFAULTS: Traffic = {
  // Envoy Gateway's default: with requests of unequal cost it beats round robin and is never much worse.
  type: 'LeastRequest',
  hashOn: null,
  // Off until somebody knows how long an instance takes to warm up.
  slowStartMs: 0,
  zones: null,
  // Istio's: what is ejected or unhealthy gets no traffic; ejection never takes more than its share.
  panicPercent: 0,
  // Connections and requests: Envoy's own four defaults, which Envoy Gateway keeps; a guard against runaway, not a tuning.
  maxConnections: 1024,
  maxPendingRequests: 1024,
  maxParallelRequests: 1024,
  maxParallelRetries: 1024,
  // No limit: connections end by idleness, not by count.
  maxRequestsPerConnection: 0,
  // Percent of requests, and retries per second: an upstream that fails everything sees at most 1.2 times the load.
  retryBudgetPercent: 20,
  retryBudgetMinPerSecond: 10,
  // Percent: off until somebody knows what share of failures is normal for the Service.
  errorRatePercent: 0,
  // Milliseconds: long enough for a rate at 10 requests/s, short enough to open within seconds.
  errorWindowMs: 10_000,
  // Requests: below it one failure would be a rate.
  errorMinimumRequests: 20,
  // Milliseconds: a recovered upstream is found within two seconds.
  openMs: 1_000,
  errorKinds: ['5xx', 'failure', 'unavailable'],
  slowCallMs: 0,
  // Off: it takes a Service whose requests cost about the same.
  adaptiveConcurrency: null,
  // Milliseconds: Istio's and Envoy Gateway's.
  connectTimeoutMs: 10_000,
  // Milliseconds: Envoy's; a database pool holds connections for long, but not for ever without a word.
  tcpIdleMs: 3_600_000,
  // None, as under Istio and by Gateway API: a timeout nobody wrote would cut streams nobody thought of.
  requestTimeoutMs: 0,
  attemptTimeoutMs: 0,
  // None, as under Istio: a quiet stream is no fault.
  streamIdleMs: 0,
  // The pool's own guess of what servers allow, and no bound.
  connectionIdleMs: 0,
  maxConnectionAgeMs: 0,
  // Attempts after the first, as under Istio; what a failure must be for one, the error table says.
  retries: 2,
  // What ends without an answer; what an application says is its own word until policy says otherwise.
  triggers: ['connect-failure', 'refused-stream', 'reset'],
  statuses: [],
  idempotencyKey: false,
  // Milliseconds: Envoy's, which doubles up to ten times it.
  backOffMs: 25,
  maxBackOffMs: 250,
  // Off: it is load that somebody has to have room for.
  hedge: null,
  // A 500 is the application's own word.
  consecutiveErrors: 0,
  // Istio's default where outlier detection is on.
  consecutiveGatewayErrors: 5,
  // Refused, unreachable, no handshake: the next request would meet the same, and others would pay with a retry.
  consecutiveLocalFailures: 1,
  intervalMs: 10_000,
  successRateMinimumHosts: 5,
  successRateRequestVolume: 100,
  // Off until a policy asks for it.
  successRateDeviations: 0,
  // Milliseconds: a restarted endpoint is found within two seconds.
  baseEjectionMs: 1_000,
  maxEjectionMs: 30_000,
  maxEjectionPercent: 50,
  // Envoy Gateway's default.
  upgrades: ['websocket'],
  meshTls: true,
  clientCertificate: null,
  activeCheck: null,
  faults: null,
};

/** The TrafficPolicies by what they target. */
export class TrafficPolicies {
  private readonly byTarget = new Map<
    string,
    { readonly settings: Partial<Traffic>; readonly entry: Entry<TrafficPolicy> }
  >();

  constructor(catalog: Catalog) {
    for (const entry of catalog.trafficPolicies) {
      const settings = flatten(entry.value.spec);
      this.refuseBeyondRoute(catalog, entry);
      for (const [i, ref] of entry.value.spec.targetRefs.entries()) {
        const target = targetKey(ref.kind, `${entry.namespace}/${ref.name}`, ref.sectionName);
        const first = this.byTarget.get(target);
        if (first === undefined) {
          this.byTarget.set(target, { settings, entry });
        } else {
          const message = `${describe(ref)} already has the TrafficPolicy ${first.entry.key} at ${first.entry.place.where()}`;
          catalog.problems.push(entry.place.problem(['spec', 'targetRefs', i], message, 'join them in one'));
        }
      }
    }
  }

  /** A route has no endpoints and no connections of its own: what is said of them there would be skipped in silence. */
  private refuseBeyondRoute(catalog: Catalog, entry: Entry<TrafficPolicy>): void {
    const { spec } = entry.value;
    const route = spec.targetRefs.find(({ kind }) => kind !== 'Service');
    if (route === undefined) return;
    const message = `acts on Services only, and ${describe(route)} is a target`;
    for (const path of SERVICE_FIELDS) {
      if (fieldAt(spec, path) === undefined) continue;
      catalog.problems.push(entry.place.problem(['spec', ...path], message, 'target the Service'));
    }
  }

  /** What holds for a Service port. */
  ofPort(serviceKey: string, portName: string): Traffic {
    return { ...TRAFFIC_DEFAULTS, ...this.of('Service', serviceKey), ...this.of('Service', serviceKey, portName) };
  }

  /** What holds for a rule: its own policy over its route's over `port`, which is what holds for the Service asked for. */
  ofRule(port: Traffic, route: Entry<Envelope>, ruleName: string | undefined): Traffic {
    const { kind } = route.value;
    const wide = this.of(kind, route.key);
    const narrow = ruleName === undefined ? undefined : this.of(kind, route.key, ruleName);
    return wide === undefined && narrow === undefined ? port : { ...port, ...wide, ...narrow };
  }

  private of(kind: string, key: string, section?: string): Partial<Traffic> | undefined {
    return section === '' ? undefined : this.byTarget.get(targetKey(kind, key, section))?.settings;
  }
}

function targetKey(kind: string, key: string, section: string | undefined): string {
  return `${kind} ${key} ${section ?? ''}`;
}

const SERVICE_FIELDS: readonly (readonly string[])[] = [
  ['loadBalancer'],
  ['circuitBreaker'],
  ['healthCheck'],
  ['tls'],
  ['timeout', 'tcp'],
  ['timeout', 'http', 'connectionIdleTimeout'],
  ['timeout', 'http', 'maxConnectionDuration'],
];

function fieldAt(spec: object, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, field) => (value as Readonly<Record<string, unknown>> | undefined)?.[field],
    spec,
  );
}

function describe(ref: TargetRef): string {
  return `${ref.kind} ${ref.name}${ref.sectionName === undefined ? '' : ` (${ref.sectionName})`}`;
}

function flatten(spec: TrafficPolicySpec): Partial<Traffic> {
  const { circuitBreaker: breaker, timeout, retry, healthCheck: health } = spec;
  return defined({
    ...balancing(spec.loadBalancer),
    panicPercent: health?.panicThreshold,
    maxConnections: breaker?.maxConnections,
    maxPendingRequests: breaker?.maxPendingRequests,
    maxParallelRequests: breaker?.maxParallelRequests,
    maxParallelRetries: breaker?.maxParallelRetries,
    maxRequestsPerConnection: breaker?.maxRequestsPerConnection,
    retryBudgetPercent: breaker?.retryBudget?.percent,
    retryBudgetMinPerSecond: breaker?.retryBudget?.minRetriesPerSecond,
    errorRatePercent: breaker?.errorRate?.threshold,
    errorWindowMs: breaker?.errorRate?.window,
    errorMinimumRequests: breaker?.errorRate?.minimumRequests,
    openMs: breaker?.errorRate?.openTime,
    errorKinds: breaker?.errorRate?.errors,
    slowCallMs: breaker?.errorRate?.slowCall,
    adaptiveConcurrency: adaptiveConcurrency(breaker?.adaptiveConcurrency),
    connectTimeoutMs: timeout?.tcp?.connectTimeout,
    tcpIdleMs: timeout?.tcp?.idleTimeout,
    requestTimeoutMs: timeout?.http?.requestTimeout,
    streamIdleMs: timeout?.http?.streamIdleTimeout,
    connectionIdleMs: timeout?.http?.connectionIdleTimeout,
    maxConnectionAgeMs: timeout?.http?.maxConnectionDuration,
    attemptTimeoutMs: retry?.perRetry?.timeout,
    retries: retry?.numRetries,
    triggers: retry?.retryOn?.triggers,
    statuses: retry?.retryOn?.httpStatusCodes,
    idempotencyKey: retry?.retryOn?.idempotencyKey,
    ...backOff(retry?.perRetry?.backOff),
    hedge: spec.hedge === undefined ? undefined : { delayMs: spec.hedge.delay, grpc: spec.hedge.grpc },
    consecutiveErrors: health?.passive?.consecutive5XxErrors,
    consecutiveGatewayErrors: health?.passive?.consecutiveGatewayErrors,
    consecutiveLocalFailures: health?.passive?.consecutiveLocalOriginFailures,
    intervalMs: health?.passive?.interval,
    successRateMinimumHosts: health?.passive?.successRate?.minimumHosts,
    successRateRequestVolume: health?.passive?.successRate?.requestVolume,
    successRateDeviations: health?.passive?.successRate?.deviations,
    baseEjectionMs: health?.passive?.baseEjectionTime,
    maxEjectionMs: health?.passive?.maxEjectionTime,
    maxEjectionPercent: health?.passive?.maxEjectionPercent,
    activeCheck: health?.active === undefined ? undefined : activeCheck(health.active),
    faults: spec.faultInjection === undefined ? undefined : faults(spec.faultInjection),
    upgrades: spec.httpUpgrade?.map(({ type }) => type.toLowerCase()),
    meshTls: spec.tls?.mode === undefined ? undefined : spec.tls.mode === 'Mesh',
    clientCertificate: clientCertificate(spec.tls),
  });
}

function clientCertificate(tls: TrafficPolicySpec['tls']): BackendTlsSpec['clientCertificate'] | undefined {
  const { clientCertificate: certificate, privateKey } = tls ?? {};
  return certificate === undefined || privateKey === undefined ? undefined : { certificate, privateKey };
}

type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

function balancing(balancer: LoadBalancer | undefined): Given<Omit<LoadBalancerSpec, 'panicPercent'>> {
  if (balancer === undefined) return {};
  const { type, consistentHash: hash, slowStart, zoneAware } = balancer;
  const local = zoneAware?.preferLocal;
  return {
    type: type === 'ConsistentHash' ? (hash?.table ?? 'Maglev') : type,
    hashOn: hash === undefined ? null : hashOn(hash),
    slowStartMs: slowStart?.window,
    zones:
      local === undefined
        ? undefined
        : {
            minEndpoints: local.minEndpointsThreshold,
            force: local.force !== undefined,
            minEndpointsInZone: local.force?.minEndpointsInZoneThreshold ?? 0,
          },
  };
}

function hashOn(hash: NonNullable<LoadBalancer['consistentHash']>): HashSpec {
  const names = (list: readonly { readonly name: string }[] = []): string[] => list.map(({ name }) => name);
  switch (hash.type) {
    case 'SourceIP':
      return { on: 'SourceIP', names: [] };
    case 'Header':
      return { on: 'Header', names: [hash.header?.name.toLowerCase() ?? ''] };
    case 'Headers':
      return { on: 'Header', names: names(hash.headers).map((name) => name.toLowerCase()) };
    case 'Cookie':
      return { on: 'Cookie', names: [hash.cookie?.name ?? ''] };
    case 'QueryParams':
      return { on: 'QueryParam', names: names(hash.queryParams) };
  }
}

/** Envoy: up to ten times the first pause where nobody says. */
function backOff(
  given: { readonly baseInterval?: number | undefined; readonly maxInterval?: number | undefined } | undefined,
): Given<RetryRulesSpec> {
  const first = given?.baseInterval;
  const longest = given?.maxInterval ?? (first === undefined ? undefined : first * 10);
  return { backOffMs: first, maxBackOffMs: longest };
}

function adaptiveConcurrency(
  given: NonNullable<TrafficPolicySpec['circuitBreaker']>['adaptiveConcurrency'],
): AdaptiveConcurrencySpec | undefined {
  if (given === undefined) return undefined;
  const { minLimit, maxLimit, tolerance, probeInterval } = given;
  return { minLimit, maxLimit, tolerancePercent: tolerance, probeIntervalMs: probeInterval };
}

function activeCheck(check: ActiveCheck): ActiveCheckSpec {
  return {
    type: check.type,
    timeoutMs: check.timeout,
    intervalMs: check.interval,
    unhealthyThreshold: check.unhealthyThreshold,
    healthyThreshold: check.healthyThreshold,
    method: check.http?.method ?? 'GET',
    path: check.http?.path ?? '',
    hostname: check.http?.hostname ?? '',
    expectedStatuses: check.http?.expectedStatuses ?? [],
    service: check.grpc?.service ?? '',
  };
}

function faults({ delay, abort, headers }: FaultInjection): FaultSpec {
  return {
    delayMs: delay?.fixedDelay ?? 0,
    delayPercent: delay?.percentage ?? 0,
    abortStatus: abort?.httpStatus ?? 0,
    abortGrpcStatus: abort?.grpcStatus ?? -1,
    abortPercent: abort?.percentage ?? 0,
    headers: headers.map(({ name, value }) => [name.toLowerCase(), value]),
  };
}

/** Without the fields that are undefined, so that spreading it leaves the others alone. */
function defined<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
