/** An exchange's place in its trace: what goes on the wire with each attempt, and the spans of a sampled request. */
import type { Failure } from '../../shared/errors.ts';
import type { Random } from '../../shared/random.ts';
import type { Fields } from '../http/message.ts';
import { startTrace, TraceContext, traceparent } from '../telemetry/propagation.ts';
import type { AttemptRecord } from '../telemetry/record.ts';
import type { Sampler } from '../telemetry/sampling.ts';

export class ExchangeTrace {
  readonly context: TraceContext;
  private readonly random: Random;
  /** Of attempts from the second on whose head was written, by number less two. */
  private others: (TraceContext | undefined)[] | null = null;

  constructor(fields: Fields, sampler: Sampler, random: Random) {
    this.context = startTrace(fields, sampler, random);
    this.random = random;
  }

  get sampled(): boolean {
    return this.context.sampled;
  }

  /** Takes the caller's context out of `fields` and returns the line that stands for it in this attempt (from 1). */
  lines(fields: Fields, attempt: number): string {
    const { context } = this;
    // The caller's own unsampled context goes on as it came.
    if (!context.sampled && context.parentSpanId !== '') return '';
    fields.remove('traceparent');
    if (context.state === '') fields.remove('tracestate');
    const own = this.ofAttempt(attempt);
    if (attempt > 1) (this.others ??= [])[attempt - 2] = own;
    return `traceparent: ${traceparent(own)}\r\n`;
  }

  /** The span context of an attempt that has just ended, which may have ended before its head was written. */
  endAttempt(attempt: number): TraceContext {
    return this.others?.[attempt - 2] ?? this.ofAttempt(attempt);
  }

  /** The first attempt's span is the one announced; each further attempt has a span of its own beside it. */
  private ofAttempt(attempt: number): TraceContext {
    const { context } = this;
    if (attempt === 1) return context;
    return new TraceContext(context.traceId, this.random.hex(8), context.parentSpanId, context.sampled, context.state);
  }
}

/** An attempt that ended now, at `now` of the monotonic and `wall` of the wall clock. */
export function attemptRecord(
  endpointKey: string,
  startedAt: number,
  now: number,
  wall: number,
  resend: number,
  status: number,
  failure: Failure | null,
  upstreamPrincipal: string,
): AttemptRecord {
  const durationMs = now - startedAt;
  return {
    startedAt: wall - durationMs,
    durationMs,
    resend,
    status,
    failure,
    upstream: endpointKey,
    upstreamPrincipal,
  };
}
