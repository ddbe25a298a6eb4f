/** Pieces of linked policy as `explain` shows them. */
import type { Destination } from '../config/link.ts';
import type { ConnectionRuleSpec, HttpMatchSpec, RuleSpec, ServicePortSpec } from '../config/snapshot.ts';
import type { RequestHead } from '../http/message.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { BackendView, ConnectionView, RequestView, RouteView, ServiceView } from './explanation.ts';

/** `ownId`: the request id is the caller's; weft's own differs each time and is left out. */
export function requestView(head: RequestHead, ownId: boolean): RequestView {
  const { method, scheme, authority, path, fields } = head;
  const headers = fields.names
    .map((name, i) => [name, fields.values[i] as string] as const)
    .filter(([name]) => ownId || name.toLowerCase() !== 'x-request-id');
  return { method, scheme, authority, path, headers };
}

/** null for a stranger. */
export function serviceView({ service, cluster }: Destination, port: ServicePortSpec | null): ServiceView | null {
  if (port === null) return null;
  const { file, line } = cluster.spec.source;
  const { namespace, name } = service;
  return { namespace, name, port: port.port, protocol: port.protocol, routed: port.routed, file, line };
}

export function routeView({ name, source }: RuleSpec, match: HttpMatchSpec): RouteView {
  return { name, document: source.name, file: source.file, line: source.line, match };
}

export function connectionView({ name, source, hostnames }: ConnectionRuleSpec): ConnectionView {
  return { name, document: source.name, file: source.file, line: source.line, hostnames };
}

/** What came of one request at one backend. */
export type Fate = Pick<BackendView, 'share' | 'verdict' | 'filters' | 'request' | 'responseChanges' | 'authorization'>;

export function backendView(cluster: Cluster | null, fate: Fate, trustDomain: string): BackendView {
  if (cluster === null) return { cluster: null, ...fate, ...NOTHING };
  const { spec } = cluster;
  const endpoints = [...cluster.endpoints.values()].map(({ key, ready, zone, weight, meshTls }) => {
    return { address: key, ready, zone, weight, mutualTls: meshTls };
  });
  const mutualTls = endpoints.some((endpoint) => endpoint.mutualTls);
  const anyAccount = `spiffe://${trustDomain}/ns/${spec.namespace}/sa/*`;
  const named = spec.identities.length > 0 ? spec.identities : [anyAccount];
  return {
    cluster: cluster.key,
    ...fate,
    file: spec.source.file,
    line: spec.source.line,
    protocol: spec.protocol,
    mutualTls,
    identities: mutualTls ? named : [],
    backendTls: backendTlsView(spec.backendTls),
    loadBalancer: spec.loadBalancer.type,
    connectTimeoutMs: spec.connectTimeoutMs,
    endpoints,
  };
}

function backendTlsView(spec: Cluster['spec']['backendTls']): BackendView['backendTls'] {
  if (spec === null) return null;
  const { source, serverName, names } = spec;
  const { file, line } = source;
  return { document: source.name, file, line, serverName, names: names.map(({ value }) => value) };
}

const NOTHING = {
  file: '',
  line: 0,
  protocol: '',
  mutualTls: false,
  identities: [],
  backendTls: null,
  loadBalancer: '',
  connectTimeoutMs: 0,
  endpoints: [],
} as const;
