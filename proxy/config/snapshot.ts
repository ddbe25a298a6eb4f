/**
 * Policy as the data threads get it: plain, structured-cloneable, frozen data, complete and already checked.
 *
 * `compile` makes it on the control thread, `link` turns it into lookup structures on each data thread. Names are
 * resolved (a backend is a cluster key), defaults filled in, durations in milliseconds (0: none), lists in their order
 * of precedence. Nothing here changes after compile; what outlives a snapshot is keyed by `ClusterSpec.key`.
 */
import type { ConnectionAttribute } from '../policy/authorization.ts';
import type { AppProtocol, ClusterSpec, RetryRulesSpec, SourceRef } from '../upstream/spec.ts';

export type { OutlierSettings } from '../upstream/outlier.ts';
export type {
  ActiveCheckSpec,
  AdaptiveConcurrencySpec,
  AppProtocol,
  BackendTlsSpec,
  CircuitBreakerSpec,
  ClusterSpec,
  EndpointSpec,
  FaultSpec,
  HashSpec,
  LoadBalancerSpec,
  LoadBalancerType,
  RetryRulesSpec,
  SourceRef,
  ZoneSpec,
} from '../upstream/spec.ts';

export interface Snapshot {
  /** Content hash of everything below: equal policy has an equal hash. */
  readonly hash: string;
  readonly mesh: MeshSpec;
  readonly services: readonly ServiceSpec[];
  readonly clusters: readonly ClusterSpec[];
  readonly inbound: InboundSpec;
  /** Every AuthorizationPolicy by its key; data threads get only those of `ownAuthorizations`. */
  readonly authorizations: readonly AuthorizationSpec[];
  /** Keys of those that judge who may call the own application. */
  readonly ownAuthorizations: readonly string[];
  readonly telemetry: TelemetrySpec;
}

/** How a snapshot travels (config/slices): a Service with its clusters, or what is neither, as JSON and known by its hash. */
export interface SnapshotPart {
  readonly hash: string;
  readonly slices: readonly string[];
}

export interface MeshSpec {
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly clusterDomain: string;
  readonly rootNamespace: string;
  readonly outboundTrafficPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY';
  readonly pathNormalization: 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';
  /** CIDR blocks whose forwarding headers are believed. */
  readonly trustedForwarders: readonly string[];
}

export interface ServiceSpec {
  readonly namespace: string;
  readonly name: string;
  /** Every name a caller may use, lower case, without port or trailing dot. */
  readonly hosts: readonly string[];
  /** Cluster addresses, canonical. */
  readonly addresses: readonly string[];
  /** Keys of the AuthorizationPolicies that every pod behind it is known to apply, for explain. */
  readonly authorizations: readonly string[];
  readonly ports: readonly ServicePortSpec[];
}

export interface ServicePortSpec {
  readonly port: number;
  readonly name: string;
  readonly protocol: AppProtocol;
  /** Where traffic goes that no route speaks for. */
  readonly cluster: string;
  /** True where a route that reads requests or server names is attached: what no rule matches is then refused. */
  readonly routed: boolean;
  /** Rules of HTTPRoute or GRPCRoute, each once; `entries` says when they apply. */
  readonly rules: readonly RuleSpec[];
  /** Matches in order of precedence (Gateway API, HTTPRouteRule.matches); the first that fits decides. */
  readonly entries: readonly RouteEntrySpec[];
  /** Where connections go that nobody looks into; null: to `cluster`. */
  readonly connections: ConnectionRoutesSpec | null;
}

/** The TLSRoutes or the TCPRoute of a Service port. */
export interface ConnectionRoutesSpec {
  readonly kind: 'TLSRoute' | 'TCPRoute';
  /** Of two that claim one server name the first has it. */
  readonly rules: readonly ConnectionRuleSpec[];
}

export interface ConnectionRuleSpec {
  /** `namespace/route/rule`, the rule by its name or its index. */
  readonly name: string;
  readonly source: SourceRef;
  /** Server names, lower case, perhaps beginning with `*.`; empty: any, and none at all. */
  readonly hostnames: readonly string[];
  readonly backends: readonly { readonly cluster: string | null; readonly weight: number }[];
}

