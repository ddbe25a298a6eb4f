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
  private attempt: TraceContext | null = null;
  private ended = 0;

  constructor(fields: Fields, sampler: Sampler, random: Random) {
    this.context = startTrace(fields, sampler, random);
    this.random = random;
  }

  get sampled(): boolean {
    return this.context.sampled;
  }

  /** Takes the caller's context out of `fields` and returns the line that stands for it in this attempt. */
  lines(fields: Fields): string {
    const { context } = this;
    // The caller's own unsampled context goes on as it came.
    if (!context.sampled && context.parentSpanId !== '') return '';
    fields.remove('traceparent');
    if (context.state === '') fields.remove('tracestate');
    this.attempt = this.ofAttempt();
    return `traceparent: ${traceparent(this.attempt)}\r\n`;
  }

  /** The span context of the attempt that has just ended, which may have ended before its head was written. */
  endAttempt(): TraceContext {
    const context = this.attempt ?? this.ofAttempt();
    this.attempt = null;
    this.ended++;
    return context;
  }

  /** How often the request had been sent before the attempt under way. */
  get resends(): number {
    return this.ended;
  }

  /** The first attempt's span is the one announced; each further attempt has a span of its own beside it. */
  private ofAttempt(): TraceContext {
    const { context } = this;
    if (this.ended === 0) return context;
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
