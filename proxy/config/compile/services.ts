/** Services and what stands behind their ports. */
import { type Service, type ServicePort, serviceIdentities } from '../model/service.ts';
import type { AppProtocol, ClusterSpec, InboundSpec, ServicePortSpec, ServiceSpec } from '../snapshot.ts';
import { callSettings } from './call-settings.ts';
import type { Catalog, Entry } from './catalog.ts';
import { compileEndpoints } from './endpoints.ts';
import { PeerModes } from './peer-modes.ts';
import { clusterKey, HttpRoutes, type PortRoutes } from './routes.ts';
import { type Traffic, TrafficPolicies } from './traffic.ts';

export function compileServices(catalog: Catalog): { services: ServiceSpec[]; clusters: ClusterSpec[] } {
  const compiler = new ServiceCompiler(catalog);
  const services = [...catalog.services.values()].map((service) => compiler.compile(service));
  return { services, clusters: compiler.clusters };
}

class ServiceCompiler {
  readonly clusters: ClusterSpec[] = [];
  private readonly catalog: Catalog;
  private readonly traffic: TrafficPolicies;
  private readonly routes: HttpRoutes;
  private readonly peers: PeerModes;

  constructor(catalog: Catalog) {
    this.catalog = catalog;
    this.traffic = new TrafficPolicies(catalog);
    this.routes = new HttpRoutes(catalog, this.traffic);
    this.peers = new PeerModes(catalog);
  }

  compile(service: Entry<Service>): ServiceSpec {
    const { spec } = service.value;
    const peers = this.peers.of(service.namespace, spec.selector);
    return {
      namespace: service.namespace,
      name: service.name,
      hosts: this.hostsOf(service),
      addresses: spec.clusterIPs,
      ports: spec.ports.flatMap((port, i) =>
        port.protocol === 'TCP' ? [this.compilePort(service, port, i, peers)] : [],
      ),
    };
  }

  /** CONTRACT, "Authorities". */
  private hostsOf({ namespace, name }: Entry<Service>): string[] {
    const qualified = [
      `${name}.${namespace}`,
      `${name}.${namespace}.svc`,
      `${name}.${namespace}.svc.${this.catalog.mesh.clusterDomain}`,
    ];
    return namespace === this.catalog.self.namespace ? [name, ...qualified] : qualified;
  }

  private compilePort(service: Entry<Service>, port: ServicePort, index: number, peers: InboundSpec): ServicePortSpec {
    const traffic = this.traffic.ofPort(service.key, port.name);
    const cluster = this.compileCluster(service, port, index, peers, traffic);
    this.clusters.push(cluster);
    const routes = carriesHttp(cluster.protocol) ? this.routes.ofPort(service, port, traffic) : NO_ROUTES;
    return { port: port.port, name: port.name, protocol: cluster.protocol, cluster: cluster.key, ...routes };
  }

  private compileCluster(
    service: Entry<Service>,
    port: ServicePort,
    index: number,
    peers: InboundSpec,
    traffic: Traffic,
  ): ClusterSpec {
    const { metadata, spec } = service.value;
    const disabled = spec.type === 'ExternalName' || metadata.annotations['weft.dev/mtls'] === 'disabled';
    const meshTls = traffic.meshTls && !disabled;
    return {
      key: clusterKey(service.key, port.port),
      namespace: service.namespace,
      service: service.name,
      port: port.port,
      protocol: protocolOf(port),
      source: service.source(['spec', 'ports', index]),
      meshTls,
      identities: serviceIdentities(metadata),
      endpoints: compileEndpoints(this.catalog, service, port, peers, meshTls),
      ...callSettings(traffic),
      upgrades: traffic.upgrades,
    };
  }
}

const NO_ROUTES: PortRoutes = { routed: false, rules: [], entries: [] };

/** HTTP routes hang on ports that may carry HTTP; on others they have nothing to read. */
export function carriesHttp(protocol: AppProtocol): boolean {
  return protocol === 'auto' || protocol === 'http' || protocol === 'http2' || protocol === 'grpc';
}

const BY_APP_PROTOCOL: Readonly<Record<string, AppProtocol>> = {
  http: 'http',
  http2: 'http2',
  grpc: 'grpc',
  https: 'https',
  tls: 'tls',
  tcp: 'tcp',
  'kubernetes.io/h2c': 'http2',
  'kubernetes.io/ws': 'http',
  'kubernetes.io/wss': 'https',
};

/** Prefixes of port names, up to the first "-", as Istio reads them; its database protocols are bytes to weft. */
const BY_NAME_PREFIX: ReadonlyMap<string, AppProtocol> = new Map([
  ['http', 'http'],
  ['http2', 'http2'],
  ['grpc', 'grpc'],
  ['https', 'https'],
  ['tls', 'tls'],
  ['tcp', 'tcp'],
  ['mongo', 'tcp'],
  ['mysql', 'tcp'],
  ['redis', 'tcp'],
]);

export function protocolOf(port: ServicePort): AppProtocol {
  if (port.appProtocol !== undefined) return BY_APP_PROTOCOL[port.appProtocol] ?? 'tcp';
  return BY_NAME_PREFIX.get(port.name.split('-', 1)[0] as string) ?? 'auto';
}
