/** Policy and fates of requests as facts that `diff` can compare and tell. */
import { createHash } from 'node:crypto';
import { compareText } from '../config/compile/catalog.ts';
import type {
  AuthorizationConditionSpec,
  AuthorizationSpec,
  ClusterSpec,
  ConnectionRuleSpec,
  EndpointSpec,
  ServicePortSpec,
  ServiceSpec,
  Snapshot,
} from '../config/snapshot.ts';
import { retriesText } from './explain-retries.ts';
import { changeText, shareText, timeText } from './explain-text.ts';
import type { BackendView, Explanation, Verdict } from './explanation.ts';
import type { Facts } from './facts.ts';

/** By subject: what holds for every request. */
export function meshFacts({ mesh, inbound, authorizations, telemetry }: Snapshot): Record<string, Facts> {
  return {
    mesh: texts({ ...mesh }),
    inbound: texts({ ...inbound }),
    authorization: Object.fromEntries(authorizations.map((each) => [each.key, authorizationText(each)])),
    telemetry: texts({ ...telemetry }),
  };
}

function authorizationText({ action, rules }: AuthorizationSpec): string {
  const told = rules.map(({ from, to, when }) => {
    const parts = [...alternatives(from), ...alternatives(to), ...when.map(conditionText)];
    return parts.length === 0 ? 'everybody' : parts.join(' and ');
  });
  return `${action} ${told.length === 0 ? 'nobody' : told.join('; or ')}`;
}

function alternatives(groups: readonly (readonly AuthorizationConditionSpec[])[]): string[] {
  if (groups.length === 0) return [];
  return [groups.map((group) => group.map(conditionText).join(', ')).join(' or ')];
}

function conditionText({ attribute, values, notValues }: AuthorizationConditionSpec): string {
  const parts = [values.join('|'), notValues.length === 0 ? '' : `not ${notValues.join('|')}`];
  return `${attribute} ${parts.filter((part) => part !== '').join(', ')}`;
}

/** What is the same for every request to a Service port. */
export function portFacts(
  { addresses, authorizations }: ServiceSpec,
  { protocol, connections }: ServicePortSpec,
  cluster: ClusterSpec,
): Facts {
  const { endpoints, meshTls, identities, backendTls } = cluster;
  return {
    protocol,
    addresses: joined(addresses),
    'mutual TLS': meshTls ? 'on' : 'off',
    'TLS of its own': backendTls === null ? null : backendTlsText(backendTls),
    AuthorizationPolicies: joined(authorizations),
    ...Object.fromEntries((connections?.rules ?? []).map((rule) => connectionFact(rule))),
    identities: identities.length === 0 ? 'any of the namespace' : identities.join(', '),
    ...callFacts(cluster),
    ...Object.fromEntries(
      endpoints.map((endpoint) => [`endpoint ${endpoint.address}:${endpoint.port}`, state(endpoint)]),
    ),
  };
}

function backendTlsText({
  serverName,
  names,
  certificates,
  clientCertificate,
}: NonNullable<ClusterSpec['backendTls']>): string {
  const trust = certificates === '' ? 'the system trusts' : `of ${fingerprint(certificates)}`;
  const own = clientCertificate === null ? '' : `, showing ${clientCertificate.certificate}`;
  return `to ${serverName}, certificate of ${names.map(({ value }) => value).join(' or ')} ${trust}${own}`;
}

/** Enough to see that certificates were exchanged. */
function fingerprint(certificates: string): string {
  return createHash('sha256').update(certificates).digest('hex').slice(0, 12);
}

function connectionFact({ hostnames, backends }: ConnectionRuleSpec): [string, string] {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  const reached = backends.filter(({ weight }) => weight > 0);
  const shares = reached.map((each) => backendFact({ cluster: each.cluster, share: each.weight / total }));
  return [`connections (${hostnames.join(', ') || 'any name'})`, shares.join(', ') || 'nowhere'];
}

/** Told in other words above, or of each request, since rules have their own. */
const TOLD = new Set(
  'key namespace service port protocol source meshTls backendTls identities endpoints'
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
  const { verdict, filters, timeouts, upgrades, backends, mirrors } = explanation;
  const reached = backends.filter(({ share }) => share > 0);
  return {
    verdict: verdictFact(verdict),
    backends: reached.length === 0 ? null : reached.toSorted(byCluster).map(backendFact).join(', '),
    timeout: timeText(timeouts.requestMs),
    'attempt timeout': timeText(timeouts.attemptMs),
    'stream idle timeout': timeText(timeouts.streamIdleMs),
    retries: retriesText(explanation),
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

function backendFact({ cluster, share }: Pick<BackendView, 'cluster' | 'share'>): string {
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
