/**
 * `gateway.networking.k8s.io/v1` GRPCRoute. To the data plane a gRPC method is a path, `/SERVICE/METHOD`, so what comes out
 * has the shape of an HTTPRoute.
 */
import { z } from 'zod';
import { complain, envelope, notYet, object, subdomain } from './field.ts';
import { checkFilters, grpcFilter } from './http-filter.ts';
import { checkExpression, checkRules, EVERYTHING, type HttpMatch, type HttpRoute, nameMatches } from './http-route.ts';
import type { Kind } from './kind.ts';
import { backendFields, GATEWAY_VERSION, parentRef } from './parent-ref.ts';

interface MethodMatch {
  readonly type: 'Exact' | 'RegularExpression';
  readonly service?: string | undefined;
  readonly method?: string | undefined;
}

/** The API's own forms of names that are matched exactly. */
const NAMES = {
  service: { pattern: /^\.?[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*$/, form: 'a gRPC service name' },
  method: { pattern: /^[A-Za-z_][A-Za-z_0-9]*$/, form: 'a gRPC method name' },
} as const;
const PARTS = ['service', 'method'] as const;

const methodMatch = object({
  type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
  service: z.string().max(1024).optional(),
  method: z.string().max(1024).optional(),
})
  .superRefine(checkMethod)
  .transform(pathOf);

function checkMethod(match: MethodMatch, context: Parameters<typeof complain>[0]): void {
  const { type, service, method } = match;
  if (service === undefined && method === undefined) {
    complain(context, 'needs a service or a method', 'leave it out to match every call');
    return;
  }
  const written = PARTS.filter((part) => match[part] !== undefined);
  if (type === 'Exact') {
    for (const part of written) {
      const { pattern, form } = NAMES[part];
      if (!pattern.test(match[part] ?? '')) complain(context, `must be ${form}`, '', [part]);
    }
  } else if (written.map((part) => checkExpression(match[part] ?? '', context, [part])).every(Boolean)) {
    checkExpression(pathOf(match).value, context, []);
  }
}

function pathOf({ type, service, method }: MethodMatch): HttpMatch['path'] {
  if (type === 'RegularExpression') return { type, value: `/${group(service)}/${group(method)}` };
  if (service === undefined) return { type: 'AnyService', value: method ?? '' };
  if (method === undefined) return { type: 'PathPrefix', value: `/${service}` };
  return { type, value: `/${service}/${method}` };
}

/** What is left out matches any name. */
function group(expression: string | undefined): string {
  return expression === undefined ? '[^/]+' : `(?:${expression})`;
}

const match = object({ method: methodMatch.optional(), headers: nameMatches(4096).default([]) }).transform(
  ({ method, headers }): HttpMatch => ({ path: method ?? EVERYTHING, headers, queryParams: [] }),
);

const rule = object({
  name: subdomain.optional(),
  matches: z
    .array(match)
    .max(64)
    .default([])
    .transform((matches) => (matches.length > 0 ? matches : [{ path: EVERYTHING, headers: [], queryParams: [] }])),
  filters: z.array(grpcFilter).max(16).default([]),
  backendRefs: z
    .array(object({ ...backendFields, filters: z.array(grpcFilter).max(16).default([]) }))
    .max(16)
    .default([]),
  sessionPersistence: notYet(),
})
  .superRefine((value, context) => {
    checkFilters(value.filters, context, ['filters']);
    for (const [i, backend] of value.backendRefs.entries()) {
      checkFilters(backend.filters, context, ['backendRefs', i, 'filters']);
    }
  })
  // The API has no timeouts and retries here; a TrafficPolicy has.
  .transform((value) => ({ ...value, timeouts: {}, retry: {} }));

const spec = object({
  parentRefs: z.array(parentRef).max(32).default([]),
  rules: z.array(rule).min(1).max(16).prefault([{}]).superRefine(checkRules),
});

export const grpcRoute: Kind<HttpRoute> = {
  apiVersion: GATEWAY_VERSION,
  kind: 'GRPCRoute',
  schema: object({ ...envelope, spec }),
};
