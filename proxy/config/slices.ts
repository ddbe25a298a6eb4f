/**
 * A snapshot as JSON slices: one message carries them all, and a data thread parses one per turn of its event loop, so
 * that no request waits for the parsing of a thousand routes (6–10 ms in one piece, 2 ms in slices).
 */
import type { ClusterSpec, RouteEntrySpec, RuleSpec, ServicePortSpec, ServiceSpec, Snapshot } from './snapshot.ts';

/** Items per slice: about 50 KB of routes. */
const SLICE_ITEMS = 50;

type Rest = Omit<Snapshot, 'services' | 'clusters'>;
type BarePort = Omit<ServicePortSpec, 'rules' | 'entries'>;
type BareService = Omit<ServiceSpec, 'ports'> & { readonly ports: readonly BarePort[] };

type Slice =
  | { readonly rest: Rest }
  | { readonly services: readonly BareService[] }
  | { readonly clusters: readonly ClusterSpec[] }
  | { readonly service: number; readonly port: number; readonly rules: readonly RuleSpec[] }
  | { readonly service: number; readonly port: number; readonly entries: readonly RouteEntrySpec[] };

export function toSlices(snapshot: Snapshot): string[] {
  const { services, clusters, ...rest } = snapshot;
  const slices: Slice[] = [{ rest }];
  for (const chunk of chunks(services.map(bare))) slices.push({ services: chunk });
  for (const chunk of chunks(clusters)) slices.push({ clusters: chunk });
  for (const [service, { ports }] of services.entries()) {
    for (const [port, { rules, entries }] of ports.entries()) {
      for (const chunk of chunks(rules)) slices.push({ service, port, rules: chunk });
      for (const chunk of chunks(entries)) slices.push({ service, port, entries: chunk });
    }
  }
  return slices.map((slice) => JSON.stringify(slice));
}

/** Puts slices together again, in the order they were made. */
export class SnapshotAssembly {
  private rest: Rest | null = null;
  private readonly services: BareService[] = [];
  private readonly clusters: ClusterSpec[] = [];
  private readonly rules = new Map<string, RuleSpec[]>();
  private readonly entries = new Map<string, RouteEntrySpec[]>();

  add(text: string): void {
    const slice = JSON.parse(text) as Slice;
    if ('rest' in slice) this.rest = slice.rest;
    else if ('services' in slice) this.services.push(...slice.services);
    else if ('clusters' in slice) this.clusters.push(...slice.clusters);
    else if ('rules' in slice) listAt(this.rules, slice.service, slice.port).push(...slice.rules);
    else listAt(this.entries, slice.service, slice.port).push(...slice.entries);
  }

  /** Throws if the first slice, which holds everything but the lists, was never added. */
  finish(): Snapshot {
    if (this.rest === null) throw new Error('a snapshot arrived without its first slice');
    const services = this.services.map((service, i) => ({
      ...service,
      ports: service.ports.map((port, j) => ({
        ...port,
        rules: listAt(this.rules, i, j),
        entries: listAt(this.entries, i, j),
      })),
    }));
    return { ...this.rest, services, clusters: this.clusters };
  }
}

function bare(service: ServiceSpec): BareService {
  return { ...service, ports: service.ports.map(({ rules: _rules, entries: _entries, ...port }) => port) };
}

function chunks<T>(items: readonly T[]): T[][] {
  const result: T[][] = [];
  for (let at = 0; at < items.length; at += SLICE_ITEMS) result.push(items.slice(at, at + SLICE_ITEMS));
  return result;
}

function listAt<T>(lists: Map<string, T[]>, service: number, port: number): T[] {
  const key = `${service}/${port}`;
  let list = lists.get(key);
  if (list === undefined) {
    list = [];
    lists.set(key, list);
  }
  return list;
}
