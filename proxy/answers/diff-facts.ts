/** Policy and fates of requests as facts that `diff` can compare and tell. */
import { compareText } from '../config/compile/catalog.ts';
import type { ClusterSpec, EndpointSpec, ServicePortSpec, ServiceSpec, Snapshot } from '../config/snapshot.ts';
import { changeText, shareText, timeText } from './explain-text.ts';
import type { BackendView, Explanation, Verdict } from './explanation.ts';
import type { Facts } from './facts.ts';

/** By subject: what holds for every request. */
export function meshFacts({ mesh, inbound, telemetry }: Snapshot): Record<string, Facts> {
  return {
    mesh: texts({ ...mesh }),
    inbound: texts({ ...inbound }),
    telemetry: texts({ ...telemetry }),
  };
}

/** What is the same for every request to a Service port. */
export function portFacts({ addresses }: ServiceSpec, { protocol }: ServicePortSpec, cluster: ClusterSpec): Facts {
  const { endpoints, meshTls, identities } = cluster;
  return {
    protocol,
    addresses: joined(addresses),
    'mutual TLS': meshTls ? 'on' : 'off',
    identities: identities.length === 0 ? 'any of the namespace' : identities.join(', '),
    ...callFacts(cluster),
    ...Object.fromEntries(
      endpoints.map((endpoint) => [`endpoint ${endpoint.address}:${endpoint.port}`, state(endpoint)]),
    ),
  };
}

/** Told in other words above, or of each request, since rules have their own. */
const TOLD = new Set(
  'key namespace service port protocol source meshTls identities endpoints'
    .concat(' requestTimeoutMs attemptTimeoutMs streamIdleMs retries faults upgrades')
    .split(' '),
);

/** Every other setting of a cluster, `circuitBreaker.maxConnections` and the like. */
function callFacts(cluster: ClusterSpec): Facts {
  const settings = Object.entries(cluster).filter(([name]) => !TOLD.has(name));
  return texts(
    Object.fromEntries(
      settings.flatMap(([name, value]: [string, unknown]) =>
        typeof value !== 'object' || value === null
          ? [[name, value]]
          : Object.entries(value).map(([part, inner]: [string, unknown]) => [`${name}.${part}`, inner]),
      ),
    ),
  );
}

function state({ ready, weight, zone, meshTls }: EndpointSpec): string {
  const notes = [...(weight === 1 ? [] : [`weight ${weight}`]), ...(zone === '' ? [] : [`zone ${zone}`])];
  return [ready ? 'ready' : 'not ready', meshTls ? 'mutual TLS' : 'plain', ...notes].join(', ');
}

/** What becomes of one request; where it is written does not count. */
export function fateFacts(explanation: Explanation): Facts {
  const { verdict, filters, timeouts, retries, upgrades, backends, mirrors } = explanation;
  const reached = backends.filter(({ share }) => share > 0);
  return {
    verdict: verdictFact(verdict),
    backends: reached.length === 0 ? null : reached.toSorted(byCluster).map(backendFact).join(', '),
    timeout: timeText(timeouts.requestMs),
    'attempt timeout': timeText(timeouts.attemptMs),
    'stream idle timeout': timeText(timeouts.streamIdleMs),
    retries: String(retries),
    upgrades: upgrades.length === 0 ? null : upgrades.join(', '),
    'request changes': joined(filters.flatMap(({ requestChanges }) => requestChanges.map(changeText))),
    faults: joined(filters.map(({ chance }) => chance).filter((chance) => chance !== '')),
    mirrors: joined(mirrors.map(({ cluster, share }) => `${shareText(share)} to ${cluster}`)),
    ...Object.fromEntries(reached.flatMap(backendFacts)),
  };
}

function verdictFact({ outcome, status, word, headers }: Verdict): string {
  const fields = headers.map(([name, value]) => `${name}: ${value}`).join(', ');
  return [outcome, status === 0 ? '' : status, word, fields].filter((part) => part !== '').join(' ');
}

function byCluster(a: BackendView, b: BackendView): number {
  return compareText(a.cluster ?? '', b.cluster ?? '');
}

function backendFact({ cluster, share }: BackendView): string {
  return `${shareText(share)} to ${cluster ?? 'nothing that exists'}`;
}

function backendFacts({ cluster, filters, responseChanges }: BackendView): [string, string | null][] {
  const requests = joined(filters.flatMap(({ requestChanges }) => requestChanges.map(changeText)));
  const responses = joined(responseChanges.map(changeText));
  return [
    [`request changes to ${cluster}`, requests],
    [`response changes from ${cluster}`, responses],
  ];
}

function joined(parts: readonly string[]): string | null {
  return parts.length === 0 ? null : parts.join(', ');
}

/** Every field as text, named as in the policy kinds. */
function texts(fields: Readonly<Record<string, unknown>>): Facts {
  const shown = Object.entries(fields).map(([name, value]): [string, string | null] => {
    if (value === null) return [name, null];
    return [name, typeof value === 'string' ? value : JSON.stringify(value)];
  });
  return Object.fromEntries(shown);
}
