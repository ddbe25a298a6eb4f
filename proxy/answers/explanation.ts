/**
 * What `weft explain --json` says. Programs read it: fields are added, never renamed or taken away. Times are in
 * milliseconds, 0 meaning none; `file` and `line` say where policy was written.
 */

export type HeaderField = readonly [name: string, value: string];

export interface Explanation {
  /** As the data path reads it; null where it is refused before it is read. */
  readonly request: RequestView | null;
  readonly verdict: Verdict;
  /** null for a destination that no policy knows. */
  readonly service: ServiceView | null;
  /** null where no route is attached to the Service port, or none of its rules fits. */
  readonly route: RouteView | null;
  /** The rule of a TLSRoute or TCPRoute; null where none decides. */
  readonly connection: ConnectionView | null;
  /** Filters of the rule, in the order they run, up to the one that answers. */
  readonly filters: readonly FilterView[];
  readonly timeouts: { readonly requestMs: number; readonly attemptMs: number; readonly streamIdleMs: number };
  /** Attempts after the first. */
  readonly retries: number;
  /** What of this request is retried: Envoy's words (`connect-failure`, `unavailable`), `5xx` or single statuses. */
  readonly retriedAfter: readonly string[];
  /** May it be sent again though it may have been acted on? By its method, or its Idempotency-Key and policy's leave. */
  readonly repeatable: boolean;
  /** Upgrade tokens that may pass, lower case. */
  readonly upgrades: readonly string[];
  /** Where it goes, by share; empty unless the rule's filters let it pass. */
  readonly backends: readonly BackendView[];
  /** Who sees a copy, whatever becomes of the request itself. */
  readonly mirrors: readonly { readonly cluster: string; readonly share: number }[];
}

export interface RequestView {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  /** Normalised, with its query. */
  readonly path: string;
  readonly headers: readonly HeaderField[];
}

export interface Verdict {
  /** `forwarded`: to at least one backend. `answered`: by a filter (redirect, preflight, injected fault). `refused`: by weft, with a word. */
  readonly outcome: 'forwarded' | 'answered' | 'refused';
  /** Of weft's own answer; 0 where it gives none. */
  readonly status: number;
  /** Of the error table; empty unless refused. */
  readonly word: string;
  readonly detail: string;
  /** What to check next; empty unless refused. */
  readonly advice: string;
  /** Fields of weft's own answer. */
  readonly headers: readonly HeaderField[];
}

export interface Written {
  readonly file: string;
  readonly line: number;
}

export interface ServiceView extends Written {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  /** Is any route attached to the port? */
  readonly routed: boolean;
}

export interface RouteView extends Written {
  /** `namespace/route/rule`. */
  readonly name: string;
  /** `Kind namespace/name`. */
  readonly document: string;
  /** The match that decided. */
  readonly match: {
    readonly path: { readonly type: string; readonly value: string };
    readonly method: string | null;
    readonly headers: readonly { readonly name: string; readonly type: string; readonly value: string }[];
    readonly query: readonly { readonly name: string; readonly type: string; readonly value: string }[];
  };
}

export interface ConnectionView extends Written {
  /** `namespace/route/rule`. */
  readonly name: string;
  /** `Kind namespace/name`. */
  readonly document: string;
  /** Server names that it takes; empty: any. */
  readonly hostnames: readonly string[];
}

export interface FilterView extends Written {
  readonly kind: string;
  /** What it does to this request. */
  readonly requestChanges: readonly Change[];
  /** What it does to some requests and not to others like them; empty where nothing is left to chance. */
  readonly chance: string;
}

/** `name` is a header, or `:authority`, `:path`. `before` null: added; `after` null: removed. */
export interface Change {
  readonly name: string;
  readonly before: string | null;
  readonly after: string | null;
}

export interface BackendView extends Written {
  /** `namespace/service:port`; null where the reference names nothing. */
  readonly cluster: string | null;
  /** 0 to 1. */
  readonly share: number;
  readonly verdict: Verdict;
  readonly filters: readonly FilterView[];
  /** As it leaves; null where it does not. */
  readonly request: RequestView | null;
  /** What the filters would do to a plain 200 from there. */
  readonly responseChanges: readonly Change[];
  readonly protocol: string;
  readonly mutualTls: boolean;
  /** SPIFFE IDs that may serve; one that ends in `/*` stands for every service account. Empty without mutual TLS. */
  readonly identities: readonly string[];
  /** TLS of the endpoints' own instead of the mesh's; null: none. */
  readonly backendTls: BackendTlsView | null;
  /** Every rule of the AuthorizationPolicies at the far end; empty where none is known, or no caller was named. */
  readonly authorization: readonly AuthorizationView[];
  readonly loadBalancer: string;
  readonly connectTimeoutMs: number;
  readonly endpoints: readonly EndpointView[];
}

export interface BackendTlsView extends Written {
  /** `Kind namespace/name`. */
  readonly document: string;
  readonly serverName: string;
  /** The certificate must have one of these. */
  readonly names: readonly string[];
}

export interface AuthorizationView extends Written {
  /** `namespace/name`. */
  readonly policy: string;
  readonly action: 'ALLOW' | 'DENY';
  /** null: the policy has no rule, and so fits nobody. */
  readonly rule: number | null;
  readonly fits: boolean;
}

export interface EndpointView {
  /** `address:port`, IPv6 in brackets. */
  readonly address: string;
  readonly ready: boolean;
  readonly zone: string;
  readonly weight: number;
  readonly mutualTls: boolean;
}
