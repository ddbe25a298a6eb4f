/** Routes of a Service port, compiled: those that read requests, and those that only see connections. */
import { withoutTrailingSlash } from '../../policy/path-prefix.ts';
import type { HttpFilter } from '../model/http-filter.ts';
import type { HttpBackendRef, HttpMatch, HttpRoute, HttpRouteRule } from '../model/http-route.ts';
import type { RouteRetry } from '../model/retry.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { Path } from '../place.ts';
import type {
  BackendSpec,
  ConnectionRoutesSpec,
  HttpMatchSpec,
  MirrorSpec,
  RetryRulesSpec,
  RouteEntrySpec,
  RuleSpec,
  SessionSpec,
  SourceRef,
} from '../snapshot.ts';
import { retryRulesOf } from './call-settings.ts';
import type { Catalog, Entry } from './catalog.ts';
import { compileConnectionRoutes } from './connection-routes.ts';
import { compileFilters, faultFilter } from './filters.ts';
import { type AnyRoute, isConnectionRoute, isHttpRoute, Parents } from './parents.ts';
import type { Traffic, TrafficPolicies } from './traffic.ts';

export interface PortRoutes {
  readonly routed: boolean;
  readonly rules: readonly RuleSpec[];
  readonly entries: readonly RouteEntrySpec[];
  readonly connections: ConnectionRoutesSpec | null;
}

export class RouteCompiler {
  readonly parents: Parents;
  private readonly catalog: Catalog;
  private readonly traffic: TrafficPolicies;

  constructor(catalog: Catalog, traffic: TrafficPolicies) {
    this.catalog = catalog;
    this.traffic = traffic;
    this.parents = new Parents(catalog);
  }

  /** `portTraffic` is what holds on the port where a rule says nothing. */
  ofPort(service: Entry<Service>, port: ServicePort, portTraffic: Traffic): PortRoutes {
    const inForce = this.parents.inForce(service, port, this.catalog.self.namespace);
    const routes = inForce.filter(isHttpRoute);
    const rules: RuleSpec[] = [];
    const firstRule = new Map<Entry<HttpRoute>, number>();
    for (const route of routes) {
      firstRule.set(route, rules.length);
      for (const [i, rule] of route.value.spec.rules.entries()) {
        const traffic = this.traffic.ofRule(portTraffic, route, rule.name);
        rules.push(this.compileRule(route, rule, i, port.port, traffic));
      }
    }
    const entries = rankMatches(routes).map(({ match, route, rule }) => ({
      match,
      rule: (firstRule.get(route) as number) + rule,
    }));
    const connections = compileConnectionRoutes(inForce.filter(isConnectionRoute), (route, ref) =>
      this.clusterOf(route, ref),
    );
    return { routed: routes.length > 0 || connections?.kind === 'TLSRoute', rules, entries, connections };
  }

  private compileRule(
    route: Entry<HttpRoute>,
    rule: HttpRouteRule,
    index: number,
    servicePort: number,
    traffic: Traffic,
  ): RuleSpec {
    const path: Path = ['spec', 'rules', index];
    const source = (at: Path): SourceRef => route.source(at);
    return {
      name: `${route.key}/${rule.name ?? index}`,
      source: source(path),
      filters: [
        ...faultFilter(traffic.faults, source(path)),
        ...compileFilters(rule.filters, rule.matches, servicePort, [...path, 'filters'], source),
      ],
      backends: rule.backendRefs.map((ref, i) =>
        this.compileBackend(route, ref, rule.matches, servicePort, [...path, 'backendRefs', i]),
      ),
      requestTimeoutMs: rule.timeouts.request ?? traffic.requestTimeoutMs,
      attemptTimeoutMs: rule.timeouts.backendRequest ?? traffic.attemptTimeoutMs,
      retries: rule.retry.attempts ?? traffic.retries,
      retryRules: ownRetryRules(traffic, rule.retry),
      streamIdleMs: traffic.streamIdleMs,
      session: sessionOf(rule),
      mirrors: this.mirrorsOf(route, rule.filters),
      upgrades: traffic.upgrades,
    };
  }

  /** A mirror that leads nowhere is left out, as the API asks: the request itself is not to suffer. */
  private mirrorsOf(route: Entry<HttpRoute>, filters: readonly HttpFilter[]): MirrorSpec[] {
    return filters.flatMap((filter) => {
      if (filter.type !== 'RequestMirror') return [];
      const { backendRef, share } = filter.requestMirror;
      const cluster = this.clusterOf(route, backendRef);
      return cluster === null || share === 0 ? [] : [{ cluster, share }];
    });
  }

