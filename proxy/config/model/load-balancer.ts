/** TrafficPolicy `loadBalancer`, in the names of Envoy Gateway; PeakEWMA and `table` are weft's own. */
import { z } from 'zod';
import { complain, notYet, object, positiveDuration } from './field.ts';
import { headerName } from './http-filter.ts';

export interface LoadBalancer {
  readonly type: 'RoundRobin' | 'LeastRequest' | 'Random' | 'PeakEWMA' | 'ConsistentHash';
  readonly consistentHash?:
    | {
        readonly type: 'SourceIP' | 'Header' | 'Headers' | 'Cookie' | 'QueryParams';
        readonly table: 'Maglev' | 'RingHash';
        readonly header?: { readonly name: string } | undefined;
        readonly headers?: readonly { readonly name: string }[] | undefined;
        readonly cookie?: { readonly name: string } | undefined;
        readonly queryParams?: readonly { readonly name: string }[] | undefined;
      }
    | undefined;
  /** Milliseconds. */
  readonly slowStart?: { readonly window: number } | undefined;
  readonly zoneAware?:
    | {
        readonly preferLocal: {
          readonly minEndpointsThreshold: number;
          readonly force?: { readonly minEndpointsInZoneThreshold: number } | undefined;
        };
      }
    | undefined;
}

const named = object({ name: headerName });
const cookieName = z.string().regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}$/, { error: 'must be a cookie name' });
const parameter = object({ name: z.string().min(1).max(256) });

/** Which field each type of hash reads. */
const FIELD_OF = {
  SourceIP: null,
  Header: 'header',
  Headers: 'headers',
  Cookie: 'cookie',
  QueryParams: 'queryParams',
} as const;

const consistentHash = object({
  type: z.enum(['SourceIP', 'Header', 'Headers', 'Cookie', 'QueryParams']),
  table: z.enum(['Maglev', 'RingHash']).default('Maglev'),
  header: named.optional(),
  headers: z.array(named).min(1).max(8).optional(),
  cookie: object({ name: cookieName, ttl: notYet(), attributes: notYet() }).optional(),
  queryParams: z.array(parameter).min(1).max(8).optional(),
  tableSize: notYet(),
}).superRefine((hash, context) => {
  const wanted = FIELD_OF[hash.type];
  if (wanted !== null && hash[wanted] === undefined)
    complain(context, `is required for type ${hash.type}`, '', [wanted]);
  for (const field of ['header', 'headers', 'cookie', 'queryParams'] as const) {
    if (field !== wanted && hash[field] !== undefined)
      complain(context, `has no meaning for type ${hash.type}`, '', [field]);
  }
});

const threshold = z.int().min(0).max(10_000);

/** Without `force` as much stays in the own zone as leaves all endpoints equally busy; zones are taken to have equally many callers. */
const zoneAware = object({
  preferLocal: object({
    // Two: with fewer there is nothing to choose. Endpoints of all zones together.
    minEndpointsThreshold: threshold.default(2),
    force: object({ minEndpointsInZoneThreshold: threshold.default(1) }).optional(),
    percentageEnabled: notYet(),
  }),
  weightedZones: notYet(),
});

export const loadBalancer: z.ZodType<LoadBalancer> = object({
  type: z.enum(['RoundRobin', 'LeastRequest', 'Random', 'PeakEWMA', 'ConsistentHash']),
  consistentHash: consistentHash.optional(),
  slowStart: object({ window: positiveDuration }).optional(),
  zoneAware: zoneAware.optional(),
  endpointOverride: notYet(),
}).superRefine((value, context) => {
  const hashed = value.type === 'ConsistentHash';
  if (hashed && value.consistentHash === undefined)
    complain(context, 'is required for type ConsistentHash', '', ['consistentHash']);
  if (!hashed && value.consistentHash !== undefined)
    complain(context, `has no meaning for type ${value.type}`, '', ['consistentHash']);
});
