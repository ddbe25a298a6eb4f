/** `gateway.networking.k8s.io/v1` HTTPRoute. Bounds and rules are the API's own validation. */
import { z } from 'zod';
import { expressionProblem } from '../../policy/expression.ts';
import { complain, duration, envelope, notYet, object, subdomain, unique } from './field.ts';
import { checkFilters, type HttpFilter, headerName, httpFilter } from './http-filter.ts';
import type { Envelope, Kind } from './kind.ts';
import { type BackendRef, backendFields, GATEWAY_VERSION, type ParentRef, parentRef } from './parent-ref.ts';
import { type RouteRetry, routeRetry } from './retry.ts';

/** AnyService is of GRPCRoutes: a method of this name, whatever its service. */
export type PathMatchType = 'Exact' | 'PathPrefix' | 'AnyService' | 'RegularExpression';

export interface NameMatch {
  readonly name: string;
  readonly type: 'Exact' | 'RegularExpression';
  readonly value: string;
}

export interface HttpMatch {
  readonly path: { readonly type: PathMatchType; readonly value: string };
  readonly method?: string | undefined;
  readonly headers: readonly NameMatch[];
  readonly queryParams: readonly NameMatch[];
}

export interface HttpBackendRef extends BackendRef {
  readonly filters: readonly HttpFilter[];
}

export interface HttpRouteRule {
  readonly name?: string | undefined;
  readonly matches: readonly HttpMatch[];
  readonly filters: readonly HttpFilter[];
  readonly backendRefs: readonly HttpBackendRef[];
  /** Milliseconds; 0 switches a timeout off. */
  readonly timeouts: { readonly request?: number | undefined; readonly backendRequest?: number | undefined };
  readonly retry: RouteRetry;
  readonly sessionPersistence?: SessionPersistence | undefined;
}

/** GEP-1619; by cookie. Milliseconds. */
export interface SessionPersistence {
  readonly sessionName?: string | undefined;
  readonly absoluteTimeout?: number | undefined;
  readonly cookieConfig: { readonly lifetimeType: 'Session' | 'Permanent' };
}

/** A decoded HTTPRoute, or a GRPCRoute in its terms; `kind` tells which. */
export interface HttpRoute extends Envelope {
  readonly spec: { readonly parentRefs: readonly ParentRef[]; readonly rules: readonly HttpRouteRule[] };
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const;

/** What a path match may not hold: the API server refuses the same. */
const NEVER_IN_MATCHES = ['//', '/./', '/../', '%2f', '%2F', '#'];

/** What a rule without matches, and a match without a path, takes. */
export const EVERYTHING: { readonly type: 'PathPrefix'; readonly value: string } = { type: 'PathPrefix', value: '/' };

/** Reports an expression that cannot be compiled; true where nothing was to report. */
export function checkExpression(source: string, context: Parameters<typeof complain>[0], path: PropertyKey[]): boolean {
  const problem = expressionProblem(source);
  if (problem !== null) complain(context, problem, '', path);
  return problem === null;
}

const pathMatch = object({
  type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).default('PathPrefix'),
  value: z.string().max(1024).default('/'),
}).superRefine((path, context) => {
  if (path.type === 'RegularExpression') {
    checkExpression(path.value, context, ['value']);
    return;
  }
  const { value } = path;
  if (!value.startsWith('/')) complain(context, 'must begin with "/"', '', ['value']);
  for (const part of NEVER_IN_MATCHES) {
    if (value.includes(part)) complain(context, `must not hold "${part}"`, '', ['value']);
  }
  if (value.endsWith('/..') || value.endsWith('/.')) complain(context, 'must not end in "/." or "/.."', '', ['value']);
  // RFC 3986 section 3.3: pchar and "/".
  if (!/^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$/.test(value)) {
    complain(context, 'holds characters that no path has', 'escape them as %XX', ['value']);
  }
});

const nameMatch = (longest: number): z.ZodType<NameMatch> =>
  object({
    name: headerName,
    type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
    value: z.string().min(1).max(longest),
  }).superRefine(({ type, value }, context) => {
    if (type === 'RegularExpression') checkExpression(value, context, ['value']);
  });

/** Headers or query parameters to match; `longest` bounds their values. */
export const nameMatches = (longest: number): z.ZodType<NameMatch[]> =>
  z
    .array(nameMatch(longest))
    .max(16)
    .superRefine((list, context) => {
      for (const { index, message } of unique(list, ({ name }) => name, 'name'))
        complain(context, message, '', [index]);
    });

const match = object({
  path: pathMatch.default(EVERYTHING),
  method: z.enum(METHODS).optional(),
  headers: nameMatches(4096).default([]),
  queryParams: nameMatches(1024).default([]),
});

const timeouts = object({ request: duration.optional(), backendRequest: duration.optional() }).superRefine(
  (value, context) => {
    const { request = 0, backendRequest = 0 } = value;
    if (request > 0 && backendRequest > request) {
      complain(context, 'must not be longer than timeouts.request', '', ['backendRequest']);
    }
  },
);

