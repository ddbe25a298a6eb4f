/**
 * A snapshot as it travels to the data threads: in parts, each known again by its hash, so that of a Service that has
 * not changed nothing is parsed or linked again; and a part in JSON slices, so that no request waits for the parsing of
 * a thousand routes.
 */
import { createHash } from 'node:crypto';
import type {
  ClusterSpec,
  EndpointSpec,
  RouteEntrySpec,
  RuleSpec,
  ServicePortSpec,
  ServiceSpec,
  Snapshot,
  SnapshotPart,
} from './snapshot.ts';

/** Items per slice: about 50 KB of routes, 0.4 ms to parse. */
const SLICE_ITEMS = 50;

/**
 * Lines of files mean nothing to a data thread, and a document that has only moved in its file is no change. In JSON no
 * text can look like this: its quotes would have a backslash.
 */
const LINE = /"line":\d+/g;

type Rest = Omit<Snapshot, 'services' | 'clusters'>;
type BarePort = Omit<ServicePortSpec, 'rules' | 'entries'>;
type BareService = Omit<ServiceSpec, 'ports'> & { readonly ports: readonly BarePort[] };
type BareCluster = Omit<ClusterSpec, 'endpoints'>;

type Piece =
  | { readonly rest: Rest }
  | { readonly service: BareService; readonly clusters: readonly BareCluster[] }
  | { readonly port: number; readonly rules: readonly RuleSpec[] }
  | { readonly port: number; readonly entries: readonly RouteEntrySpec[] }
  | { readonly cluster: number; readonly endpoints: readonly EndpointSpec[] };

/** `snapshot.clusters` are those of the Services' ports, in their order. */
export function toParts(snapshot: Snapshot): SnapshotPart[] {
  const { services, clusters, ...rest } = snapshot;
  // Who may call others is theirs to judge.
  const own = rest.authorizations.filter(({ key }) => rest.ownAuthorizations.includes(key));
  const byKey = new Map(clusters.map((spec) => [spec.key, spec]));
  const parts = services.map((service) =>
    partOf(
      piecesOf(
        service,
        service.ports.map(({ cluster }) => byKey.get(cluster)).filter((spec) => spec !== undefined),
      ),
    ),
  );
  return [partOf([{ rest: { ...rest, authorizations: own } }]), ...parts];
}

function piecesOf(service: ServiceSpec, clusters: readonly ClusterSpec[]): Piece[] {
  const pieces: Piece[] = [{ service: bareService(service), clusters: clusters.map(bareCluster) }];
  for (const [port, { rules, entries }] of service.ports.entries()) {
    for (const chunk of chunks(rules)) pieces.push({ port, rules: chunk });
    for (const chunk of chunks(entries)) pieces.push({ port, entries: chunk });
  }
  for (const [cluster, { endpoints }] of clusters.entries()) {
    for (const chunk of chunks(endpoints)) pieces.push({ cluster, endpoints: chunk });
  }
  return pieces;
}

/** Small pieces share a slice. */
function partOf(pieces: readonly Piece[]): SnapshotPart {
  const slices: string[] = [];
  let together: Piece[] = [];
  let items = 0;
  for (const piece of pieces) {
    const more = itemsIn(piece);
    if (together.length > 0 && items + more > SLICE_ITEMS) {
      slices.push(sliceOf(together));
      together = [];
      items = 0;
    }
    together.push(piece);
    items += more;
  }
  slices.push(sliceOf(together));
  const hash = createHash('sha256');
  for (const slice of slices) hash.update(slice);
  return { hash: hash.digest('base64'), slices };
}

function sliceOf(pieces: readonly Piece[]): string {
  return JSON.stringify(pieces).replace(LINE, '"line":0');
}

function itemsIn(piece: Piece): number {
  if ('rules' in piece) return piece.rules.length;
  if ('entries' in piece) return piece.entries.length;
  if ('endpoints' in piece) return piece.endpoints.length;
  return 1;
}

/** A Service and what stands behind its ports, as parsed. */
interface ServicePart {
  readonly service: ServiceSpec;
  readonly clusters: readonly ClusterSpec[];
}

/** Puts snapshots together again. Remembers the parts of the last one: a part that comes again is the same objects again. */
export class SnapshotAssembly {
  private remembered: ReadonlyMap<string, ServicePart> = new Map();

  /** Parses one slice a step. Throws if the first part is not what it must be. */
  *assemble([first, ...parts]: readonly SnapshotPart[]): Generator<void, Snapshot> {
    const [piece] = JSON.parse(first?.slices[0] ?? '[]') as Piece[];
    if (piece === undefined || !('rest' in piece)) throw new Error('a snapshot arrived without its first part');
    const read = new Map<string, ServicePart>();
    for (const part of parts) read.set(part.hash, this.remembered.get(part.hash) ?? (yield* parse(part)));
    this.remembered = read;
    const services = [...read.values()];
    return {
      ...piece.rest,
      services: services.map(({ service }) => service),
      clusters: services.flatMap(({ clusters }) => clusters),
    };
  }
}

function* parse({ slices }: SnapshotPart): Generator<void, ServicePart> {
  const pieces: Piece[] = [];
  for (const slice of slices) {
    pieces.push(...(JSON.parse(slice) as Piece[]));
    yield;
  }
  const [first, ...rest] = pieces;
  if (first === undefined || !('service' in first)) throw new Error('a Service arrived without its first slice');
  const ports = first.service.ports.map((port) => ({
    ...port,
    rules: [] as RuleSpec[],
    entries: [] as RouteEntrySpec[],
  }));
  const clusters = first.clusters.map((cluster) => ({ ...cluster, endpoints: [] as EndpointSpec[] }));
  for (const piece of rest) {
    if ('rules' in piece) ports[piece.port]?.rules.push(...piece.rules);
    else if ('entries' in piece) ports[piece.port]?.entries.push(...piece.entries);
    else if ('endpoints' in piece) clusters[piece.cluster]?.endpoints.push(...piece.endpoints);
  }
  return { service: { ...first.service, ports }, clusters };
}

function bareService(service: ServiceSpec): BareService {
  return { ...service, ports: service.ports.map(({ rules: _rules, entries: _entries, ...port }) => port) };
}

function bareCluster({ endpoints: _endpoints, ...cluster }: ClusterSpec): BareCluster {
  return cluster;
}

function chunks<T>(items: readonly T[]): T[][] {
  const result: T[][] = [];
  for (let at = 0; at < items.length; at += SLICE_ITEMS) result.push(items.slice(at, at + SLICE_ITEMS));
  return result;
}
