/**
 * Tells what happened on one data thread: metrics for every request and connection, a log line where the log is on, spans
 * for sampled requests. Series are looked up by identities and clusters, which policy and certificates bound.
 */

import { parseSpiffeId } from '../../certs/identity.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Failure } from '../../shared/errors.ts';
import type { AccessLog } from '../telemetry/access-log.ts';
import type { Metrics, RequestSeries, TcpSeries } from '../telemetry/metrics.ts';
import {
  type ConnectionRecord,
  type Direction,
  type Party,
  type ServiceLabels,
  type SpanRecord,
  UNKNOWN_PARTY,
  UNKNOWN_SERVICE,
} from '../telemetry/record.ts';
import type { Sampler } from '../telemetry/sampling.ts';
import { SpanBatch } from '../telemetry/span-batch.ts';
import { Refusals, retries } from '../telemetry/weft-series.ts';

/** Refused connections that get a log line within a second; the metric counts all. */
const REFUSAL_LINES_PER_SECOND = 10;

export interface StoryOutlets {
  spans(batch: readonly SpanRecord[]): void;
  notice(level: 'info' | 'warn' | 'error', message: string, fields: Readonly<Record<string, unknown>>): void;
}

/** What requests are counted for: a destination, or what stands for those that have none. */
export interface Counted {
  readonly service: ServiceLabels;
  /** By who answered; filled here. */
  readonly series: Map<string, RequestSeries>;
}

export class Story {
  readonly metrics: Metrics;
  /** null while the access log is off. */
  log: AccessLog | null = null;
  /** null without tracing. */
  sampler: Sampler | null = null;
  private readonly clock: Clock;
  private readonly self: Party;
  private readonly outlets: StoryOutlets;
  private readonly inbound = new Map<string, RequestSeries>();
  private readonly refusals: Refusals;
  private readonly spans: SpanBatch;
  private refusalSecond = 0;
  private refusalLines = 0;

  constructor(clock: Clock, metrics: Metrics, self: Party, outlets: StoryOutlets) {
    this.clock = clock;
    this.metrics = metrics;
    this.self = self;
    this.outlets = outlets;
    this.spans = new SpanBatch(clock, (batch) => outlets.spans(batch));
    this.refusals = new Refusals(metrics);
  }

  /** The series of requests from this caller (`''`: no verified identity) to the own application. */
  inboundSeries(principal: string, protocol: 'http' | 'grpc'): RequestSeries {
    const key = protocol === 'grpc' ? `${principal} grpc` : principal;
    let series = this.inbound.get(key);
    if (series === undefined) {
      series = this.metrics.requestSeries({
        reporter: 'destination',
        source: partyOf(principal),
        destination: this.self,
        service: this.ownService(),
        protocol,
        security: principal === '' ? 'none' : 'mutual_tls',
      });
      this.inbound.set(key, series);
    }
    return series;
  }

  /** The series of requests to this destination's Service, answered by this identity (`''`: none verified). */
  outboundSeries({ service, series: known }: Counted, principal: string, protocol: 'http' | 'grpc'): RequestSeries {
    const key = protocol === 'grpc' ? `${principal} grpc` : principal;
    let series = known.get(key);
    if (series === undefined) {
      series = this.metrics.requestSeries({
        reporter: 'source',
        source: this.self,
        destination: { ...partyOf(principal), namespace: service.namespace },
        service,
        protocol,
        security: principal === '' ? 'unknown' : 'mutual_tls',
      });
      known.set(key, series);
    }
    return series;
  }

  tcpSeries(direction: Direction, service: ServiceLabels, principal: string): TcpSeries {
    const inbound = direction === 'inbound';
    return this.metrics.tcpSeries({
      reporter: inbound ? 'destination' : 'source',
      source: inbound ? partyOf(principal) : this.self,
      destination: inbound ? this.self : { ...partyOf(principal), namespace: service.namespace },
      service: inbound ? this.ownService() : service,
      security: principal === '' ? 'none' : 'mutual_tls',
    });
  }

  connection(record: ConnectionRecord): void {
    this.log?.connection(record);
  }

  /** A local answer or a refused connection: counted by its word. */
  refused(failure: Failure): void {
    this.refusals.count(failure);
  }

  /** What never became an exchange, or a connection: counted, and logged at a bounded rate. */
  refusedConnection(direction: Direction, failure: Failure, detail: string, address: string): void {
    this.refused(failure);
    const second = Math.floor(this.clock.now() / 1000);
    if (second !== this.refusalSecond) {
      this.refusalSecond = second;
      this.refusalLines = 0;
    }
    this.refusalLines++;
    if (this.refusalLines > REFUSAL_LINES_PER_SECOND) return;
    const { word, advice } = failure;
    this.outlets.notice('warn', 'connection refused', { direction, word, detail, advice, downstream: address });
  }

  /** Another attempt is made; null: for an answer that policy retries. */
  retried(failure: Failure | null): void {
    retries(this.metrics, failure).inc();
  }

  span(span: SpanRecord): void {
    this.spans.add(span);
  }

  /** Hands over what waits; before the thread ends. */
  flush(): void {
    this.log?.flush();
    this.spans.flush();
  }

  private ownService(): ServiceLabels {
    const { app, namespace } = this.self;
    return app === 'unknown'
      ? { ...UNKNOWN_SERVICE, namespace }
      : { host: `${app}.${namespace}`, name: app, namespace };
  }
}

/** What a verified name tells; workloads themselves are unknown without a registry of pods. */
function partyOf(principal: string): Party {
  if (principal === '') return UNKNOWN_PARTY;
  const id = parseSpiffeId(principal);
  const namespace = id === null || id.namespace === '' ? 'unknown' : id.namespace;
  const workload = id === null || id.serviceAccount === '' ? 'unknown' : id.serviceAccount;
  return { ...UNKNOWN_PARTY, namespace, workload, principal };
}