  /** null where the reference leads nowhere. */
  private clusterOf(
    route: Entry<AnyRoute>,
    ref: { readonly namespace?: string | undefined; readonly name: string; readonly port: number },
  ): string | null {
    const key = `${ref.namespace ?? route.namespace}/${ref.name}`;
    const known = this.catalog.services
      .get(key)
      ?.value.spec.ports.some(({ port, protocol }) => port === ref.port && protocol === 'TCP');
    return known === true ? clusterKey(key, ref.port) : null;
  }

  private compileBackend(
    route: Entry<HttpRoute>,
    ref: HttpBackendRef,
    matches: readonly HttpMatch[],
    servicePort: number,
    path: Path,
  ): BackendSpec {
    return {
      cluster: this.clusterOf(route, ref),
      weight: ref.weight,
      filters: compileFilters(ref.filters, matches, servicePort, [...path, 'filters'], (at) => route.source(at)),
      mirrors: this.mirrorsOf(route, ref.filters),
    };
  }
}

/** A rule's own `codes` and `backoff` over what TrafficPolicies say. */
function ownRetryRules(traffic: Traffic, { codes, backoff }: RouteRetry): RetryRulesSpec {
  const rules = retryRulesOf(traffic);
  const pauses =
    backoff === undefined ? {} : { backOffMs: backoff, maxBackOffMs: Math.max(backoff, rules.maxBackOffMs) };
  return { ...rules, ...pauses, statuses: codes ?? rules.statuses };
}

function sessionOf({ sessionPersistence: session }: HttpRouteRule): SessionSpec | null {
  if (session === undefined) return null;
  const permanent = session.cookieConfig.lifetimeType === 'Permanent';
  const maxAgeSeconds = permanent ? Math.ceil((session.absoluteTimeout ?? 0) / 1000) : 0;
  return { cookie: session.sessionName ?? DEFAULT_SESSION_COOKIE, maxAgeSeconds };
}

const DEFAULT_SESSION_COOKIE = 'weft-session';

/** `namespace/service:port`, the name of a cluster. */
export function clusterKey(serviceKey: string, port: number): string {
  return `${serviceKey}:${port}`;
}

function compileMatch(match: HttpMatch): HttpMatchSpec {
  return {
    path: { type: match.path.type, value: match.path.value },
    method: match.method ?? null,
    headers: firstOfEach(match.headers.map(({ name, type, value }) => ({ name: name.toLowerCase(), type, value }))),
    query: match.queryParams.map(({ name, type, value }) => ({ name, type, value })),
  };
}

/** Of equivalent header names only the first counts (Gateway API, HTTPHeaderMatch.name). */
function firstOfEach<T extends { readonly name: string }>(list: readonly T[]): T[] {
  return list.filter(({ name }, i) => list.findIndex((other) => other.name === name) === i);
}

/** One match of a rule, and where it stands. */
export interface RankedMatch {
  readonly match: HttpMatchSpec;
  readonly route: Entry<HttpRoute>;
  /** Indices into the route's rules, and into that rule's matches. */
  readonly rule: number;
  readonly index: number;
}

/**
 * All matches of these routes in order of precedence. The sort is stable, so what ranks alike keeps the order of
 * `namespace/name`, then of rules, then of matches.
 */
export function rankMatches(routes: readonly Entry<HttpRoute>[]): RankedMatch[] {
  const matches = routes.flatMap((route) =>
    route.value.spec.rules.flatMap(({ matches }, rule) =>
      matches.map((match, index) => ({ match: compileMatch(match), route, rule, index })),
    ),
  );
  const ranked = matches.map((match) => ({ match, rank: rankOf(match.match) }));
  return ranked.sort((a, b) => compareRanks(a.rank, b.rank)).map(({ match }) => match);
}

/** Gateway API, HTTPRouteRule.matches: smaller ranks first, part by part. */
type Rank = readonly [
  pathType: number,
  shorterPath: number,
  anyMethod: number,
  fewerHeaders: number,
  fewerQuery: number,
];

const PATH_TYPES = ['Exact', 'PathPrefix', 'AnyService', 'everything', 'RegularExpression'] as const;

function rankOf(match: HttpMatchSpec): Rank {
  const { type, value } = match.path;
  return [
    PATH_TYPES.indexOf(type === 'PathPrefix' && value === '/' ? 'everything' : type),
    type === 'PathPrefix' ? -withoutTrailingSlash(value).length : 0,
    match.method === null ? 1 : 0,
    -match.headers.length,
    -match.query.length,
  ];
}

function compareRanks(a: Rank, b: Rank): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3] || a[4] - b[4];
}