export interface RouteEntrySpec {
  readonly match: HttpMatchSpec;
  /** Index into `rules`. */
  readonly rule: number;
}

export interface HttpMatchSpec {
  /** AnyService: a gRPC method of this name, whatever its service. */
  readonly path: {
    readonly type: 'Exact' | 'PathPrefix' | 'AnyService' | 'RegularExpression';
    readonly value: string;
  };
  readonly method: string | null;
  /** Header names lower case, all must match. */
  readonly headers: readonly NameMatchSpec[];
  readonly query: readonly NameMatchSpec[];
}

export interface NameMatchSpec {
  readonly name: string;
  readonly type: 'Exact' | 'RegularExpression';
  readonly value: string;
}

export interface RuleSpec {
  /** `namespace/route/rule`, the rule by its name or its index. */
  readonly name: string;
  readonly source: SourceRef;
  readonly filters: readonly FilterSpec[];
  readonly backends: readonly BackendSpec[];
  /** Whole request, all attempts; 0: none. */
  readonly requestTimeoutMs: number;
  /** One attempt; 0: none. */
  readonly attemptTimeoutMs: number;
  /** Attempts after the first. This and the timeouts are final: the rule's own word, else its TrafficPolicies'. */
  readonly retries: number;
  readonly retryRules: RetryRulesSpec;
  /** Nothing moved on the request's stream for so long; 0: none. */
  readonly streamIdleMs: number;
  /** null: no request is kept with an endpoint. */
  readonly session: SessionSpec | null;
  readonly mirrors: readonly MirrorSpec[];
  /** Upgrade tokens that may pass, lower case. */
  readonly upgrades: readonly string[];
}

/** `config` is what the kind of this name in `policy/policies.ts` prepares from. */
export interface FilterSpec {
  readonly kind: string;
  readonly source: SourceRef;
  readonly config: unknown;
}

export interface BackendSpec {
  /** Key of a cluster; null where the reference is invalid: its share gets 500. */
  readonly cluster: string | null;
  readonly weight: number;
  readonly filters: readonly FilterSpec[];
  /** Of the requests that go to this backend. */
  readonly mirrors: readonly MirrorSpec[];
}

/** A cookie that keeps a caller with the endpoint that first answered it. */
export interface SessionSpec {
  readonly cookie: string;
  /** Seconds; 0: until the caller forgets. */
  readonly maxAgeSeconds: number;
}

/** A share of requests is sent to a further cluster, whose answers nobody reads. */
export interface MirrorSpec {
  readonly cluster: string;
  /** From 0 to 1. */
  readonly share: number;
}

export type MtlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

export interface InboundSpec {
  /** Mode of ports that `portModes` does not name. */
  readonly mode: MtlsMode;
  /** By application port. */
  readonly portModes: Readonly<Record<string, MtlsMode>>;
}

/** One AuthorizationPolicy: shaped as policy/authorization prepares from it. */
export interface AuthorizationSpec {
  /** `namespace/name`. */
  readonly key: string;
  readonly source: SourceRef;
  readonly action: 'ALLOW' | 'DENY';
  /** One that fits is enough. */
  readonly rules: readonly AuthorizationRuleSpec[];
}

/** Fits where one group of `from`, one of `to` (none written: any) and all of `when` hold. */
export interface AuthorizationRuleSpec {
  readonly source: SourceRef;
  readonly from: readonly (readonly AuthorizationConditionSpec[])[];
  readonly to: readonly (readonly AuthorizationConditionSpec[])[];
  readonly when: readonly AuthorizationConditionSpec[];
}

/** Holds where the attribute has one of `values` (none written: whatever it is) and none of `notValues`. */
export interface AuthorizationConditionSpec {
  readonly attribute: ConnectionAttribute;
  readonly values: readonly string[];
  readonly notValues: readonly string[];
}

export interface TelemetrySpec {
  /** Percent of requests to sample where the caller decided nothing; null: no Telemetry document says. */
  readonly samplingPercent: number | null;
  /** null: no Telemetry document says; the flag decides. */
  readonly accessLog: 'json' | 'text' | 'off' | null;
}
