/**
 * Who answers at an IP address and port: what a redirected connection is looked up in, once a request. Entries of one
 * address hang together, so that a lookup makes no text.
 */
import type { Cluster } from '../upstream/cluster.ts';
import type { Clusters } from '../upstream/clusters.ts';
import { endpointKey } from '../upstream/endpoint.ts';
import type { Destination } from './link.ts';
import type { AppProtocol, ClusterSpec, EndpointSpec } from './snapshot.ts';

/** Makes the destination of an endpoint that is called by its own address. */
export type DirectTo = (cluster: Cluster) => Destination;

abstract class Entry {
  readonly port: number;
  readonly next: Entry | null;

  constructor(port: number, next: Entry | null) {
    this.port = port;
    this.next = next;
  }

  abstract destination(clusters: Clusters): Destination;
}

/** A Service port at the Service's own address: with its routes. */
class ServiceEntry extends Entry {
  private readonly service: Destination;

  constructor(port: number, next: Entry | null, service: Destination) {
    super(port, next);
    this.service = service;
  }

  destination(): Destination {
    return this.service;
  }
}

/** One endpoint of a Service: its settings and identity, without routes and without the others. */
class EndpointEntry extends Entry {
  readonly headless: boolean;
  readonly spec: ClusterSpec;
  private readonly endpoint: EndpointSpec;
  private readonly directTo: DirectTo;
  private made: Destination | null = null;
  private key = '';

  constructor(next: Entry | null, spec: ClusterSpec, endpoint: EndpointSpec, headless: boolean, directTo: DirectTo) {
    super(endpoint.port, next);
    this.spec = spec;
    this.endpoint = endpoint;
    this.headless = headless;
    this.directTo = directTo;
  }

  destination(clusters: Clusters): Destination {
    const { spec, endpoint } = this;
    if (this.key === '') this.key = `${spec.key}/${endpointKey(endpoint)}`;
    // Who names a pod wants that pod, ready or not: members of a StatefulSet find each other before they are.
    const make = (): ClusterSpec => ({ ...spec, key: this.key, endpoints: [{ ...endpoint, ready: true }] });
    const cluster = clusters.stranger(this.key, make);
    if (this.made === null) cluster.update(make());
    if (this.made?.cluster !== cluster) this.made = this.directTo(cluster);
    return this.made;
  }
}

export class Addresses {
  private readonly clusters: Clusters;
  private readonly byHost = new Map<string, Entry>();

  constructor(clusters: Clusters) {
    this.clusters = clusters;
  }

  addService(host: string, port: number, service: Destination): void {
    this.byHost.set(host, new ServiceEntry(port, this.byHost.get(host) ?? null, service));
  }

  /** Where several Services have one endpoint, it counts for the first that is headless, else for the first. */
  addEndpoint(spec: ClusterSpec, endpoint: EndpointSpec, headless: boolean, directTo: DirectTo): void {
    const { address: host, port } = endpoint;
    const known = this.entry(host, port);
    if (known instanceof EndpointEntry ? known.headless || !headless : known !== null) return;
    this.byHost.set(host, new EndpointEntry(this.byHost.get(host) ?? null, spec, endpoint, headless, directTo));
  }

  /** null for a stranger's address. Host as in shared/address. */
  find(host: string, port: number): Destination | null {
    return this.entry(host, port)?.destination(this.clusters) ?? null;
  }

  /** What policy declares for an endpoint's port; `auto` where it is nobody's. */
  protocolAt(host: string, port: number): AppProtocol {
    const entry = this.entry(host, port);
    return entry instanceof EndpointEntry ? entry.spec.protocol : 'auto';
  }

  private entry(host: string, port: number): Entry | null {
    let entry = this.byHost.get(host) ?? null;
    while (entry !== null && entry.port !== port) entry = entry.next;
    return entry;
  }
}
