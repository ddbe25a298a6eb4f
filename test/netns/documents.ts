/** Policy of the pods under test, as their cluster would write it. */

import type { Pod } from '../support/pods.ts';
import { document, PLAIN } from '../support/policy.ts';

export interface PodService {
  readonly name: string;
  /** Empty: headless. */
  readonly clusterIPs: readonly string[];
  /** Service port to the port of the pods. */
  readonly ports: readonly { readonly name: string; readonly port: number; readonly targetPort: number }[];
  readonly pods: readonly Pod[];
  readonly selector?: Readonly<Record<string, string>>;
  /** Its pods have no sidecar. */
  readonly plain?: true;
  /** Each pod is one endpoint, else two. */
  readonly ipv4Only?: true;
}

/** A Service and a slice of each family. */
export function serviceOf({ name, clusterIPs, ports, pods, selector, plain, ipv4Only }: PodService): string[] {
  const slice = (addressType: 'IPv4' | 'IPv6', addresses: readonly string[]): string =>
    document({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${name}-${addressType.toLowerCase()}`, labels: { 'kubernetes.io/service-name': name } },
      addressType,
      ports: ports.map((port) => ({ name: port.name, port: port.targetPort, protocol: 'TCP' })),
      endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    });
  const spec = { clusterIPs: clusterIPs.length === 0 ? ['None'] : clusterIPs, ports, selector };
  return [
    document({ apiVersion: 'v1', kind: 'Service', metadata: { name, annotations: plain ? PLAIN : undefined }, spec }),
    slice(
      'IPv4',
      pods.map(({ ipv4 }) => ipv4),
    ),
    ...(ipv4Only
      ? []
      : [
          slice(
            'IPv6',
            pods.map(({ ipv6 }) => ipv6),
          ),
        ]),
  ];
}

export interface PeerModes {
  readonly name: string;
  readonly mode?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ports?: Readonly<Record<string, string>>;
}

export function peerAuthentication({ name, mode = 'STRICT', labels, ports = {} }: PeerModes): string {
  const portLevelMtls = Object.fromEntries(Object.entries(ports).map(([port, own]) => [port, { mode: own }]));
  const selector = labels === undefined ? undefined : { matchLabels: labels };
  return document({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name },
    spec: { selector, mtls: { mode }, ...(labels === undefined ? {} : { portLevelMtls }) },
  });
}

export function meshOf(outbound: 'ALLOW_ANY' | 'REGISTRY_ONLY'): string {
  return document({
    apiVersion: 'weft.dev/v1',
    kind: 'Mesh',
    metadata: { name: 'mesh' },
    spec: { outboundTrafficPolicy: { mode: outbound } },
  });
}

/** Marks what goes by the Service's routes: the answer carries `x-route: NAME`. */
export function markedRoute(service: string, port: number): string {
  return document({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `${service}-marked` },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: service, port }],
      rules: [
        {
          filters: [
            { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'x-route', value: service }] } },
          ],
          backendRefs: [{ name: service, port }],
        },
      ],
    },
  });
}
