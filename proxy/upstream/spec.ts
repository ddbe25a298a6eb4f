/**
 * How a cluster is to be called, as plain data: the part of a snapshot that upstream works from.
 */
import type { OutlierSettings } from './outlier.ts';

/** Where a piece of policy was written, for logs, `/config_dump` and `explain`. */
export interface SourceRef {
  readonly file: string;
  readonly line: number;
  /** `Kind namespace/name`. */
  readonly name: string;
}

/** What a Service port declares (CONTRACT, "Policy files"); `auto` is sniffed. */
export type AppProtocol = 'auto' | 'http' | 'http2' | 'grpc' | 'tcp' | 'tls' | 'https';

/** In `upgrades`: whatever the application speaks. */
export const ANY_UPGRADE = '*';

/** The endpoints of one Service port and how they are to be called. */
export interface ClusterSpec {
  /** `namespace/service:port`, stable across snapshots. */
  readonly key: string;
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  readonly protocol: AppProtocol;
  readonly source: SourceRef;
  /** Mutual TLS of the mesh, unless switched off for the whole Service; an endpoint may still say no. */
  readonly meshTls: boolean;
  /** TLS of the endpoints' own (BackendTLSPolicy), instead of the mesh's; null: none. */
  readonly backendTls: BackendTlsSpec | null;
  /** SPIFFE IDs that may serve; empty: any service account of `namespace` in the trust domain. */
  readonly identities: readonly string[];
  readonly endpoints: readonly EndpointSpec[];
  readonly loadBalancer: LoadBalancerSpec;
  readonly circuitBreaker: CircuitBreakerSpec;
  readonly connectTimeoutMs: number;
  /** No byte either way on an opaque connection for so long; 0: none. */
  readonly tcpIdleMs: number;
  readonly requestTimeoutMs: number;
  /** One attempt; 0: none. */
  readonly attemptTimeoutMs: number;
  /** Nothing moved on a stream for so long; 0: none. */
  readonly streamIdleMs: number;
  /** A connection takes no new request when it is idle for, or as old as, this; 0: the pool's own, and no bound. */
  readonly connectionIdleMs: number;
  readonly maxConnectionAgeMs: number;
  /** Attempts after the first; what a failure must be for one is the table's `retryable` and the rules' word. */
  readonly retries: number;
  readonly retryRules: RetryRulesSpec;
  readonly outlier: OutlierSettings;
  /** null: nobody asks the endpoints. */
  readonly activeCheck: ActiveCheckSpec | null;
  readonly faults: FaultSpec | null;
  /** Upgrade tokens that may pass where no rule speaks, lower case. */
  readonly upgrades: readonly string[];
}

/** Ordinary TLS to endpoints that have a certificate of their own. */
export interface BackendTlsSpec {
  readonly source: SourceRef;
  /** Asked for by SNI. */
  readonly serverName: string;
  /** CA certificates in PEM; empty: those that the system trusts. */
  readonly certificates: string;
  /** The certificate must have one of these; lower case, a host name perhaps beginning with `*.`. */
  readonly names: readonly { readonly type: 'Hostname' | 'URI'; readonly value: string }[];
  /** Paths of PEM files; null: none is shown. */
  readonly clientCertificate: { readonly certificate: string; readonly privateKey: string } | null;
}

export interface EndpointSpec {
  /**
   * IP address (canonical), or a DNS name: the control thread fills its addresses in (upstream/names); until it knows any, a
   * data thread asks the host when it connects.
   */
  readonly address: string;
  readonly port: number;
  readonly ready: boolean;
  readonly weight: number;
  readonly zone: string;
  readonly meshTls: boolean;
  /** The address is DNS's answer: nobody is looked up by it, since others may have it too. */
  readonly resolved?: boolean;
}

export type LoadBalancerType = 'RoundRobin' | 'LeastRequest' | 'Random' | 'PeakEWMA' | 'RingHash' | 'Maglev';

export interface LoadBalancerSpec {
  readonly type: LoadBalancerType;
  /** What equal requests have in common; null for types that keep nothing together. */
  readonly hashOn: HashSpec | null;
  /** How long a newcomer's share of the traffic grows; 0: not at all. */
  readonly slowStartMs: number;
  /** null: zones are not looked at. */
  readonly zones: ZoneSpec | null;
  /** With a smaller share of the ready endpoints in health, all of them are used, whatever is known of them; 0: never. */
  readonly panicPercent: number;
}

