/** `weft.dev/v1` Mesh, at most one: settings of the whole mesh, named as in Istio's MeshConfig (CONTRACT). */
import { z } from 'zod';
import { Cidr } from '../../../shared/address.ts';
import { complain, envelope, label, object, subdomain } from './field.ts';
import type { Envelope, Kind } from './kind.ts';

export interface Mesh extends Envelope {
  readonly spec: {
    readonly trustDomain: string;
    readonly trustDomainAliases: readonly string[];
    readonly clusterDomain: string;
    readonly rootNamespace: string;
    readonly outboundTrafficPolicy: { readonly mode: 'ALLOW_ANY' | 'REGISTRY_ONLY' };
    readonly pathNormalization: {
      readonly normalization: 'DEFAULT' | 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';
    };
    readonly trustedForwarders: readonly string[];
  };
}

/** What holds without a Mesh document, and field by field with one. */
export const MESH_DEFAULTS: Mesh['spec'] = {
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  clusterDomain: 'cluster.local',
  rootNamespace: 'istio-system',
  outboundTrafficPolicy: { mode: 'ALLOW_ANY' },
  pathNormalization: { normalization: 'BASE' },
  trustedForwarders: [],
};

/** SPIFFE ID standard, section 2.1: lower case, digits, "-", "." and "_". */
const trustDomain = z.string().superRefine((value, context) => {
  if (/^[a-z0-9._-]{1,255}$/.test(value)) return;
  complain(context, `is no trust domain: "${value}"`, 'lower-case letters, digits, ".", "-" and "_"');
});

const cidr = z.string().superRefine((value, context) => {
  if (Cidr.parse(value) === null) complain(context, `is no address block: "${value}"`, 'e.g. 10.0.0.0/8 or fd00::/8');
});

const spec = object({
  trustDomain: trustDomain.default(MESH_DEFAULTS.trustDomain),
  trustDomainAliases: z.array(trustDomain).default([]),
  clusterDomain: subdomain.default(MESH_DEFAULTS.clusterDomain),
  rootNamespace: label.default(MESH_DEFAULTS.rootNamespace),
  outboundTrafficPolicy: object({
    mode: z.enum(['ALLOW_ANY', 'REGISTRY_ONLY']).default('ALLOW_ANY'),
  }).default({ mode: 'ALLOW_ANY' }),
  pathNormalization: object({
    normalization: z.enum(['DEFAULT', 'NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES']).default('BASE'),
  }).default({ normalization: 'BASE' }),
  trustedForwarders: z.array(cidr).default([]),
});

export const mesh: Kind<Mesh> = {
  apiVersion: 'weft.dev/v1',
  kind: 'Mesh',
  schema: object({ ...envelope, spec: spec.prefault({}) }),
};
