/**
 * What the data threads tell of the traffic, as plain records: the end of a request, of a connection, of a span.
 * The data side counts and batches; the control side renders (metrics, otel, access-log).
 */
import type { Failure } from '../../shared/errors.ts';

export type Direction = 'inbound' | 'outbound';

/** Who is at one end, as far as it is known without asking anybody; `unknown` where it is not. */
export interface Party {
  readonly workload: string;
  readonly namespace: string;
  readonly app: string;
  readonly version: string;
  /** SPIFFE ID as `spiffe://…`, or `unknown`. */
  readonly principal: string;
  readonly cluster: string;
}

/** The Service asked for, as Istio's `destination_service*` labels name it; all `unknown` for a stranger. */
export interface ServiceLabels {
  readonly host: string;
  readonly name: string;
  readonly namespace: string;
}

export const UNKNOWN_PARTY: Party = Object.freeze({
  workload: 'unknown',
  namespace: 'unknown',
  app: 'unknown',
  version: 'unknown',
  principal: 'unknown',
  cluster: 'unknown',
});

export const UNKNOWN_SERVICE: ServiceLabels = Object.freeze({ host: 'unknown', name: 'unknown', namespace: 'unknown' });

/** Flags that Envoy writes before that of a delay. */
const BEFORE_WAIT: ReadonlySet<string> = new Set(['UH', 'UT', 'LR', 'UR', 'UF', 'UC', 'UO', 'NR']);

/** As Envoy's `%RESPONSE_FLAGS%`: all that hold, in Envoy's order, `-` for none. */
export function responseFlags(failure: Failure | null, waitFlag: string): string {
  const flag = failure === null ? '-' : failure.flag;
  if (waitFlag === '') return flag;
  if (flag === '-') return waitFlag;
  return BEFORE_WAIT.has(flag) ? `${flag},${waitFlag}` : `${waitFlag},${flag}`;
}

export interface RequestRecord {
  readonly direction: Direction;
  /** Wall clock milliseconds, with fraction. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** Milliseconds spent waiting for the upstream's head, -1 without an upstream. */
  readonly upstreamMs: number;
  readonly method: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string;
  /** Path and query as forwarded. */
  readonly path: string;
  /** 10, 11 or 20. */
  readonly version: number;
  /** Status the caller saw; 0 if none was sent. */
  readonly status: number;
  /** Code that an RPC ended with, -1 where none was sent; null for other requests. */
  readonly grpcStatus: number | null;
  readonly failure: Failure | null;
  /** Response flag of a delay that policy made; empty without. */
  readonly waitFlag: string;
  /** One line about the failure beyond its word; empty without. */
  readonly detail: string;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly requestId: string;
  readonly traceId: string;
  readonly route: string;
  readonly cluster: string;
  /** `address:port` of the endpoint of the last attempt; empty without. */
  readonly upstream: string;
  readonly attempts: number;
  readonly downstream: string;
  /** Verified SPIFFE IDs; empty without mutual TLS. */
  readonly downstreamPrincipal: string;
  readonly upstreamPrincipal: string;
  readonly userAgent: string;
}

/** One try of an outbound request at one endpoint; the exchange it belongs to is a RequestRecord. */
export interface AttemptRecord {
  readonly startedAt: number;
  readonly durationMs: number;
  /** From 0: how often the request had been sent before. */
  readonly resend: number;
  /** Status the endpoint gave; 0 if none came. */
  readonly status: number;
  readonly failure: Failure | null;
  /** `address:port` of the endpoint; empty where none was found. */
  readonly upstream: string;
  readonly upstreamPrincipal: string;
}

export interface ConnectionRecord {
  readonly direction: Direction;
  readonly startedAt: number;
  readonly durationMs: number;
  readonly failure: Failure | null;
  readonly detail: string;
  /** Bytes from downstream to upstream, and back. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly authority: string;
  readonly cluster: string;
  readonly upstream: string;
  readonly downstream: string;
  readonly downstreamPrincipal: string;
  readonly upstreamPrincipal: string;
}

/** A finished span of a sampled request; only such requests make one. Times in wall clock milliseconds. */
export interface SpanRecord {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  /** `tracestate` to keep, empty without. */
  readonly traceState: string;
  readonly kind: 'SERVER' | 'CLIENT';
  readonly name: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly error: string;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
}
