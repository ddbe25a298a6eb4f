import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { schemaOf } from '../../deploy/schemas.ts';
import { TRAFFIC_DEFAULTS } from '../../proxy/config/compile/traffic.ts';
import { trafficPolicy } from '../../proxy/config/model/traffic-policy.ts';
import { DEFAULT_H2_LIMITS, MESH_H2_LIMITS } from '../../proxy/http/h2-limits.ts';
import { DEFAULT_LIMITS } from '../../proxy/http/limits.ts';
import { PHASE_MS } from '../../proxy/session/phases.ts';
import { openAccessLog } from '../../proxy/telemetry/access-log.ts';
import { Metrics } from '../../proxy/telemetry/metrics.ts';
import { ThreadReports } from '../../proxy/telemetry/prometheus.ts';
import {
  certificateRotations,
  policyReloads,
  Refusals,
  registerControlGauges,
  registerDataGauges,
  retries,
  sampleBreaker,
  sampleConcurrency,
  threadRestarts,
} from '../../proxy/telemetry/weft-series.ts';
import { ManualClock } from '../../shared/clock.ts';
import { FAILURES } from '../../shared/errors.ts';
import { parseDuration } from '../../shared/units.ts';
import { tableRows } from '../support/markdown.ts';
import { parseExposition } from './telemetry/exposition.ts';
import { connectionRecord, requestLabels, requestRecord, tcpLabels } from './telemetry/fixtures.ts';

const proxy = join(import.meta.dirname, '../../proxy');
const reference = readFileSync(join(proxy, 'REFERENCE.md'), 'utf8');

/** Rows of the tables below a heading, down to the next of its level or above, cell by cell. */
function rows(heading: string): string[][] {
  const level = /^#+/.exec(heading)?.[0].length ?? 0;
  const from = reference.indexOf(`\n${heading}\n`);
  if (from < 0) throw new Error(`the reference has no section "${heading}"`);
  const rest = reference.slice(from + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${level}} `, 'm'));
  return tableRows(end < 0 ? rest : rest.slice(0, end)).map((row) => row.map((cell) => cell.replaceAll('`', '')));
}

const FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  KiB: 1024,
  MiB: 1_048_576,
};

/** `64 KiB` in bytes, `10 s` in milliseconds, `100` as it is. */
function amount(text: string): number {
  const [, digits, unit = ''] = /^([0-9]+) ?([A-Za-z]*)$/.exec(text) ?? [];
  return Number(digits) * (FACTORS[unit] ?? Number.NaN);
}

test('the table of words is the table of errors', () => {
  const known = Object.values(FAILURES).map(({ word, status, flag, token, advice }) => [
    word,
    status === 0 ? '–' : String(status),
    flag === '-' ? '–' : flag,
    token,
    advice,
  ]);
  expect(rows('## Words')).toEqual(known);
});

test('the table of metrics has every family that a sidecar can show, with its type and labels', () => {
  const metrics = new Metrics();
  const none = (): number => 0;
  metrics.requestSeries(requestLabels).record(200, '-', -1, 1, 1, 1);
  metrics.tcpSeries(tcpLabels);
  new Refusals(metrics);
  retries(metrics, null);
  policyReloads(metrics, 'applied');
  certificateRotations(metrics, 'applied');
  threadRestarts(metrics, 'exit');
  registerControlGauges(metrics, '0', {
    certificateNotAfter: none,
    certificateRotatedAt: none,
    certificateFailedAt: none,
    policyAppliedAt: none,
    policyHash: () => '',
    ready: () => true,
    dataThreads: none,
    logWritesDropped: none,
  });
  registerDataGauges(metrics, { downstreamConnections: none, upstreamConnections: none, activeRequests: none });
  sampleConcurrency(metrics, 'x', { limit: 0, refused: 0 });
  sampleBreaker(metrics, 'x', { state: 'admitting', refused: 0 });
  const shown = [...parseExposition(new ThreadReports().text(metrics.report()))].map(([name, { type, samples }]) => {
    const labels = name.startsWith('istio_') ? "Istio's" : [...(samples[0]?.labels.keys() ?? [])].sort().join(', ');
    return [name, type, labels === '' ? '–' : labels];
  });
  const told = rows('## Metrics').map(([name, type, labels]) => [name, type, labels]);
  expect(new Set(told.map((row) => row.join(' ')))).toEqual(new Set(shown.map((row) => row.join(' '))));
});

