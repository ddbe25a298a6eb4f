import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Fields } from '../../../proxy/http/message.ts';
import {
  extract,
  MAX_TRACE_STATE,
  parseB3,
  parseTraceparent,
  parseTraceState,
  startTrace,
  TraceContext,
  traceparent,
} from '../../../proxy/telemetry/propagation.ts';
import { Sampler } from '../../../proxy/telemetry/sampling.ts';
import { Random } from '../../../shared/random.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

function fields(...pairs: [string, string][]): Fields {
  return new Fields(
    pairs.map(([name]) => name),
    pairs.map(([, value]) => value),
  );
}

describe('traceparent', () => {
  test('is read with its sampled flag, whatever the other flags', () => {
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-01`)).toMatchObject({ traceId: TRACE, spanId: SPAN, sampled: true });
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-00`)?.sampled).toBe(false);
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-ff`)?.sampled).toBe(true);
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-02`)?.sampled).toBe(false);
  });

  test('of a later version is read as far as it is known', () => {
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01`)?.traceId).toBe(TRACE);
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01-what-will-be`)?.traceId).toBe(TRACE);
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01.what`)).toBeNull();
  });

  test.each([
    ['empty', ''],
    ['too short', `00-${TRACE}-${SPAN}-0`],
    ['too long for version 00', `00-${TRACE}-${SPAN}-01-`],
    ['of the forbidden version ff', `ff-${TRACE}-${SPAN}-01`],
    ['without a hexadecimal version', `0x-${TRACE}-${SPAN}-01`],
    ['all zeros as trace', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['all zeros as span', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['upper case', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ['with a bad digit in the trace', `00-${TRACE.slice(0, 31)}g-${SPAN}-01`],
    ['with a bad digit in the span', `00-${TRACE}-${SPAN.slice(0, 15)}.-01`],
    ['with bad flags', `00-${TRACE}-${SPAN}-0.`],
    ['with other separators', `00_${TRACE}_${SPAN}_01`],
    ['surrounded by spaces', ` 00-${TRACE}-${SPAN}-01`],
  ])('is refused when it is %s', (_, text) => {
    expect(parseTraceparent(text)).toBeNull();
  });

  test('that was made is read back equal, for any seed', () => {
    fc.assert(
      fc.property(fc.integer(), fc.boolean(), (seed, sampled) => {
        const random = new Random(seed);
        const context = new TraceContext(random.hex(16), random.hex(8), '', sampled, '');
        expect(parseTraceparent(traceparent(context))).toEqual({
          traceId: context.traceId,
          spanId: context.spanId,
          sampled,
          state: '',
        });
      }),
      { seed: 4, numRuns: 200 },
    );
  });

  test('twice in a request counts as none', () => {
    const given = `00-${TRACE}-${SPAN}-01`;
    expect(extract(fields(['traceparent', given], ['Traceparent', given]))).toBeNull();
  });
});

describe('tracestate', () => {
  test('keeps its members in order over several lines, without blanks and empty members', () => {
    expect(parseTraceState(['rojo=00f067aa0ba902b7,  congo=t61rcWkgMzE', ' , fw529a3039@dt=x'])).toBe(
      'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,fw529a3039@dt=x',
    );
  });

  test.each([
    ['no value', 'a'],
    ['an empty value', 'a='],
    ['an upper case key', 'A=1'],
    ['an equals sign in the value', 'a=1=2'],
    ['a control in the value', 'a=1\x01'],
    ['the same key twice', 'a=1,a=2'],
    ['more than 32 members', Array.from({ length: 33 }, (_, at) => `k${at}=1`).join(',')],
    ['too many bytes', `a=${'x'.repeat(200)},`.repeat(1) + `b=${'y'.repeat(MAX_TRACE_STATE)}`],
  ])('is dropped whole with %s', (_, text) => {
    expect(parseTraceState([text])).toBe('');
  });
});

describe('B3', () => {
  test('in one header is read: ids and every decision', () => {
    expect(parseB3(`${TRACE}-${SPAN}-1`)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true, state: '' });
    expect(parseB3(`${TRACE}-${SPAN}-d`)?.sampled).toBe(true);
    expect(parseB3(`${TRACE}-${SPAN}-0-05e3ac9a4f6e3b90`)?.sampled).toBe(false);
    expect(parseB3(`${TRACE}-${SPAN}`)?.sampled).toBeNull();
    expect(parseB3('0')).toEqual({ traceId: '', spanId: '', sampled: false, state: '' });
  });

  test('pads a trace id of 64 bits', () => {
    expect(parseB3(`${SPAN}-${SPAN}-1`)?.traceId).toBe('0'.repeat(16) + SPAN);
  });

  test.each([
    '',
    '2',
    'x-y',
    `${TRACE}-${SPAN}-2`,
    `${TRACE}-short-1`,
    `${TRACE}-${SPAN}-1-zz`,
    `${TRACE}-${SPAN}-1-${SPAN}-1`,
  ])('is refused as %j', (text) => {
    expect(parseB3(text)).toBeNull();
  });

  test('in many headers is read, the debug flag as a yes', () => {
    const ids: [string, string][] = [
      ['X-B3-TraceId', TRACE],
      ['X-B3-SpanId', SPAN],
    ];
    expect(extract(fields(...ids))).toEqual({ traceId: TRACE, spanId: SPAN, sampled: null, state: '' });
    expect(extract(fields(...ids, ['X-B3-Sampled', '0']))?.sampled).toBe(false);
    expect(extract(fields(...ids, ['X-B3-Flags', '1']))?.sampled).toBe(true);
    expect(extract(fields(['X-B3-Sampled', '1']))).toMatchObject({ traceId: '', sampled: true });
    expect(extract(fields(...ids, ['X-B3-Sampled', 'perhaps']))).toBeNull();
    expect(extract(fields(['X-B3-TraceId', TRACE]))).toBeNull();
  });

  test('yields to a valid traceparent and stands in for a broken one', () => {
    const b3: [string, string] = ['b3', `${'1'.repeat(32)}-${'2'.repeat(16)}-1`];
    expect(extract(fields(b3, ['traceparent', `00-${TRACE}-${SPAN}-00`]))?.traceId).toBe(TRACE);
    expect(extract(fields(b3, ['traceparent', 'broken']))?.traceId).toBe('1'.repeat(32));
  });
});

describe('a trace', () => {
  test('goes on below the caller, with its state and its decision', () => {
    const headers = fields(['traceparent', `00-${TRACE}-${SPAN}-01`], ['tracestate', 'a=1']);
    const context = startTrace(headers, new Sampler(0, true), new Random(1));
    expect(context).toMatchObject({ traceId: TRACE, parentSpanId: SPAN, sampled: true, state: 'a=1' });
    expect(context.spanId).not.toBe(SPAN);
  });

  test('begins anew where the caller has none, without a state that belongs to nothing', () => {
    const headers = fields(['traceparent', 'nonsense'], ['tracestate', 'a=1']);
    const context = startTrace(headers, new Sampler(100, true), new Random(1));
    expect(context).toMatchObject({ parentSpanId: '', sampled: true, state: '' });
  });

  test('obeys a decision that comes without ids', () => {
    expect(startTrace(fields(['b3', '0']), new Sampler(100, true), new Random(1)).sampled).toBe(false);
    expect(startTrace(fields(['b3', '1']), new Sampler(0, true), new Random(1)).sampled).toBe(true);
  });

  test('has the same ids from the same seed', () => {
    const start = (): TraceContext => startTrace(fields(), new Sampler(50, true), new Random(9));
    expect(start()).toEqual(start());
  });
});
