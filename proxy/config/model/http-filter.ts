/** The filters of HTTPRoute and GRPCRoute (Gateway API v1, HTTPRouteFilter). */
import { z } from 'zod';
import { fieldProblem } from '../../policy/field-rules.ts';
import { complain, label, object, port, subdomain, text, unique } from './field.ts';

export interface Header {
  readonly name: string;
  readonly value: string;
}

export interface HeaderChange {
  readonly set: readonly Header[];
  readonly add: readonly Header[];
  readonly remove: readonly string[];
}

export type PathChange =
  | { readonly type: 'ReplaceFullPath'; readonly replaceFullPath: string }
  | { readonly type: 'ReplacePrefixMatch'; readonly replacePrefixMatch: string };

export interface RequestMirror {
  readonly backendRef: { readonly namespace?: string | undefined; readonly name: string; readonly port: number };
  /** Of the requests, from 0 to 1. */
  readonly share: number;
}

export type HttpFilter =
  | { readonly type: 'RequestMirror'; readonly requestMirror: RequestMirror }
  | { readonly type: 'RequestHeaderModifier'; readonly requestHeaderModifier: HeaderChange }
  | { readonly type: 'ResponseHeaderModifier'; readonly responseHeaderModifier: HeaderChange }
  | {
      readonly type: 'RequestRedirect';
      readonly requestRedirect: {
        readonly scheme?: 'http' | 'https' | undefined;
        readonly hostname?: string | undefined;
        readonly path?: PathChange | undefined;
        readonly port?: number | undefined;
        readonly statusCode: number;
      };
    }
  | {
      readonly type: 'URLRewrite';
      readonly urlRewrite: { readonly hostname?: string | undefined; readonly path?: PathChange | undefined };
    }
  | {
      readonly type: 'CORS';
      readonly cors: {
        readonly allowOrigins: readonly string[];
        readonly allowCredentials: boolean;
        readonly allowMethods: readonly string[];
        readonly allowHeaders: readonly string[];
        readonly exposeHeaders: readonly string[];
        /** Seconds. */
        readonly maxAge: number;
      };
    };

/** RFC 9110 section 5.6.2, as Gateway API bounds it. */
export const headerName: z.ZodType<string> = text(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, 'a header name', 256);

/** The name of a field that a filter may write. */
const changeable = z
  .string()
  .max(256)
  .superRefine((name, context) => {
    const problem = fieldProblem(name, '');
    if (problem !== null) complain(context, problem, '');
  });

const headerValue = z
  .string()
  .max(4096)
  .superRefine((value, context) => {
    const problem = fieldProblem('x', value);
    if (problem !== null) complain(context, 'holds characters that a header field cannot carry', '');
  });

const header = object({ name: changeable, value: headerValue });

const headerChange = object({
  set: z.array(header).max(16).default([]),
  add: z.array(header).max(16).default([]),
  remove: z.array(changeable).max(16).default([]),
}).superRefine((change, context) => {
  for (const list of ['set', 'add'] as const) {
    const repeated = unique(change[list], ({ name }) => name.toLowerCase(), 'header');
    for (const { index, message } of repeated) complain(context, message, '', [list, index]);
  }
  const repeated = unique(change.remove, (name) => name.toLowerCase(), 'header');
  for (const { index, message } of repeated) complain(context, message, '', ['remove', index]);
});

/** Gateway API's PreciseHostname: no wildcard, no port. */
const hostname = text(
  /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/,
  'a lower-case host name without port',
);