test('the fields of the access log are those of its lines', () => {
  const lines: string[] = [];
  const log = openAccessLog('json', new ManualClock(), (bytes) => lines.push(Buffer.from(bytes).toString()));
  log.request({ ...requestRecord, grpcStatus: 0 });
  log.connection(connectionRecord);
  log.flush();
  const written = lines
    .join('')
    .trimEnd()
    .split('\n')
    .flatMap((line) => Object.keys(JSON.parse(line) as object));
  const listed = rows('## Access log').flatMap(([names = '']) => names.split(', '));
  expect(new Set([...listed, 'level', 'received_bytes', 'sent_bytes'])).toEqual(new Set(written));
});

test('each limit has the value that the code gives it', () => {
  const listed = rows('## Limits').filter(([name]) => name?.includes('.ts ') === true);
  expect(listed.length).toBeGreaterThan(40);
  const told = listed.map(([name = '', value = '']) => [name, amount(value)]);
  const coded = listed.map(([name = '']) => {
    const [file = '', constant = ''] = name.split(' ');
    const text = readFileSync(join(proxy, file), 'utf8');
    const [, factors] = new RegExp(`\\b${constant}(?:: number)?(?: =|:) ([0-9_ *]+)[,;]`).exec(text) ?? [];
    const product = factors?.split('*').reduce((sum, factor) => sum * Number(factor.replaceAll('_', '')), 1);
    return [name, product];
  });
  expect(told).toEqual(coded);
});

test('no limit of a head and no phase of a caller is missing', () => {
  const listed = rows('## Limits');
  const ofHeads = listed.filter(([name]) => name?.startsWith('http/limits.ts ') === true);
  expect(ofHeads.map(([name]) => name?.split(' ')[1])).toEqual(Object.keys(DEFAULT_LIMITS));
  const ofPhases = listed.filter(([name]) => name?.startsWith('session/phases.ts ') === true);
  expect(new Set(ofPhases.map(([, value = '']) => amount(value)))).toEqual(new Set(Object.values(PHASE_MS)));
});

