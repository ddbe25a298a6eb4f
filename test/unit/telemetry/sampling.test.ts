import { describe, expect, test } from 'vitest';
import { Sampler, samplerOf, tracingSettings } from '../../../proxy/telemetry/sampling.ts';
import { Random } from '../../../shared/random.ts';

const ON = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };

describe('tracing', () => {
  test.each([
    ['nothing is set', {}, false],
    ['an endpoint is set', ON, true],
    ['an endpoint for traces is set', { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c/v1/traces' }, true],
    ['the endpoint is empty', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }, false],
    ['an exporter is named', { OTEL_TRACES_EXPORTER: 'otlp' }, true],
    ['the exporter is none', { ...ON, OTEL_TRACES_EXPORTER: 'none' }, false],
    ['the SDK is disabled', { ...ON, OTEL_SDK_DISABLED: 'TRUE' }, false],
  ])('when %s', (_, env, on) => {
    expect(tracingSettings(env) !== null).toBe(on);
  });

  test.each([
    [undefined, undefined, null, true],
    ['always_on', undefined, 100, false],
    ['always_off', undefined, 0, false],
    ['traceidratio', '0.25', 25, false],
    ['traceidratio', undefined, 100, false],
    ['traceidratio', '7', 100, false],
    ['traceidratio', 'NaN', 100, false],
    ['parentbased_always_on', undefined, 100, true],
    ['parentbased_always_off', undefined, 0, true],
    ['parentbased_traceidratio', '0', 0, true],
    ['jaeger_remote', 'x', null, true],
  ])('samples under OTEL_TRACES_SAMPLER=%s with argument %s', (sampler, argument, samplingPercent, parentBased) => {
    const env = { ...ON, OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument };
    expect(tracingSettings(env)).toEqual({ samplingPercent, parentBased });
  });
});

describe('a sampler', () => {
  test('takes its percentage from the environment, then Telemetry, then one', () => {
    const share = (environment: number | null, telemetry: number | null): number => {
      const sampler = samplerOf({ samplingPercent: environment, parentBased: true }, telemetry);
      const random = new Random(3);
      let sampled = 0;
      for (let i = 0; i < 20_000; i++) if (sampler.samples(null, random.hex(16))) sampled++;
      return sampled / 200;
    };
    expect(share(25, 75)).toBeCloseTo(25, -0.5);
    expect(share(null, 75)).toBeCloseTo(75, -0.5);
    expect(share(null, null)).toBeGreaterThan(0.5);
    expect(share(null, null)).toBeLessThan(1.5);
  });

  test('follows the caller if it is based on the parent, and only then', () => {
    expect(new Sampler(0, true).samples(true, 'f'.repeat(32))).toBe(true);
    expect(new Sampler(100, true).samples(false, 'f'.repeat(32))).toBe(false);
    expect(new Sampler(0, false).samples(true, 'f'.repeat(32))).toBe(false);
    expect(new Sampler(100, false).samples(false, 'f'.repeat(32))).toBe(true);
  });

  test('takes every trace at 100 and none at 0, the extreme ids too', () => {
    for (const traceId of ['0'.repeat(31) + '1', 'f'.repeat(32)]) {
      expect(new Sampler(100, true).samples(null, traceId)).toBe(true);
      expect(new Sampler(0, true).samples(null, traceId)).toBe(false);
    }
  });

  test('takes exactly the traces whose last 13 digits, as a number, are below the share', () => {
    const random = new Random(6);
    for (const percent of [0.001, 1, 12.5, 50, 99.999]) {
      const threshold = Math.floor((percent / 100) * 2 ** 52);
      const sampler = new Sampler(percent, false);
      const edges = [threshold - 1, threshold, threshold + 1].map(
        (last) => `${random.hex(16).slice(13)}${hex13(last)}`,
      );
      for (const traceId of [...edges, ...Array.from({ length: 500 }, () => random.hex(16))]) {
        expect(sampler.samples(null, traceId)).toBe(Number.parseInt(traceId.slice(19), 16) < threshold);
      }
    }
  });

  test('judges one trace alike in every sidecar, and a larger share includes the smaller', () => {
    const random = new Random(5);
    for (let i = 0; i < 500; i++) {
      const traceId = random.hex(16);
      const small = new Sampler(10, false).samples(null, traceId);
      expect(new Sampler(10, false).samples(true, traceId)).toBe(small);
      if (small) expect(new Sampler(30, false).samples(null, traceId)).toBe(true);
    }
  });
});

function hex13(value: number): string {
  return value.toString(16).padStart(13, '0');
}
