import { describe, expect, test } from 'vitest';
import { Fields } from '../../../proxy/http/message.ts';
import { ExchangeTrace } from '../../../proxy/session/exchange-trace.ts';
import { parseTraceparent } from '../../../proxy/telemetry/propagation.ts';
import { Sampler } from '../../../proxy/telemetry/sampling.ts';
import { Random } from '../../../shared/random.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';
const EVERY = new Sampler(100, true);
const NONE = new Sampler(0, true);

function traceOf(fields: Fields, sampler: Sampler): ExchangeTrace {
  return new ExchangeTrace(fields, sampler, new Random(1));
}

/** The value of the one `traceparent` line. */
function sent(lines: string): string {
  expect(lines).toMatch(/^traceparent: .*\r\n$/);
  return lines.slice('traceparent: '.length, -2);
}

describe('the trace of an exchange', () => {
  test('puts a span of its own in the place of a sampled caller, whose state goes on', () => {
    const fields = new Fields(['traceparent', 'tracestate'], [`00-${TRACE}-${SPAN}-01`, 'a=1']);
    const trace = traceOf(fields, NONE);
    expect(sent(trace.lines(fields, 1))).toBe(`00-${TRACE}-${trace.context.spanId}-01`);
    expect(trace.context.spanId).not.toBe(SPAN);
    expect(fields.has('traceparent')).toBe(false);
    expect(fields.get('tracestate')).toBe('a=1');
  });

  test('leaves the context of an unsampled caller as it came', () => {
    const fields = new Fields(['traceparent'], [`00-${TRACE}-${SPAN}-00`]);
    expect(traceOf(fields, EVERY).lines(fields, 1)).toBe('');
    expect(fields.get('traceparent')).toBe(`00-${TRACE}-${SPAN}-00`);
  });

  test('begins anew where the caller says nothing that can be read, and drops the state that belonged to it', () => {
    for (const [sampler, sampled] of [
      [EVERY, true],
      [NONE, false],
    ] as const) {
      const fields = new Fields(['traceparent', 'tracestate'], ['nonsense', 'a=1']);
      const trace = traceOf(fields, sampler);
      const { traceId, spanId } = trace.context;
      expect(parseTraceparent(sent(trace.lines(fields, 1)))).toEqual({ traceId, spanId, sampled, state: '' });
      expect(fields.names).toEqual([]);
    }
  });

  test('announces each further attempt by a span of its own, and ends it as that span', () => {
    const fields = new Fields();
    const trace = traceOf(fields, EVERY);
    const spans = [1, 2, 3].map((attempt) => parseTraceparent(sent(trace.lines(fields, attempt)))?.spanId);
    expect(new Set(spans).size).toBe(3);
    expect([1, 2, 3].map((attempt) => trace.endAttempt(attempt).spanId)).toEqual(spans);
  });

  test('ends an attempt whose head was never written as a span of its own', () => {
    const trace = traceOf(new Fields(), EVERY);
    expect(trace.endAttempt(2).spanId).not.toBe(trace.context.spanId);
    expect(trace.endAttempt(2)).toMatchObject({ traceId: trace.context.traceId, sampled: true });
  });
});
