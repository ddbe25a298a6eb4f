/**
 * `gateway.networking.k8s.io/v1` TLSRoute and TCPRoute: where connections go that nobody looks into. A TLSRoute reads the
 * server name of the ClientHello (RFC 6066 section 3), a TCPRoute nothing at all.
 */
import { z } from 'zod';
import { canonicalIp } from '../../../shared/address.ts';
import { complain, envelope, object, subdomain, unique } from './field.ts';
import type { Envelope, Kind } from './kind.ts';
import { type BackendRef, backendFields, GATEWAY_VERSION, type ParentRef, parentRef } from './parent-ref.ts';

export interface ConnectionRouteRule {
  readonly name?: string | undefined;
  readonly backendRefs: readonly BackendRef[];
}

/** A decoded TLSRoute or TCPRoute; `kind` tells which. */
export interface ConnectionRoute extends Envelope {
  readonly spec: {
    readonly parentRefs: readonly ParentRef[];
    /** Lower case, perhaps beginning with `*.`; none (as in every TCPRoute): whatever the caller asks for. */
    readonly hostnames: readonly string[];
    readonly rules: readonly ConnectionRouteRule[];
  };
}

/** A host name as certificates and server names have it, in small letters as the API asks; `*.` may stand before it. */
export const hostname: z.ZodType<string> = z
  .string()
  .max(253)
  .superRefine((value, context) => {
    const rest = value.startsWith('*.') ? value.slice(2) : value;
    if (canonicalIp(rest) !== null)
      complain(context, `is an IP address: "${value}"`, 'no server name is one (RFC 6066)');
    else if (!subdomain.safeParse(rest).success) {
      complain(context, `is no host name: "${value}"`, 'e.g. db.example.com or *.example.com');
    }
  });

const rule = object({
  name: subdomain.optional(),
  backendRefs: z.array(object(backendFields)).min(1).max(16),
});

/** Both kinds have no matches in their rules, so a second rule could never be reached. */
const rules = z
  .array(rule)
  .min(1)
  .max(16)
  .superRefine((list, context) => {
    for (const i of list.keys()) {
      if (i > 0)
        complain(context, 'can never be reached: rules of this kind match everything', 'join their backends', [i]);
    }
  });

const parentRefs = z.array(parentRef).max(32).default([]);

const hostnames = z
  .array(hostname)
  .max(16)
  .default([])
  .superRefine((list, context) => {
    for (const { index, message } of unique(list, String, 'host name')) complain(context, message, '', [index]);
  });

export const tlsRoute: Kind<ConnectionRoute> = {
  apiVersion: GATEWAY_VERSION,
  kind: 'TLSRoute',
  schema: object({ ...envelope, spec: object({ parentRefs, hostnames, rules }) }),
};

export const tcpRoute: Kind<ConnectionRoute> = {
  apiVersion: GATEWAY_VERSION,
  kind: 'TCPRoute',
  schema: object({
    ...envelope,
    spec: object({ parentRefs, rules }).transform((spec) => ({ ...spec, hostnames: [] })),
  }),
};