test('the limits of HTTP/2 are those for callers and those between sidecars', () => {
  const listed = rows('### HTTP/2').map(([name, callers = '', mesh = '']) => [name, amount(callers), amount(mesh)]);
  const coded = Object.entries(DEFAULT_H2_LIMITS).map(([name, value]) => [
    name,
    value,
    MESH_H2_LIMITS[name as keyof typeof MESH_H2_LIMITS],
  ]);
  expect(listed).toEqual(coded);
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly not?: unknown;
}

/** Paths of the fields that hold a value; those that are refused by name are none. */
function leaves(schema: Schema, path: string): string[] {
  if (schema.not !== undefined) return [];
  if (schema.items?.properties !== undefined) return leaves(schema.items, `${path}[]`);
  if (schema.properties === undefined) return [path];
  return Object.entries(schema.properties).flatMap(([name, field]) =>
    leaves(field, path === '' ? name : `${path}.${name}`),
  );
}

test('the fields of TrafficPolicy are those of its schema', () => {
  const { spec } = (schemaOf(trafficPolicy) as Schema).properties ?? {};
  const told = new Set(rows('## TrafficPolicy').map(([field]) => field));
  // One row tells what every kind of hash reads, one what a header that faults ask for has; targets are no settings.
  const together =
    /^(targetRefs\[\]|loadBalancer\.consistentHash\.(headers\[\]|cookie|queryParams\[\])|faultInjection\.headers\[\]\.value)/;
  const fields = leaves(spec ?? {}, '').filter((field) => !together.test(field));
  expect(fields.length).toBeGreaterThan(50);
  expect(told).toEqual(new Set(fields));
});

/** What is off or has no bound is 0 or empty here. */
const DEFAULTS_OF: Readonly<Record<string, keyof typeof TRAFFIC_DEFAULTS>> = {
  'loadBalancer.slowStart.window': 'slowStartMs',
  'circuitBreaker.maxRequestsPerConnection': 'maxRequestsPerConnection',
  'circuitBreaker.errorRate.threshold': 'errorRatePercent',
  'circuitBreaker.errorRate.slowCall': 'slowCallMs',
  'timeout.http.requestTimeout': 'requestTimeoutMs',
  'timeout.http.streamIdleTimeout': 'streamIdleMs',
  'timeout.http.connectionIdleTimeout': 'connectionIdleMs',
  'timeout.http.maxConnectionDuration': 'maxConnectionAgeMs',
  'retry.retryOn.httpStatusCodes': 'statuses',
  'retry.perRetry.timeout': 'attemptTimeoutMs',
  'healthCheck.passive.consecutive5XxErrors': 'consecutiveErrors',
  'healthCheck.passive.successRate.deviations': 'successRateDeviations',
  'loadBalancer.type': 'type',
  'circuitBreaker.maxConnections': 'maxConnections',
  'circuitBreaker.maxPendingRequests': 'maxPendingRequests',
  'circuitBreaker.maxParallelRequests': 'maxParallelRequests',
  'circuitBreaker.maxParallelRetries': 'maxParallelRetries',
  'circuitBreaker.retryBudget.percent': 'retryBudgetPercent',
  'circuitBreaker.retryBudget.minRetriesPerSecond': 'retryBudgetMinPerSecond',
  'circuitBreaker.errorRate.window': 'errorWindowMs',
  'circuitBreaker.errorRate.minimumRequests': 'errorMinimumRequests',
  'circuitBreaker.errorRate.openTime': 'openMs',
  'circuitBreaker.errorRate.errors': 'errorKinds',
  'timeout.tcp.connectTimeout': 'connectTimeoutMs',
  'timeout.tcp.idleTimeout': 'tcpIdleMs',
  'retry.numRetries': 'retries',
  'retry.retryOn.triggers': 'triggers',
  'retry.retryOn.idempotencyKey': 'idempotencyKey',
  'retry.perRetry.backOff.baseInterval': 'backOffMs',
  'retry.perRetry.backOff.maxInterval': 'maxBackOffMs',
  'httpUpgrade[].type': 'upgrades',
  'healthCheck.panicThreshold': 'panicPercent',
  'healthCheck.passive.consecutiveGatewayErrors': 'consecutiveGatewayErrors',
  'healthCheck.passive.consecutiveLocalOriginFailures': 'consecutiveLocalFailures',
  'healthCheck.passive.interval': 'intervalMs',
  'healthCheck.passive.baseEjectionTime': 'baseEjectionMs',
  'healthCheck.passive.maxEjectionTime': 'maxEjectionMs',
  'healthCheck.passive.maxEjectionPercent': 'maxEjectionPercent',
  'healthCheck.passive.successRate.minimumHosts': 'successRateMinimumHosts',
  'healthCheck.passive.successRate.requestVolume': 'successRateRequestVolume',
};

/** What stands in a cell, as the defaults hold it. */
function asCoded(cell: string, like: unknown): unknown {
  const none = /^(off|none|no bound)$/.test(cell);
  if (Array.isArray(like)) return none ? [] : cell.split(', ');
  if (none) return 0;
  if (typeof like === 'boolean') return cell === 'true';
  if (typeof like === 'string') return cell;
  return /^[0-9]+$/.test(cell) ? Number(cell) : parseDuration(cell);
}

test('the defaults of TrafficPolicy are those that calls are made with', () => {
  const told = new Map(rows('## TrafficPolicy').map(([field = '', fallback = '']) => [field, fallback]));
  for (const [field, name] of Object.entries(DEFAULTS_OF)) {
    expect([field, asCoded(told.get(field) ?? '', TRAFFIC_DEFAULTS[name])]).toEqual([field, TRAFFIC_DEFAULTS[name]]);
  }
});
