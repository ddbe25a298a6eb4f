/**
 * Span records become spans of the OpenTelemetry SDK and leave through the exporter that the `OTEL_*` variables name.
 * Control thread only: importing the SDK costs half a second and 70 MB, so it happens here, on demand, after the
 * listeners are up. A collector that is slow or gone costs spans, never requests: the SDK's batch queue is bounded.
 */
import type { Context, HrTime, SpanContext, Tracer, TracerProvider } from '@opentelemetry/api';
import type { SpanRecord } from './record.ts';

/** Milliseconds that `flush` and `shutdown` wait for the collector: a drained sidecar must not linger for one that is gone. */
const FLUSH_TIME = 1000;
/** Milliseconds between two complaints about the collector. */
const COMPLAINT_INTERVAL = 60_000;

export interface SpanExport {
  /** Hands finished spans over; returns at once. */
  add(spans: readonly SpanRecord[]): void;
  /** Sends what waits; resolves when it is sent or given up, at most 1 s later. Never rejects. */
  flush(): Promise<void>;
  /** The same, and ends the export for good. */
  shutdown(): Promise<void>;
}

export interface SpanExportOptions {
  /** `service.name` where neither `OTEL_SERVICE_NAME` nor `OTEL_RESOURCE_ATTRIBUTES` gives one. */
  readonly workload: string;
  readonly version: string;
  /** What the SDK complains of (the collector is gone, a variable is wrong), at most once a minute. */
  readonly warn: (message: string) => void;
}

/** Loads and starts the SDK from the process's environment; call it only when `tracingSettings` is not null. */
export async function startSpanExport(options: SpanExportOptions): Promise<SpanExport> {
  const [api, { NodeSDK }] = await Promise.all([import('@opentelemetry/api'), import('@opentelemetry/sdk-node')]);
  const complain = atMostOften(options.warn);
  const quiet = (): void => {};
  api.diag.setLogger(
    { error: complain, warn: complain, info: quiet, debug: quiet, verbose: quiet },
    { logLevel: api.DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  const ids = new NextIds();
  const sdk = new NodeSDK({
    idGenerator: ids,
    sampler: everySpan,
    // Empty lists keep the SDK from exporting metrics and logs on its own account.
    metricReaders: [],
    logRecordProcessors: [],
    textMapPropagator: null,
    ...(namesService(process.env) ? {} : { serviceName: options.workload }),
  });
  sdk.start();
  const provider = api.trace.getTracerProvider();
  const convert = new Converter(api.trace.getTracer('weft', options.version), ids, api);
  return {
    add: (spans) => convert.all(spans),
    flush: () => bounded(() => forceFlush(provider), complain),
    shutdown: () => bounded(() => sdk.shutdown(), complain),
  };
}

/** The data threads have sampled already. 2 is RECORD_AND_SAMPLED, an enumeration of a package weft does not list. */
const everySpan = { shouldSample: (): { decision: number } => ({ decision: 2 }), toString: (): string => 'weft' };

/** The SDK asks for IDs while a span starts; it gets those the data thread has already sent on the wire. */
class NextIds {
  traceId = '';
  spanId = '';

  generateTraceId(): string {
    return this.traceId;
  }

  generateSpanId(): string {
    return this.spanId;
  }
}

type Api = typeof import('@opentelemetry/api');

class Converter {
  private readonly tracer: Tracer;
  private readonly ids: NextIds;
  private readonly api: Api;

  constructor(tracer: Tracer, ids: NextIds, api: Api) {
    this.tracer = tracer;
    this.ids = ids;
    this.api = api;
  }

  all(records: readonly SpanRecord[]): void {
    for (const record of records) this.one(record);
  }

  private one(record: SpanRecord): void {
    const { SpanKind, SpanStatusCode } = this.api;
    this.ids.traceId = record.traceId;
    this.ids.spanId = record.spanId;
    const span = this.tracer.startSpan(
      record.name,
      {
        kind: record.kind === 'SERVER' ? SpanKind.SERVER : SpanKind.CLIENT,
        startTime: hrTime(record.startedAt),
        attributes: record.attributes,
      },
      this.parentOf(record),
    );
    if (record.error !== '') span.setStatus({ code: SpanStatusCode.ERROR, message: record.error });
    span.end(hrTime(Math.max(record.startedAt, record.endedAt)));
  }

  private parentOf(record: SpanRecord): Context {
    const { ROOT_CONTEXT, TraceFlags, createTraceState, trace } = this.api;
    if (record.parentSpanId === '') return ROOT_CONTEXT;
    const parent: SpanContext = {
      traceId: record.traceId,
      spanId: record.parentSpanId,
      traceFlags: TraceFlags.SAMPLED,
      isRemote: true,
      ...(record.traceState === '' ? {} : { traceState: createTraceState(record.traceState) }),
    };
    return trace.setSpanContext(ROOT_CONTEXT, parent);
  }
}

/** Seconds and nanoseconds: as a plain number the SDK may take a time for one since the start of the process. */
function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}

function namesService(env: Readonly<Record<string, string | undefined>>): boolean {
  return (
    (env['OTEL_SERVICE_NAME'] ?? '') !== '' || /(?:^|,)\s*service\.name\s*=/.test(env['OTEL_RESOURCE_ATTRIBUTES'] ?? '')
  );
}

/** The API's provider stands before the SDK's, which has the method. */
async function forceFlush(provider: TracerProvider): Promise<void> {
  const outer = provider as { getDelegate?: () => { forceFlush?: () => Promise<void> } };
  await outer.getDelegate?.().forceFlush?.();
}

async function bounded(work: () => Promise<void>, complain: (message: string) => void): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error('the trace collector did not take the spans in time')), FLUSH_TIME);
  try {
    await Promise.race([work(), late]);
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
  } finally {
    clearTimeout(timer);
  }
}

function atMostOften(warn: (message: string) => void): (message: string) => void {
  let next = Number.NEGATIVE_INFINITY;
  return (message) => {
    const now = performance.now();
    if (now < next) return;
    next = now + COMPLAINT_INTERVAL;
    warn(message);
  };
}
