/**
 * Label sets as Prometheus spells them, made once per series and used as its key ever after.
 *
 * Names and order are Istio's (istio.io, "Istio Standard Metrics"), so that dashboards written for Envoy under Istio
 * read weft's series unchanged.
 */
import type { Party, ServiceLabels } from './record.ts';

export type Reporter = 'source' | 'destination';
export type Security = 'mutual_tls' | 'none' | 'unknown';

/** What distinguishes one request series, except for how requests end. */
export interface RequestLabels {
  readonly reporter: Reporter;
  readonly source: Party;
  readonly destination: Party;
  readonly service: ServiceLabels;
  readonly protocol: 'http' | 'grpc';
  readonly security: Security;
}

/** What distinguishes one series of opaque connections. */
export interface TcpLabels {
  readonly reporter: Reporter;
  readonly source: Party;
  readonly destination: Party;
  readonly service: ServiceLabels;
  readonly security: Security;
}

/** One label: `name="value"`, escaped (Prometheus text format 0.0.4: backslash, double quote, line feed). */
export function label(name: string, value: string): string {
  return `${name}="${escapeValue(value)}"`;
}

/** Several labels in the order given, comma between; empty for none. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => label(name, value))
    .join(',');
}

/** The labels of every request of a series; `outcomeText` adds how one ended. */
export function requestText(labels: RequestLabels): string {
  return standardText(labels, labels.protocol);
}

export function tcpText(labels: TcpLabels): string {
  return `${standardText(labels, 'tcp')},${label('response_flags', '-')}`;
}

/** `grpcStatus` -1 means no gRPC; the label is then left out, which Prometheus holds equal to Istio's empty one. */
export function outcomeText(code: string, flag: string, grpcStatus: number): string {
  const text = `${label('response_code', code)},${label('response_flags', flag)}`;
  return grpcStatus < 0 ? text : `${text},${label('grpc_response_status', String(grpcStatus))}`;
}

function standardText(labels: TcpLabels, protocol: string): string {
  const { source, destination, service } = labels;
  return labelText({
    reporter: labels.reporter,
    source_workload: source.workload,
    source_canonical_service: canonicalService(source),
    source_canonical_revision: canonicalRevision(source),
    source_workload_namespace: source.namespace,
    source_principal: source.principal,
    source_app: source.app,
    source_version: source.version,
    source_cluster: source.cluster,
    destination_workload: destination.workload,
    destination_workload_namespace: destination.namespace,
    destination_principal: destination.principal,
    destination_app: destination.app,
    destination_version: destination.version,
    destination_service: service.host,
    destination_canonical_service: canonicalService(destination),
    destination_canonical_revision: canonicalRevision(destination),
    destination_service_name: service.name,
    destination_service_namespace: service.namespace,
    destination_cluster: destination.cluster,
    request_protocol: protocol,
    connection_security_policy: labels.security,
  });
}

/** Istio: the `app` label, else the workload's name. */
function canonicalService(party: Party): string {
  return party.app === 'unknown' ? party.workload : party.app;
}

/** Istio: the `version` label, else `latest`, for strangers too. */
function canonicalRevision(party: Party): string {
  return party.version === 'unknown' ? 'latest' : party.version;
}

function escapeValue(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
