/** Policy for tests: short ways to write documents, to compile them, and to look into the snapshot. */
import { expect } from 'vitest';
import { compile, type Self } from '../../proxy/config/compile.ts';
import type { ClusterSpec, ServicePortSpec, Snapshot } from '../../proxy/config/snapshot.ts';

/** A workload of catalog v1 in namespace shop. */
export const SELF: Self = { namespace: 'shop', labels: { app: 'catalog', version: 'v1' }, serviceAccount: 'default' };

/** The snapshot of one policy file; fails the test where there is any problem. */
export function snapshotOf(text: string, self: Self = SELF): Snapshot {
  const { snapshot, problems } = compile([{ path: 'policy.yaml', text }], self);
  expect(problems).toEqual([]);
  if (snapshot === null) throw new Error('refused without a problem');
  return snapshot;
}

/** One document, with the separator before it; `metadata` continues the map after the name. */
export function document(type: string, name: string, spec: string, metadata = ''): string {
  return `---\n${TYPES[type] ?? type}\nmetadata: {name: ${name}${metadata}}\nspec: ${spec}\n`;
}

const TYPES: Readonly<Record<string, string>> = {
  Service: 'apiVersion: v1\nkind: Service',
  HTTPRoute: 'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute',
  GRPCRoute: 'apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute',
  TLSRoute: 'apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute',
  TCPRoute: 'apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute',
  BackendTLSPolicy: 'apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy',
  AuthorizationPolicy: 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy',
  PeerAuthentication: 'apiVersion: security.istio.io/v1\nkind: PeerAuthentication',
  Telemetry: 'apiVersion: telemetry.istio.io/v1\nkind: Telemetry',
  TrafficPolicy: 'apiVersion: weft.dev/v1\nkind: TrafficPolicy',
  Mesh: 'apiVersion: weft.dev/v1\nkind: Mesh',
};

export function service(name: string, spec = '{ports: [{port: 80, name: http}]}', metadata = ''): string {
  return document('Service', name, spec, metadata);
}

export function route(name: string, spec: string, namespace = 'shop'): string {
  return document('HTTPRoute', name, spec, `, namespace: ${namespace}`);
}

/** `rest` is what stands beside the metadata, each line ended. */
export function slice(of: string, rest: string, metadata = ''): string {
  const labels = `labels: {kubernetes.io/service-name: ${of}}`;
  return `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${of}-1, ${labels}${metadata}}\n${rest}`;
}

/** A reference to Service a of the route's own namespace. */
export const PARENT_A = '{group: "", kind: Service, name: a}';

export function cluster(snapshot: Snapshot, key: string): ClusterSpec {
  const found = snapshot.clusters.find((each) => each.key === key);
  if (found === undefined) throw new Error(`no cluster ${key}`);
  return found;
}

export function port(snapshot: Snapshot, name: string, number = 80): ServicePortSpec {
  const found = snapshot.services.find((each) => each.name === name)?.ports.find((each) => each.port === number);
  if (found === undefined) throw new Error(`no port ${name}:${number}`);
  return found;
}
