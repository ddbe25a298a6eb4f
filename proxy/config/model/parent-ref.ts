/** What all routes share: the parents they hang on and the backends they send to (Gateway API v1, GAMMA). */
import { z } from 'zod';
import { complain, label, object, port, subdomain } from './field.ts';

const GATEWAY_GROUP = 'gateway.networking.k8s.io';
export const GATEWAY_VERSION: string = `${GATEWAY_GROUP}/v1`;

export interface ParentRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly sectionName?: string | undefined;
  readonly port?: number | undefined;
}

export interface BackendRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly port: number;
  readonly weight: number;
}

/** A Service, or a Gateway, which is for whoever stands at the edge. */
export const parentRef: z.ZodType<ParentRef> = object({
  group: z.string().default(GATEWAY_GROUP),
  kind: z.string().default('Gateway'),
  namespace: label.optional(),
  name: subdomain,
  sectionName: subdomain.optional(),
  port: port.optional(),
}).superRefine((ref, context) => {
  if (ref.kind === 'Service' && ref.group !== '') {
    complain(context, 'must be "" for kind Service', 'group: ""', ['group']);
  } else if (ref.kind === 'Gateway' && ref.group !== GATEWAY_GROUP) {
    complain(context, 'must be "gateway.networking.k8s.io" for kind Gateway', '', ['group']);
  } else if (ref.kind !== 'Service' && ref.kind !== 'Gateway') {
    complain(context, `is no parent that weft knows: "${ref.kind}"`, 'Service or Gateway', ['kind']);
  }
});

/** Fields of a backend reference, for a kind of route to add its own to. */
export const backendFields: {
  readonly group: z.ZodType<string>;
  readonly kind: z.ZodType<string>;
  readonly namespace: z.ZodType<string | undefined>;
  readonly name: z.ZodType<string>;
  readonly port: z.ZodType<number>;
  readonly weight: z.ZodType<number>;
} = {
  group: z.literal('', { error: 'must be "" (core): only Services can be backends' }).default(''),
  kind: z.literal('Service', { error: 'must be Service: no other backend is supported' }).default('Service'),
  namespace: label.optional(),
  name: subdomain,
  port,
  weight: z.int().min(0).max(1_000_000).default(1),
};
