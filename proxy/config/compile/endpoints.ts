/** Who answers for a Service port: its EndpointSlices; without any, its cluster address, else its DNS name. */
import type { EndpointSlice, SliceEndpoint } from '../model/endpoint-slice.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { EndpointSpec, InboundSpec } from '../snapshot.ts';
import type { Catalog, Entry } from './catalog.ts';

/** `peers` is what the PeerAuthentications say of the Service's pods; `meshTls` whether the Service takes mutual TLS at all. */
export function compileEndpoints(
  catalog: Catalog,
  service: Entry<Service>,
  port: ServicePort,
  peers: InboundSpec,
  meshTls: boolean,
): EndpointSpec[] {
  const { spec } = service.value;
  const one = (address: string, number: number): EndpointSpec[] => [
    { address, port: number, ready: true, weight: 1, zone: '', meshTls: meshTls && takesTls(peers, targetPort(port)) },
  ];
  if (spec.externalName !== undefined) return one(spec.externalName, port.port);
  const slices = catalog.slicesOf(service.key);
  if (slices !== undefined) return fromSlices(slices, port, peers, meshTls);
  if (spec.clusterIPs[0] !== undefined) return one(spec.clusterIPs[0], port.port);
  const dnsName = `${service.name}.${service.namespace}.svc.${catalog.mesh.clusterDomain}`;
  // The name of a headless Service is its pods' addresses, which listen on the target port.
  return one(dnsName, spec.headless ? targetPort(port) : port.port);
}

/** The port on the pods; a named one is not known here and taken to be the same. */
function targetPort(port: ServicePort): number {
  return typeof port.targetPort === 'number' ? port.targetPort : port.port;
}

function takesTls(peers: InboundSpec, port: number): boolean {
  return (peers.portModes[String(port)] ?? peers.mode) !== 'DISABLE';
}

function fromSlices(
  slices: readonly Entry<EndpointSlice>[],
  port: ServicePort,
  peers: InboundSpec,
  meshTls: boolean,
): EndpointSpec[] {
  const endpoints = new Map<string, { readonly spec: EndpointSpec; readonly standing: Standing }>();
  for (const { value: slice } of slices) {
    const number = slice.ports.find(({ name, protocol }) => name === port.name && protocol === 'TCP')?.port;
    if (number === undefined) continue;
    const tls = meshTls && slice.metadata.annotations['weft.dev/mtls'] !== 'disabled' && takesTls(peers, number);
    for (const endpoint of slice.endpoints) {
      const address = endpoint.addresses[0] as string;
      const key = `${address} ${number}`;
      const standing = standingOf(endpoint);
      // While an endpoint moves from slice to slice it may stand in both: the better of the two holds.
      if ((endpoints.get(key)?.standing ?? -1) >= standing) continue;
      const spec = { address, port: number, ready: true, weight: 1, zone: endpoint.zone, meshTls: tls };
      endpoints.set(key, { spec, standing });
    }
  }
  const all = [...endpoints.values()];
  // As kube-proxy does: while nobody else is there, those that end take new requests as long as they answer.
  const wanted = all.some(({ standing }) => standing === READY) ? READY : LEAVING;
  return all.map(({ spec, standing }) => ({ ...spec, ready: standing >= wanted }));
}

const NOT_SERVING = 0;
/** Terminating, and still able to answer. */
const LEAVING = 1;
const READY = 2;
type Standing = typeof NOT_SERVING | typeof LEAVING | typeof READY;

/**
 * `ready` is never true of what terminates but where publishNotReadyAddresses asks for it, and then it holds. Who leaves it
 * out says ready, or of what terminates nothing; `serving` left out is what `ready` says (EndpointConditions).
 */
function standingOf({ conditions: { ready, serving, terminating } }: SliceEndpoint): Standing {
  if (ready ?? !terminating) return READY;
  return terminating && (serving ?? ready ?? true) ? LEAVING : NOT_SERVING;
}
