/** `discovery.k8s.io/v1` EndpointSlice: the addresses behind a Service. */
import { z } from 'zod';
import { canonicalIp } from '../../../shared/address.ts';
import { complain, envelope, object, port, subdomain } from './field.ts';
import type { Envelope, Kind } from './kind.ts';

/** The label that says whose endpoints a slice holds. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

export interface SliceEndpoint {
  /** Canonical IP addresses or, with addressType FQDN, DNS names. They are one endpoint: the first is used. */
  readonly addresses: readonly string[];
  readonly conditions: {
    readonly ready?: boolean | undefined;
    readonly serving?: boolean | undefined;
    readonly terminating: boolean;
  };
  readonly zone: string;
}

export interface EndpointSlice extends Envelope {
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints: readonly SliceEndpoint[];
  readonly ports: readonly {
    readonly name: string;
    /** Absent: every port, which weft cannot call and passes over. */
    readonly port?: number | undefined;
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
    readonly appProtocol?: string | undefined;
  }[];
}

const endpoint = object({
  addresses: z.array(z.string()).min(1).max(100),
  conditions: object({
    ready: z.boolean().optional(),
    serving: z.boolean().optional(),
    terminating: z.boolean().default(false),
  }).default({ terminating: false }),
  zone: z.string().max(63).default(''),
});

const schema = object({
  ...envelope,
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: z.array(endpoint).max(1000).default([]),
  ports: z
    .array(
      object({
        name: z.string().max(63).default(''),
        port: port.optional(),
        protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
        appProtocol: z.string().optional(),
      }),
    )
    .max(20_000)
    .default([]),
})
  .superRefine((slice, context) => {
    if (slice.metadata.labels[SERVICE_NAME_LABEL] === undefined) {
      complain(context, `needs the label ${SERVICE_NAME_LABEL}`, 'the name of the Service', ['metadata', 'labels']);
    }
    const path = ['metadata', 'annotations', 'weft.dev/mtls'];
    const mtls = slice.metadata.annotations['weft.dev/mtls'];
    if (mtls !== undefined && mtls !== 'disabled') {
      complain(context, `must be "disabled", not "${mtls}"`, 'leave it out for mutual TLS', path);
    }
    for (const [i, { addresses }] of slice.endpoints.entries()) {
      for (const [j, address] of addresses.entries()) {
        if (isOfType(address, slice.addressType)) continue;
        complain(context, `is no address of addressType ${slice.addressType}: "${address}"`, '', [
          'endpoints',
          i,
          'addresses',
          j,
        ]);
      }
    }
  })
  .transform((slice) => ({
    ...slice,
    endpoints: slice.endpoints.map((each) => ({
      ...each,
      addresses: each.addresses.map((address) => canonicalIp(address) ?? address.toLowerCase()),
    })),
  }));

function isOfType(address: string, type: EndpointSlice['addressType']): boolean {
  const ip = canonicalIp(address);
  if (type === 'FQDN') return ip === null && subdomain.safeParse(address.toLowerCase()).success;
  return ip !== null && address.includes(':') === (type === 'IPv6');
}

export const endpointSlice: Kind<EndpointSlice> = { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', schema };
