/**
 * weft's own metrics: every `weft_*` name, with its help text and the closed set its labels come from.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Counter, Metrics } from './metrics.ts';

/** Requests and connections that weft ended itself, by word of the error table. Prepared: counting is one look-up. */
export class Refusals {
  private readonly counters: ReadonlyMap<Failure, Counter>;

  constructor(metrics: Metrics) {
    const help = 'Requests and connections that weft refused or ended itself, by its word for the reason.';
    const counter = ({ word }: Failure): Counter => metrics.counter('weft_refusals_total', help, { word });
    this.counters = new Map(Object.values(FAILURES).map((failure) => [failure, counter(failure)]));
  }

  /** `failure` must be a row of the table itself. */
  count(failure: Failure): void {
    this.counters.get(failure)?.inc();
  }
}

export type ReloadResult = 'applied' | 'refused';

export function policyReloads(metrics: Metrics, result: ReloadResult): Counter {
  return metrics.counter('weft_policy_reloads_total', 'Readings of the policy folder, by what came of them.', {
    result,
  });
}

export type RotationResult = 'applied' | 'refused';

export function certificateRotations(metrics: Metrics, result: RotationResult): Counter {
  const help = 'Readings of a new certificate, by what came of them.';
  return metrics.counter('weft_certificate_rotations_total', help, { result });
}

/** Why a data thread had to be replaced. */
export type RestartReason = 'crash' | 'out_of_memory' | 'exit';

export function threadRestarts(metrics: Metrics, reason: RestartReason): Counter {
  return metrics.counter('weft_thread_restarts_total', 'Data threads that were replaced, by reason.', { reason });
}

/** Further attempts of requests, by what the attempt before had met; null: an answer that policy retries. */
export function retries(metrics: Metrics, failure: Failure | null): Counter {
  const help = 'Attempts after the first, by the word of the failure that caused them ("answer": a status or code).';
  return metrics.counter('weft_retries_total', help, { word: failure === null ? 'answer' : failure.word });
}

/** As many bits as a double holds without loss. */
const HASH_DIGITS = 12;

/** What control reads for its gauges; times are wall clock milliseconds, 0 where there is none yet. */
export interface ControlState {
  certificateNotAfter(): number;
  certificateRotatedAt(): number;
  certificateFailedAt(): number;
  policyAppliedAt(): number;
  /** Hexadecimal; empty without a policy. */
  policyHash(): string;
  ready(): boolean;
  dataThreads(): number;
  logWritesDropped(): number;
}

export function registerControlGauges(metrics: Metrics, version: string, state: ControlState): void {
  metrics.gauge('weft_build_info', 'Always 1; the labels say what runs.', { version, node: process.version }, () => 1);
  metrics.gauge(
    'weft_certificate_expiry_seconds',
    'When the certificate in use expires, in seconds since 1970; 0 without one.',
    {},
    () => state.certificateNotAfter() / 1000,
  );
  metrics.gauge(
    'weft_certificate_last_rotation_seconds',
    'When the certificate in use was taken into use, in seconds since 1970; 0 without one.',
    {},
    () => state.certificateRotatedAt() / 1000,
  );
  metrics.gauge(
    'weft_certificate_last_error_seconds',
    'When a certificate last could not be had or used, in seconds since 1970; 0 if never. The log says why.',
    {},
    () => state.certificateFailedAt() / 1000,
  );
  metrics.gauge(
    'weft_policy_applied_seconds',
    'When the policy in force was applied, in seconds since 1970; 0 without one.',
    {},
    () => state.policyAppliedAt() / 1000,
  );
  metrics.gauge(
    'weft_policy_hash',
    'Content hash of the policy in force, its first 48 bits: equal policy, equal number; 0 without one.',
    {},
    () => Number.parseInt(`0${state.policyHash().slice(0, HASH_DIGITS)}`, 16),
  );
  metrics.gauge('weft_ready', '1 while the readiness server answers 200.', {}, () => (state.ready() ? 1 : 0));
  metrics.gauge('weft_data_threads', 'Data threads that are up.', {}, () => state.dataThreads());
  const dropped = 'Writes to standard output that were dropped because nobody read it.';
  metrics.gauge('weft_log_writes_dropped', dropped, {}, () => state.logWritesDropped());
  metrics.gauge('weft_resident_memory_bytes', 'Resident memory of the process.', {}, residentMemory);
}

/** NaN, which Prometheus shows as a gap, where the process is out of file descriptors: the other metrics tell of that. */
function residentMemory(): number {
  try {
    return process.memoryUsage.rss();
  } catch {
    return Number.NaN;
  }
}

/** What a data thread reads for its gauges; the threads' values add up. */
export interface DataState {
  downstreamConnections(): number;
  upstreamConnections(): number;
  activeRequests(): number;
}

export function registerDataGauges(metrics: Metrics, state: DataState): void {
  const downstream = 'Open connections from callers.';
  metrics.gauge('weft_downstream_connections', downstream, {}, () => state.downstreamConnections());
  const upstream = 'Open connections to endpoints, idle ones included.';
  metrics.gauge('weft_upstream_connections', upstream, {}, () => state.upstreamConnections());
  metrics.gauge('weft_active_requests', 'Requests that are not finished.', {}, () => state.activeRequests());
}

/** A Service port's adaptive limit, for the next report; data threads' values add up to that of the sidecar. */
export function sampleConcurrency(
  metrics: Metrics,
  cluster: string,
  { limit, refused }: { readonly limit: number; readonly refused: number },
): void {
  const help = 'Requests at a time that the adaptive limit of this Service port admits now.';
  metrics.sample('weft_concurrency_limit', help, { cluster }, limit);
  const refusedHelp = 'Requests that the adaptive limit has turned away.';
  metrics.sample('weft_concurrency_refused', refusedHelp, { cluster }, refused);
}

const BREAKER_STATES = ['admitting', 'ejected', 'probing'] as const;

/**
 * How many data threads have their breaker of a Service port in each state, and what those breakers turned away, for the
 * next report.
 */
export function sampleBreaker(
  metrics: Metrics,
  cluster: string,
  breaker: { readonly state: string; readonly refused: number },
): void {
  for (const state of BREAKER_STATES) {
    const help = 'Data threads whose circuit breaker of this Service port is in this state.';
    metrics.sample('weft_breaker_state', help, { cluster, state }, breaker.state === state ? 1 : 0);
  }
  const help = 'Requests that the circuit breaker in force has turned away.';
  metrics.sample('weft_breaker_refused', help, { cluster }, breaker.refused);
}
