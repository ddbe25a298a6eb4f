/**
 * What changes for requests from one policy to another. Rules are not compared as text but asked: the matches of both
 * sides become requests, and what explain says of each of them is compared. So a rule that is moved, renamed or written in
 * another way changes nothing, and one that shadows another changes what it takes.
 */

import type { LinkedSnapshot } from '../config/link.ts';
import type { ClusterSpec, ServicePortSpec, ServiceSpec, Snapshot } from '../config/snapshot.ts';
import { fateFacts, meshFacts, portFacts } from './diff-facts.ts';
import { explain } from './explain.ts';
import { compareFacts, type FactChange, type Facts } from './facts.ts';
import { OfflineLink } from './offline.ts';
import { type Probe, probesOf, probeText } from './probes.ts';

/** `what` of a change that says no more than that a Service port came or went. */
export const SERVICE_PORT = 'Service port';

/** One change; `weft diff --json` is a list of them. */
export interface PolicyChange {
  /** `mesh`, `inbound`, `authorization`, `telemetry`, or a Service port as `namespace/name:port`. */
  readonly subject: string;
  /** Requests it concerns, e.g. `GET /items`; empty for all to the subject. */
  readonly requests: readonly string[];
  readonly what: string;
  /** null: was not there, is not there any more. */
  readonly before: string | null;
  readonly after: string | null;
}

export async function diffSnapshots(before: Snapshot, after: Snapshot): Promise<PolicyChange[]> {
  using old = await OfflineLink.of(before);
  using next = await OfflineLink.of(after);
  return [...meshChanges(before, after), ...portChanges(old.linked, next.linked)];
}

function meshChanges(before: Snapshot, after: Snapshot): PolicyChange[] {
  const [old, next] = [meshFacts(before), meshFacts(after)];
  return Object.keys(old).flatMap((subject) => changesOf(subject, [], old[subject] ?? {}, next[subject] ?? {}));
}

function changesOf(subject: string, requests: readonly string[], before: Facts, after: Facts): PolicyChange[] {
  return compareFacts(before, after).map((change) => ({ subject, requests, ...change }));
}

/** One Service port and everything that a snapshot says of it. */
interface PortView {
  readonly service: ServiceSpec;
  readonly port: ServicePortSpec;
  readonly cluster: ClusterSpec;
}

function portsOf({ services, clusters }: Snapshot): Map<string, PortView> {
  const byKey = new Map(clusters.map((cluster) => [cluster.key, cluster]));
  const views = services.flatMap((service) =>
    service.ports.flatMap((port): [string, PortView][] => {
      const cluster = byKey.get(port.cluster);
      return cluster === undefined ? [] : [[port.cluster, { service, port, cluster }]];
    }),
  );
  return new Map(views);
}

function portChanges(old: LinkedSnapshot, next: LinkedSnapshot): PolicyChange[] {
  const [before, after] = [portsOf(old.snapshot), portsOf(next.snapshot)];
  const keys = [...new Set([...before.keys(), ...after.keys()])].sort();
  return keys.flatMap((subject) => {
    const [was, is] = [before.get(subject), after.get(subject)];
    if (was === undefined || is === undefined) return [presence(subject, was !== undefined)];
    return [
      ...changesOf(subject, [], factsOf(was), factsOf(is)),
      ...requestChanges(subject, was, is, old, next),
      ...expressionChanges(subject, was.port, is.port),
    ];
  });
}

function factsOf({ service, port, cluster }: PortView): Facts {
  return portFacts(service, port, cluster);
}

function presence(subject: string, was: boolean): PolicyChange {
  return { subject, requests: [], what: SERVICE_PORT, before: was ? 'there' : null, after: was ? null : 'there' };
}

/** Requests that fare differently, those that change alike together. */
function requestChanges(
  subject: string,
  was: PortView,
  is: PortView,
  old: LinkedSnapshot,
  next: LinkedSnapshot,
): PolicyChange[] {
  const grouped = new Map<string, { readonly change: Omit<PolicyChange, 'requests'>; readonly requests: string[] }>();
  for (const probe of probesOf([was.port, is.port])) {
    const [before, after] = [ask(old, was, probe), ask(next, is, probe)];
    for (const change of telling(compareFacts(before, after))) {
      const key = JSON.stringify(change);
      const group = grouped.get(key) ?? { change: { subject, ...change }, requests: [] };
      group.requests.push(probeText(probe));
      grouped.set(key, group);
    }
  }
  return [...grouped.values()].map(({ change, requests }) => ({ ...change, requests }));
}

/** Another verdict says it all: what else differs only follows from it. */
function telling(changes: readonly FactChange[]): readonly FactChange[] {
  const verdict = changes.find(({ what }) => what === 'verdict');
  return verdict === undefined ? changes : [verdict];
}

function ask(linked: LinkedSnapshot, { service, port }: PortView, { method, path, headers }: Probe): Facts {
  const url = `http://${service.hosts.at(-1)}:${port.port}${path}`;
  return fateFacts(explain(linked, { method, url, headers }));
}

/** No request can be made up for an expression with certainty, so expressions are compared as they are written. */
function expressionChanges(subject: string, was: ServicePortSpec, is: ServicePortSpec): PolicyChange[] {
  const [before, after] = [expressionsOf(was), expressionsOf(is)];
  return changesOf(subject, [], before, after);
}

function expressionsOf({ entries }: ServicePortSpec): Facts {
  const found = entries.flatMap(({ match: { path, headers, query } }) =>
    [path, ...headers, ...query].filter(({ type }) => type === 'RegularExpression').map(({ value }) => value),
  );
  return { expressions: found.length === 0 ? null : [...new Set(found)].sort().join(', ') };
}
