/** Requests that stand for all that the matches of a Service port tell apart. */
import type { HttpMatchSpec, NameMatchSpec, ServicePortSpec } from '../config/snapshot.ts';
import type { HeaderField } from './explanation.ts';

export interface Probe {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: readonly HeaderField[];
}

/** What no rule that anybody wrote is likely to name. */
const ELSEWHERE = 'weft-probe';

/** One of each kind that either port's matches name, and one that none does. */
export function probesOf(ports: readonly ServicePortSpec[]): Probe[] {
  const matches = ports.flatMap(({ entries }) => entries.map(({ match }) => match));
  const probes = [plain('/'), ...matches.flatMap(fittingProbes)];
  return [...new Map(probes.map((probe) => [probeText(probe), probe])).values()];
}

/** Requests that a match takes; for an expression its own text, which many of them match. */
function fittingProbes(match: HttpMatchSpec): Probe[] {
  const headers = match.headers.map(({ name, value }): HeaderField => [name, value]);
  const method = match.method ?? 'GET';
  return pathsOf(match.path).flatMap((path) => [
    { method, path: path + queryOf(match.query), headers },
    // Without the other conditions: what falls through to the next match.
    plain(path),
  ]);
}

function plain(path: string): Probe {
  return { method: 'GET', path, headers: [] };
}

/** A prefix takes what lies below it too, which an exact path does not. */
function pathsOf({ type, value }: HttpMatchSpec['path']): string[] {
  if (type === 'AnyService') return [`/${ELSEWHERE}/${value}`];
  if (type === 'RegularExpression') return value.startsWith('/') ? [value] : [];
  const below = value.endsWith('/') ? `${value}${ELSEWHERE}` : `${value}/${ELSEWHERE}`;
  return [value, below];
}

function queryOf(parameters: readonly NameMatchSpec[]): string {
  if (parameters.length === 0) return '';
  return `?${parameters.map(({ name, value }) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')}`;
}

/** `GET /x (x-canary: always)`. */
export function probeText({ method, path, headers }: Probe): string {
  const fields = headers.map(([name, value]) => `${name}: ${value}`).join(', ');
  return fields === '' ? `${method} ${path}` : `${method} ${path} (${fields})`;
}