export interface HashSpec {
  readonly on: 'SourceIP' | 'Header' | 'Cookie' | 'QueryParam';
  /** Header names in lower case; empty for SourceIP. */
  readonly names: readonly string[];
}

/** How the own zone is preferred. */
export interface ZoneSpec {
  /** Ready endpoints that there must be in all zones together. */
  readonly minEndpoints: number;
  /** All traffic stays in the own zone while that is well; else as much as leaves all endpoints equally busy. */
  readonly force: boolean;
  /** Forced only: endpoints in health that the own zone must have. */
  readonly minEndpointsInZone: number;
}

/** Envoy's names for triggers; statuses beside those that a trigger stands for. */
export interface RetryRulesSpec {
  readonly triggers: readonly string[];
  readonly statuses: readonly number[];
  readonly idempotencyKey: boolean;
  readonly backOffMs: number;
  readonly maxBackOffMs: number;
  /** null: nothing is sent twice before it has failed. */
  readonly hedge: HedgeSpec | null;
}

/** A second attempt beside the first, for methods that only read. */
export interface HedgeSpec {
  /** Milliseconds without an answer before it is made; 0: as long as 95 % of the late answers took. */
  readonly delayMs: number;
  /** Every RPC is a POST: whether these only read is known to policy alone. */
  readonly grpc: boolean;
}

/** How the control thread asks each endpoint how it is. Times in milliseconds. */
export interface ActiveCheckSpec {
  readonly type: 'HTTP' | 'TCP' | 'GRPC';
  readonly timeoutMs: number;
  readonly intervalMs: number;
  readonly unhealthyThreshold: number;
  readonly healthyThreshold: number;
  /** HTTP only. */
  readonly method: 'GET' | 'HEAD';
  readonly path: string;
  /** `Host` of the request; empty: the Service's own name. */
  readonly hostname: string;
  readonly expectedStatuses: readonly number[];
  /** GRPC only: the service asked for; empty: the server as a whole. */
  readonly service: string;
}

/** Faults made on purpose. Shares in percent of the requests that have all of `headers`; 0: not at all. */
export interface FaultSpec {
  readonly delayMs: number;
  readonly delayPercent: number;
  readonly abortStatus: number;
  /** -1: the abort is no gRPC status. */
  readonly abortGrpcStatus: number;
  readonly abortPercent: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Limits are for the whole sidecar; each data thread takes its share. 0 switches a breaker on error rate off. */
export interface CircuitBreakerSpec {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxParallelRequests: number;
  readonly maxParallelRetries: number;
  readonly maxRequestsPerConnection: number;
  /** Share of requests (percent) and floor (per second) that retries may add. */
  readonly retryBudgetPercent: number;
  readonly retryBudgetMinPerSecond: number;
  /** Percent of failed requests that opens the breaker; 0: never. */
  readonly errorRatePercent: number;
  readonly errorWindowMs: number;
  readonly errorMinimumRequests: number;
  readonly openMs: number;
  /** What counts as an error besides a slow call. */
  readonly errorKinds: readonly string[];
  /** An answer that starts later than this is an error; 0: none is. */
  readonly slowCallMs: number;
  /** null: `maxParallelRequests` alone bounds the requests at a time. */
  readonly adaptiveConcurrency: AdaptiveConcurrencySpec | null;
}

/** A limit on requests at a time that follows the latency. */
export interface AdaptiveConcurrencySpec {
  readonly minLimit: number;
  readonly maxLimit: number;
  /** Percent by which the latency may be above that of the unloaded upstream before the limit falls. */
  readonly tolerancePercent: number;
  /** While the limit refuses requests, the unloaded latency is measured anew so often. */
  readonly probeIntervalMs: number;
}

/** May a request with this `Upgrade` token pass where these are allowed? */
export function mayUpgrade(upgrades: readonly string[], token: string): boolean {
  return upgrades.includes(ANY_UPGRADE) || upgrades.includes(token.toLowerCase());
}
