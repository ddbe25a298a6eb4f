/**
 * `gateway.networking.k8s.io/v1` BackendTLSPolicy: a Service whose endpoints speak ordinary TLS, and which certificate they
 * must show. The certificates to trust stand in ConfigMaps beside it, under `ca.crt`.
 */
import { z } from 'zod';
import { hostname } from './connection-route.ts';
import { complain, envelope, object, subdomain, unique } from './field.ts';
import type { Envelope, Kind } from './kind.ts';
import { GATEWAY_VERSION } from './parent-ref.ts';

export interface BackendTlsTarget {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
  /** Name of a port. */
  readonly sectionName?: string | undefined;
}

export type SubjectAltName =
  | { readonly type: 'Hostname'; readonly hostname: string }
  | { readonly type: 'URI'; readonly uri: string };

export interface BackendTlsPolicy extends Envelope {
  readonly spec: {
    readonly targetRefs: readonly BackendTlsTarget[];
    readonly validation: {
      readonly caCertificateRefs: readonly { readonly group: string; readonly kind: string; readonly name: string }[];
      readonly wellKnownCACertificates?: 'System' | undefined;
      /** Asked for by SNI; also the name that the certificate must have where `subjectAltNames` is empty. */
      readonly hostname: string;
      readonly subjectAltNames: readonly SubjectAltName[];
    };
  };
}

const onlyServices = { error: 'must be Service: no other backend is supported' };

const targetRef = object({
  group: z.literal('', { error: 'must be "" (core) for kind Service' }).default(''),
  kind: z.literal('Service', onlyServices),
  name: subdomain,
  sectionName: subdomain.optional(),
});

const caCertificateRef = object({
  group: z.literal('', { error: 'must be "" (core) for kind ConfigMap' }).default(''),
  kind: z.literal('ConfigMap', { error: 'must be ConfigMap: other kinds hold no CA certificates here' }),
  name: subdomain,
});

/** A URI as RFC 3986 has it, as far as comparing it byte for byte makes sense: a scheme, and visible ASCII. */
const uri = z
  .string()
  .max(253)
  .regex(/^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[!-~]+$/, { error: 'must be a URI with a scheme, e.g. spiffe://domain/name' });

const subjectAltName = z.discriminatedUnion('type', [
  object({ type: z.literal('Hostname'), hostname }),
  object({ type: z.literal('URI'), uri }),
]);

const validation = object({
  caCertificateRefs: z.array(caCertificateRef).max(8).default([]),
  wellKnownCACertificates: z.enum(['System']).optional(),
  hostname: hostname.superRefine((value, context) => {
    if (value.startsWith('*')) complain(context, 'must be one name', 'patterns belong into subjectAltNames');
  }),
  subjectAltNames: z.array(subjectAltName).max(5).default([]),
}).superRefine(({ caCertificateRefs, wellKnownCACertificates }, context) => {
  const refs = caCertificateRefs.length > 0;
  if (refs === (wellKnownCACertificates !== undefined)) {
    const message = refs ? 'has caCertificateRefs and wellKnownCACertificates' : 'says no certificates to trust';
    complain(context, message, 'either caCertificateRefs or wellKnownCACertificates: System');
  }
});

const spec = object({
  targetRefs: z
    .array(targetRef)
    .min(1)
    .max(16)
    .superRefine((refs, context) => {
      const targets = unique(refs, ({ name, sectionName }) => `${name} ${sectionName ?? ''}`.trim(), 'target');
      for (const { index, message } of targets) complain(context, message, '', [index]);
    }),
  validation,
  // Everybody may invent some; weft has none, and an option that is skipped may be the one that mattered.
  options: z
    .record(z.string(), z.unknown())
    .default({})
    .superRefine((options, context) => {
      for (const name of Object.keys(options)) complain(context, 'is no option that weft knows', '', [name]);
    }),
}).transform(({ options: _none, ...rest }) => rest);

export const backendTlsPolicy: Kind<BackendTlsPolicy> = {
  apiVersion: GATEWAY_VERSION,
  kind: 'BackendTLSPolicy',
  schema: object({ ...envelope, spec }),
};
