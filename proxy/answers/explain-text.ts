/** An explanation for people: one fact a line, what belongs together indented below it. */
import { formatDuration } from '../../shared/units.ts';
import { retriesText } from './explain-retries.ts';
import type {
  AuthorizationView,
  BackendView,
  Change,
  ConnectionView,
  EndpointView,
  Explanation,
  FilterView,
  Verdict,
  Written,
} from './explanation.ts';

export function explanationLines(explanation: Explanation): string[] {
  const { request, verdict, service, route, connection, filters, backends, mirrors } = explanation;
  const asked = request === null ? [] : [`${request.method} ${request.scheme}://${request.authority}${request.path}`];
  const lines = [...asked, `${indent(1)}${verdictText(verdict)}`];
  if (service !== null) {
    const { namespace, name, port, protocol } = service;
    lines.push(`${indent(1)}Service ${namespace}/${name} port ${port} (${protocol})${at(service)}`);
  } else if (backends.length > 0) lines.push(`${indent(1)}no Service of this name: it passes as it is`);
  if (connection !== null)
    lines.push(`${indent(1)}rule ${connection.name}, by ${namesText(connection)}${at(connection)}`);
  else if (route !== null) lines.push(`${indent(1)}rule ${route.name}, by ${matchText(route.match)}${at(route)}`);
  else if (service !== null && !service.routed) lines.push(`${indent(1)}no route: everything goes to the Service`);
  lines.push(...filters.flatMap((filter) => filterLines(filter, 1)));
  if (backends.length > 0) lines.push(`${indent(1)}${limitsText(explanation)}`);
  lines.push(...backends.flatMap(backendLines));
  lines.push(...mirrors.map(({ cluster, share }) => `${indent(1)}a copy of ${shareText(share)} to ${cluster}`));
  return lines;
}

function verdictText({ outcome, status, word, detail, advice, headers }: Verdict): string {
  if (outcome === 'forwarded') return '→ forwarded';
  const fields = headers.map(([name, value]) => `${name}: ${value}`).join(', ');
  if (outcome === 'answered') return `→ answered here with ${status}${fields === '' ? '' : ` (${fields})`}`;
  const answer = status === 0 ? 'the connection is closed' : `${status}`;
  return `→ refused: ${answer} ${word}${detail === '' ? '' : `: ${detail}`} (${advice})`;
}

function matchText({ path, method, headers, query }: NonNullable<Explanation['route']>['match']): string {
  const conditions = [
    `${path.type} ${path.value}`,
    ...(method === null ? [] : [`method ${method}`]),
    ...headers.map(({ name, type, value }) => `header ${name} ${sign(type)} ${value}`),
    ...query.map(({ name, type, value }) => `query ${name} ${sign(type)} ${value}`),
  ];
  return conditions.join(', ');
}

function namesText({ document, hostnames }: ConnectionView): string {
  if (document.startsWith('TCPRoute')) return 'TCPRoute';
  return `server name ${hostnames.length === 0 ? 'any' : hostnames.join(' or ')}`;
}

function sign(type: string): string {
  return type === 'Exact' ? '=' : '~';
}

function filterLines(filter: FilterView, depth: number): string[] {
  const line = `${indent(depth)}filter ${filter.kind}${at(filter)}`;
  const facts = [...(filter.chance === '' ? [] : [filter.chance]), ...filter.requestChanges.map(changeText)];
  return [line, ...facts.map((fact) => indent(depth + 1) + fact)];
}

export function changeText({ name, before, after }: Change): string {
  if (after === null) return `- ${name}: ${before}`;
  return before === null ? `+ ${name}: ${after}` : `~ ${name}: ${before} → ${after}`;
}

function limitsText(explanation: Explanation): string {
  const { requestMs, attemptMs } = explanation.timeouts;
  return `timeout ${timeText(requestMs)}, of an attempt ${timeText(attemptMs)}; retries ${retriesText(explanation)}`;
}

export function timeText(ms: number): string {
  return ms === 0 ? 'none' : formatDuration(ms);
}

function backendLines(backend: BackendView): string[] {
  const { cluster, verdict, filters, responseChanges, loadBalancer, endpoints } = backend;
  const lines = [
    `${indent(1)}${shareText(backend.share)} to ${cluster ?? 'a backend that does not exist'}${at(backend)}`,
  ];
  if (verdict.outcome !== 'forwarded') lines.push(`${indent(2)}${verdictText(verdict)}`);
  if (cluster === null) return lines;
  lines.push(...filters.flatMap((filter) => filterLines(filter, 2)));
  lines.push(...responseChanges.map((change) => `${indent(2)}response ${changeText(change)}`));
  lines.push(`${indent(2)}${securityText(backend)}`);
  lines.push(...backend.authorization.map((rule) => `${indent(2)}${authorizationText(rule)}${at(rule)}`));
  const among = endpoints.length === 0 ? 'no endpoint' : endpoints.map(endpointText).join(', ');
  lines.push(`${indent(2)}${loadBalancer}: ${among}`);
  return lines;
}

function securityText({ mutualTls, identities, backendTls }: BackendView): string {
  if (mutualTls) return `mutual TLS, the server must be ${identities.join(' or ')}`;
  if (backendTls === null) return 'no mutual TLS';
  const { serverName, names, document } = backendTls;
  return `TLS to ${serverName}, its certificate must name ${names.join(' or ')} (${document})${at(backendTls)}`;
}

function authorizationText({ policy, action, rule, fits }: AuthorizationView): string {
  const whole = `AuthorizationPolicy ${policy}`;
  if (rule === null) return `${whole} has no rule, so it ${action === 'ALLOW' ? 'allows' : 'denies'} nobody`;
  const does = action === 'ALLOW' ? 'allows' : 'denies';
  return `${whole} rule ${rule} ${fits ? does : `does not fit (it ${does})`}`;
}

/** At most two decimals: `33.33 %`. */
export function shareText(share: number): string {
  return `${Math.round(share * 10_000) / 100} %`;
}

function endpointText({ address, ready, zone }: EndpointView): string {
  const notes = [...(ready ? [] : ['not ready']), ...(zone === '' ? [] : [`zone ${zone}`])];
  return notes.length === 0 ? address : `${address} (${notes.join(', ')})`;
}

function at({ file, line }: Written): string {
  return file === '' ? '' : ` [${file}:${line}]`;
}

function indent(depth: number): string {
  return '  '.repeat(depth);
}
