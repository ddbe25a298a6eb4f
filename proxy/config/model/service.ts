/** `v1` Service: who can be called, under which name, address and ports. */
import { z } from 'zod';
import { canonicalIp } from '../../../shared/address.ts';
import { complain, envelope, label, labels, metadata, object, port, subdomain, unique } from './field.ts';
import type { Envelope, Kind, Metadata } from './kind.ts';

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** On the endpoint; a name is one of a container port, which only EndpointSlices can resolve. */
  readonly targetPort?: number | string | undefined;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly appProtocol?: string | undefined;
}

export interface Service extends Envelope {
  readonly spec: {
    readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
    readonly externalName?: string | undefined;
    readonly selector: Readonly<Record<string, string>>;
    /** Canonical, the primary one first; empty for a headless Service and where none is written. */
    readonly clusterIPs: readonly string[];
    readonly headless: boolean;
    readonly ports: readonly ServicePort[];
  };
}

/** The values of `appProtocol` that weft knows; another one is refused, because guessing would change what is called. */
const APP_PROTOCOLS: readonly string[] = [
  'http',
  'http2',
  'grpc',
  'https',
  'tls',
  'tcp',
  'kubernetes.io/h2c',
  'kubernetes.io/ws',
  'kubernetes.io/wss',
];

const servicePort = object({
  name: label.default(''),
  port,
  targetPort: z.union([port, label], { error: 'must be a port number or the name of a container port' }).optional(),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
  appProtocol: z.enum(APP_PROTOCOLS).optional(),
});

const address = z.string().superRefine((value, context) => {
  if (value !== 'None' && canonicalIp(value) === null) {
    complain(context, `is no IP address: "${value}"`, 'an IPv4 or IPv6 address, or None');
  }
});

const spec = object({
  type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).default('ClusterIP'),
  externalName: subdomain.optional(),
  selector: labels.default({}),
  clusterIP: z.union([z.literal(''), address]).optional(),
  clusterIPs: z.array(address).max(2).optional(),
  ports: z.array(servicePort).default([]),
})
  .superRefine((service, context) => {
    const external = service.type === 'ExternalName';
    if (external && service.externalName === undefined) {
      complain(context, 'is required with type: ExternalName', 'the DNS name to call', ['externalName']);
    }
    if (!external && service.externalName !== undefined) {
      complain(context, 'needs type: ExternalName', '', ['externalName']);
    }
    if (service.ports.length > 1) {
      for (const [i, each] of service.ports.entries()) {
        if (each.name === '')
          complain(context, 'is required where there is more than one port', '', ['ports', i, 'name']);
      }
    }
    const named = service.ports.map((each, i) => (each.name === '' ? `#${i}` : each.name));
    for (const { index, message } of unique(named, String, 'name')) complain(context, message, '', ['ports', index]);
    const numbers = service.ports.map((each) => `${each.port}/${each.protocol}`);
    for (const { index, message } of unique(numbers, String, 'port')) complain(context, message, '', ['ports', index]);
  })
  .transform(({ clusterIP, clusterIPs, ...service }) => {
    const written = clusterIPs ?? (clusterIP === undefined || clusterIP === '' ? [] : [clusterIP]);
    return {
      ...service,
      clusterIPs: written.filter((each) => each !== 'None').map((each) => canonicalIp(each) as string),
      headless: written.includes('None'),
    };
  });

/** A Service's name must be one label: it is the first label of its host names. */
const serviceMetadata: z.ZodType<Metadata> = metadata.superRefine((value, context) => {
  if (value.name.includes('.') || value.name.length > 63) {
    complain(context, 'must be one DNS label', 'lower-case letters, digits and "-", at most 63', ['name']);
  }
  const mtls = value.annotations['weft.dev/mtls'];
  if (mtls !== undefined && mtls !== 'disabled') {
    complain(context, `must be "disabled", not "${mtls}"`, 'leave it out for mutual TLS', [
      'annotations',
      'weft.dev/mtls',
    ]);
  }
  const path = ['annotations', 'weft.dev/identities'];
  for (const id of serviceIdentities(value)) {
    if (!/^spiffe:\/\/[a-z0-9._-]+(?:\/[A-Za-z0-9._-]+)+$/.test(id)) {
      complain(context, `holds "${id}", which is no SPIFFE ID`, 'spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT', path);
    }
  }
});

/** The SPIFFE IDs that `weft.dev/identities` lists, separated by commas. */
export function serviceIdentities({ annotations }: Metadata): string[] {
  const written = annotations['weft.dev/identities'];
  return written === undefined ? [] : written.split(',').map((id) => id.trim());
}

export const service: Kind<Service> = {
  apiVersion: 'v1',
  kind: 'Service',
  schema: object({ ...envelope, metadata: serviceMetadata, spec }),
};