const sessionPersistence = object({
  sessionName: z
    .string()
    .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}$/, { error: 'must be a cookie name' })
    .optional(),
  type: z.literal('Cookie', { error: 'must be Cookie: persistence by header is not supported yet' }).default('Cookie'),
  absoluteTimeout: duration.optional(),
  idleTimeout: notYet(),
  cookieConfig: object({ lifetimeType: z.enum(['Session', 'Permanent']).default('Session') }).prefault({}),
}).superRefine(({ absoluteTimeout, cookieConfig }, context) => {
  const permanent = cookieConfig.lifetimeType === 'Permanent';
  if (permanent && absoluteTimeout === undefined)
    complain(context, 'is required for a Permanent cookie', '', ['absoluteTimeout']);
  // The API lets a session end by time whatever the cookie; only the caller could tell how old it is.
  if (!permanent && absoluteTimeout !== undefined)
    complain(context, 'is not supported yet for a Session cookie', 'lifetimeType: Permanent', ['absoluteTimeout']);
});

const rule = object({
  name: subdomain.optional(),
  matches: z
    .array(match)
    .max(64)
    .default([])
    .transform((matches) => (matches.length > 0 ? matches : [{ path: EVERYTHING, headers: [], queryParams: [] }])),
  filters: z.array(httpFilter).max(16).default([]),
  backendRefs: z
    .array(object({ ...backendFields, filters: z.array(httpFilter).max(16).default([]) }))
    .max(16)
    .default([]),
  timeouts: timeouts.default({}),
  retry: routeRetry.default({}),
  sessionPersistence: sessionPersistence.optional(),
}).superRefine((value, context) => {
  checkFilters(value.filters, context, ['filters']);
  for (const [i, backend] of value.backendRefs.entries()) {
    checkFilters(backend.filters, context, ['backendRefs', i, 'filters']);
    checkPrefix(backend.filters, value.matches, context, ['backendRefs', i, 'filters']);
    checkBeside(value.filters, backend.filters, context, ['backendRefs', i, 'filters']);
  }
  if (value.backendRefs.length > 0 && value.filters.some(({ type }) => type === 'RequestRedirect')) {
    complain(context, 'must be empty beside a RequestRedirect filter', '', ['backendRefs']);
  }
  checkPrefix(value.filters, value.matches, context, ['filters']);
});

/** The filters of a rule run before those of its backends, which then find the path as the rule has left it. */
function checkBeside(
  ofRule: readonly HttpFilter[],
  ofBackend: readonly HttpFilter[],
  context: Parameters<typeof complain>[0],
  path: readonly PropertyKey[],
): void {
  const rewrite = ofRule.find((filter) => filter.type === 'URLRewrite');
  if (rewrite === undefined) return;
  for (const [i, filter] of ofBackend.entries()) {
    if (filter.type === 'RequestRedirect') {
      complain(context, "cannot stand beside the rule's URLRewrite", '', [...path, i]);
    } else if (
      filter.type === 'URLRewrite' &&
      filter.urlRewrite.path !== undefined &&
      rewrite.urlRewrite.path !== undefined
    ) {
      complain(context, "cannot change the path that the rule's URLRewrite changes", '', [...path, i]);
    }
  }
}

/** ReplacePrefixMatch needs to know which prefix: one match, of type PathPrefix. */
function checkPrefix(
  filters: readonly HttpFilter[],
  matches: readonly HttpMatch[],
  context: Parameters<typeof complain>[0],
  path: readonly PropertyKey[],
): void {
  if (matches.length === 1 && matches[0]?.path.type === 'PathPrefix') return;
  for (const [i, filter] of filters.entries()) {
    const change =
      filter.type === 'URLRewrite'
        ? filter.urlRewrite.path
        : filter.type === 'RequestRedirect'
          ? filter.requestRedirect.path
          : undefined;
    if (change?.type !== 'ReplacePrefixMatch') continue;
    complain(context, 'ReplacePrefixMatch needs exactly one match, of type PathPrefix', '', [...path, i]);
  }
}

/** What the API asks of the rules of a route together. */
export function checkRules(
  rules: readonly { readonly name?: string | undefined; readonly matches: readonly HttpMatch[] }[],
  context: Parameters<typeof complain>[0],
): void {
  const named = rules.map(({ name }, i) => name ?? `#${i}`);
  for (const { index, message } of unique(named, String, 'rule name')) complain(context, message, '', [index, 'name']);
  const matches = rules.reduce((sum, each) => sum + each.matches.length, 0);
  if (matches > 128) complain(context, `hold ${matches} matches, at most 128 are allowed`, 'split the route');
}

const spec = object({
  parentRefs: z.array(parentRef).max(32).default([]),
  rules: z.array(rule).min(1).max(16).prefault([{}]).superRefine(checkRules),
});

export const httpRoute: Kind<HttpRoute> = {
  apiVersion: GATEWAY_VERSION,
  kind: 'HTTPRoute',
  schema: object({ ...envelope, spec }),
};