const newPath = text(/^\/[^\s?#\\]*$/, 'a path that begins with "/"', 1024);
const newPrefix = text(/^(?:\/[^\s?#\\]*)?$/, 'a path that begins with "/", or empty', 1024);

const pathChange = z.discriminatedUnion('type', [
  object({ type: z.literal('ReplaceFullPath'), replaceFullPath: newPath }),
  object({ type: z.literal('ReplacePrefixMatch'), replacePrefixMatch: newPrefix }),
]);

const redirect = object({
  scheme: z.enum(['http', 'https']).optional(),
  hostname: hostname.optional(),
  path: pathChange.optional(),
  port: port.optional(),
  statusCode: z.literal([301, 302, 303, 307, 308]).default(302),
});

/** `*`, or scheme://host[:port] whose host is `*` or may begin with `*.` (Gateway API, HTTPCORSFilter.allowOrigins). */
const origin = text(
  /^(?:\*|[a-z][a-z0-9+.-]*:\/\/(?:\*|(?:\*\.)?[A-Za-z0-9.-]+)(?::[0-9]{1,5})?)$/,
  'an origin such as https://example.com',
);
const methodOrAny = text(/^(?:\*|[A-Z]+)$/, 'a method, or "*"', 16);
const headerOrAny = text(/^(?:\*|[A-Za-z0-9!#$%&'*+\-.^_`|~]+)$/, 'a header name, or "*"', 256);

const cors = object({
  allowOrigins: z.array(origin).max(64).default([]),
  allowCredentials: z.boolean().default(false),
  allowMethods: z.array(methodOrAny).max(9).default([]),
  allowHeaders: z.array(headerOrAny).max(64).default([]),
  exposeHeaders: z.array(headerOrAny).max(64).default([]),
  // Seconds a browser may keep the answer: the API's default, which is the Fetch standard's.
  maxAge: z
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(5),
});

/** Filters of the API that weft does not act on yet; the type itself is refused, whatever stands beside it. */
const refused = z.looseObject({
  type: z.enum(['ExternalAuth', 'ExtensionRef']).superRefine((type, context) => {
    complain(context, `${type} is not supported yet`, '');
  }),
});

const fraction = object({
  numerator: z.int().min(0),
  denominator: z.int().min(1).default(100),
}).superRefine(({ numerator, denominator }, context) => {
  if (numerator > denominator) complain(context, 'must not be above the denominator', '', ['numerator']);
});

/** Gateway API, HTTPRequestMirrorFilter. */
const requestMirror = object({
  backendRef: object({
    group: z.literal('', { error: 'must be "" (core): only Services can be backends' }).default(''),
    kind: z.literal('Service', { error: 'must be Service: no other backend is supported' }).default('Service'),
    namespace: label.optional(),
    name: subdomain,
    port,
  }),
  percent: z.int().min(0).max(100).optional(),
  fraction: fraction.optional(),
})
  .superRefine((mirror, context) => {
    if (mirror.percent !== undefined && mirror.fraction !== undefined)
      complain(context, 'cannot stand beside percent', '', ['fraction']);
  })
  .transform(({ backendRef, percent = 100, fraction: part }): RequestMirror => {
    const share = part === undefined ? percent / 100 : part.numerator / part.denominator;
    return { backendRef, share };
  });

const MIRROR = object({ type: z.literal('RequestMirror'), requestMirror });

const MODIFIERS = [
  object({ type: z.literal('RequestHeaderModifier'), requestHeaderModifier: headerChange }),
  object({ type: z.literal('ResponseHeaderModifier'), responseHeaderModifier: headerChange }),
] as const;

// The refused branch always complains, so what comes out of these is one of the others.
export const httpFilter: z.ZodType<HttpFilter> = z
  .discriminatedUnion('type', [
    ...MODIFIERS,
    object({ type: z.literal('RequestRedirect'), requestRedirect: redirect }),
    object({
      type: z.literal('URLRewrite'),
      urlRewrite: object({ hostname: hostname.optional(), path: pathChange.optional() }),
    }),
    object({ type: z.literal('CORS'), cors }),
    MIRROR,
    refused,
  ])
  .transform((filter) => filter as HttpFilter);

export const grpcFilter: z.ZodType<HttpFilter> = z
  .discriminatedUnion('type', [...MODIFIERS, MIRROR, refused])
  .transform((filter) => filter as HttpFilter);

/** Each of these may stand once in a rule; a redirect answers at once, so nothing may be rewritten beside it. */
export function checkFilters(
  filters: readonly HttpFilter[],
  context: Parameters<typeof complain>[0],
  path: readonly PropertyKey[],
): void {
  // A request may be mirrored to several.
  const once = (type: string, i: number): string => (type === 'RequestMirror' ? `${type} ${i}` : type);
  const types = filters.map(({ type }, i) => once(type, i));
  for (const { index, message } of unique(types, String, 'filter')) {
    complain(context, message, 'one of each type', [...path, index]);
  }
  const rewrite = filters.findIndex(({ type }) => type === 'URLRewrite');
  if (rewrite >= 0 && filters.some(({ type }) => type === 'RequestRedirect')) {
    complain(context, 'URLRewrite cannot stand beside RequestRedirect', '', [...path, rewrite]);
  }
}
