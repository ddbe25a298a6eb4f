/** The decoded documents, told apart by kind and named; in the one order that does not depend on files. */
import type { Problem } from '../../../shared/problem.ts';
import type { DecodedDocument } from '../decode.ts';
import { type AuthorizationPolicy, authorizationPolicy } from '../model/authorization-policy.ts';
import { type BackendTlsPolicy, backendTlsPolicy } from '../model/backend-tls-policy.ts';
import { type ConfigMap, configMap } from '../model/config-map.ts';
import { type ConnectionRoute, tcpRoute, tlsRoute } from '../model/connection-route.ts';
import { type EndpointSlice, endpointSlice, SERVICE_NAME_LABEL } from '../model/endpoint-slice.ts';
import { grpcRoute } from '../model/grpc-route.ts';
import { type HttpRoute, httpRoute } from '../model/http-route.ts';
import type { Envelope, Kind } from '../model/kind.ts';
import { MESH_DEFAULTS, type Mesh, mesh } from '../model/mesh.ts';
import { type PeerAuthentication, peerAuthentication } from '../model/peer-authentication.ts';
import { type Service, service } from '../model/service.ts';
import { type Telemetry, telemetry } from '../model/telemetry.ts';
import { type TrafficPolicy, trafficPolicy } from '../model/traffic-policy.ts';
import type { Path, Place } from '../place.ts';
import type { MeshSpec, SourceRef } from '../snapshot.ts';
import { withNormalPaths } from './match-paths.ts';

/** Whose policy is compiled. */
export interface Self {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
}

/** One document with its namespace filled in. */
export class Entry<T extends Envelope> {
  readonly namespace: string;
  readonly name: string;
  readonly value: T;
  readonly place: Place;

  constructor(document: Pick<DecodedDocument<T>, 'value' | 'place'>, ownNamespace: string) {
    this.namespace = document.value.metadata.namespace ?? ownNamespace;
    this.name = document.value.metadata.name;
    this.value = document.value;
    this.place = document.place;
  }

  /** `namespace/name`. */
  get key(): string {
    return `${this.namespace}/${this.name}`;
  }

  source(path: Path = []): SourceRef {
    return this.place.source(`${this.value.kind} ${this.key}`, path);
  }
}

export class Catalog {
  readonly self: Self;
  readonly mesh: Mesh['spec'];
  readonly pathNormalization: MeshSpec['pathNormalization'];
  /** By `namespace/name`. */
  readonly services: ReadonlyMap<string, Entry<Service>>;
  readonly slices: readonly Entry<EndpointSlice>[];
  /** HTTPRoutes and GRPCRoutes; their paths as the mesh normalises those of requests. */
  readonly routes: readonly Entry<HttpRoute>[];
  /** TLSRoutes and TCPRoutes. */
  readonly connectionRoutes: readonly Entry<ConnectionRoute>[];
  readonly backendTlsPolicies: readonly Entry<BackendTlsPolicy>[];
  /** By `namespace/name`. */
  readonly configMaps: ReadonlyMap<string, Entry<ConfigMap>>;
  readonly authorizationPolicies: readonly Entry<AuthorizationPolicy>[];
  readonly peerAuthentications: readonly Entry<PeerAuthentication>[];
  readonly telemetries: readonly Entry<Telemetry>[];
  readonly trafficPolicies: readonly Entry<TrafficPolicy>[];
  /** Mistakes that only show between documents; compile adds to them. */
  readonly problems: Problem[] = [];
  private readonly slicesByService: ReadonlyMap<string, Entry<EndpointSlice>[]>;

  constructor(documents: readonly DecodedDocument[], self: Self) {
    this.self = self;
    const ordered = documents.toSorted((a, b) => compareText(a.place.file, b.place.file));
    const select = <T extends Envelope>(kind: Kind<T>): Entry<T>[] => this.select(ordered, kind);
    const meshes = select(mesh);
    for (const other of meshes.slice(1)) {
      const first = meshes[0]?.place.where();
      this.problems.push(other.place.problem([], `is a second Mesh: the first is at ${first}`, 'keep one'));
    }
    this.mesh = meshes[0]?.value.spec ?? MESH_DEFAULTS;
    const { normalization } = this.mesh.pathNormalization;
    this.pathNormalization = normalization === 'DEFAULT' ? 'BASE' : normalization;
    this.services = new Map(select(service).map((entry) => [entry.key, entry]));
    this.slices = select(endpointSlice);
    this.slicesByService = Map.groupBy(
      this.slices,
      (slice) => `${slice.namespace}/${slice.value.metadata.labels[SERVICE_NAME_LABEL]}`,
    );
    this.routes = [...select(grpcRoute), ...select(httpRoute)].map((route) => this.withNormalPaths(route));
    this.connectionRoutes = [...select(tlsRoute), ...select(tcpRoute)];
    this.backendTlsPolicies = select(backendTlsPolicy);
    this.configMaps = new Map(select(configMap).map((entry) => [entry.key, entry]));
    this.authorizationPolicies = select(authorizationPolicy);
    this.peerAuthentications = select(peerAuthentication);
    this.telemetries = select(telemetry);
    this.trafficPolicies = select(trafficPolicy);
  }

  /** The slices of a Service; undefined where no slice names it, which is not the same as having no endpoint. */
  slicesOf(serviceKey: string): readonly Entry<EndpointSlice>[] | undefined {
    return this.slicesByService.get(serviceKey);
  }

  private withNormalPaths(route: Entry<HttpRoute>): Entry<HttpRoute> {
    const value = withNormalPaths(route.value, this.pathNormalization, (path, message, advice) =>
      this.problems.push(route.place.problem(path, message, advice)),
    );
    return value === route.value ? route : new Entry({ value, place: route.place }, this.self.namespace);
  }

  /** Documents of one kind by `namespace/name`; the second of two with one name is a problem. */
  private select<T extends Envelope>(documents: readonly DecodedDocument[], kind: Kind<T>): Entry<T>[] {
    const entries = new Map<string, Entry<T>>();
    for (const document of documents) {
      if (!isOfKind(document, kind)) continue;
      const entry = new Entry(document, this.self.namespace);
      const first = entries.get(entry.key);
      if (first === undefined) entries.set(entry.key, entry);
      else this.problems.push(duplicate(entry, first));
    }
    return [...entries.values()].sort((a, b) => compareText(a.namespace, b.namespace) || compareText(a.name, b.name));
  }
}

function duplicate<T extends Envelope>(entry: Entry<T>, first: Entry<T>): Problem {
  const message = `${entry.value.kind} ${entry.key} is already written at ${first.place.where()}`;
  return entry.place.problem(['metadata', 'name'], message, 'keep one, or rename it');
}

function isOfKind<T extends Envelope>(document: DecodedDocument, kind: Kind<T>): document is DecodedDocument<T> {
  return document.kind === kind;
}

/** By code unit: the same everywhere, whatever the locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
