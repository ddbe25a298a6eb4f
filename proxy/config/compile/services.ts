/** Services and what stands behind their ports. */
import { type Service, type ServicePort, serviceIdentities } from '../model/service.ts';
import type { ClusterSpec, InboundSpec, ServicePortSpec, ServiceSpec } from '../snapshot.ts';
import { Authorizations } from './authorization.ts';
import { BackendTlsPolicies } from './backend-tls.ts';
import { callSettings } from './call-settings.ts';
import type { Catalog, Entry } from './catalog.ts';
import { compileEndpoints } from './endpoints.ts';
import { PeerModes } from './peer-modes.ts';
import { protocolOf } from './protocol.ts';
import { clusterKey, RouteCompiler } from './routes.ts';
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
  private readonly routes: RouteCompiler;
  private readonly backendTls: BackendTlsPolicies;
  private readonly peers: PeerModes;
  private readonly authorizations: Authorizations;

  constructor(catalog: Catalog) {
    this.catalog = catalog;
    this.traffic = new TrafficPolicies(catalog);
    this.routes = new RouteCompiler(catalog, this.traffic);
    this.backendTls = new BackendTlsPolicies(catalog);
    this.peers = new PeerModes(catalog);
    this.authorizations = new Authorizations(catalog);
  }

  compile(service: Entry<Service>): ServiceSpec {
    const { spec } = service.value;
    const peers = this.peers.of(service.namespace, spec.selector);
    return {
      namespace: service.namespace,
      name: service.name,
      hosts: this.hostsOf(service),
      addresses: spec.clusterIPs,
      authorizations: this.authorizations.keysFor(service.namespace, spec.selector),
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
    const routes = this.routes.ofPort(service, port, traffic);
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
    const backendTls = this.backendTls.ofPort(service.key, port.name, traffic);
    const meshTls = traffic.meshTls && !disabled && backendTls === null;
    return {
      key: clusterKey(service.key, port.port),
      namespace: service.namespace,
      service: service.name,
      port: port.port,
      protocol: protocolOf(port),
      source: service.source(['spec', 'ports', index]),
      meshTls,
      backendTls,
      identities: serviceIdentities(metadata),
      endpoints: compileEndpoints(this.catalog, service, port, peers, meshTls),
      ...callSettings(traffic),
      upgrades: traffic.upgrades,
    };
  }
}
