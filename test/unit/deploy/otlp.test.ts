import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { decodeTraces, type Span, TraceReceiver } from '../../../deploy/demo/otlp.ts';

test('the receiver reads what the OpenTelemetry SDK sends with its default protocol', async () => {
  const receiver = await TraceReceiver.start();
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.url);
  vi.stubEnv('OTEL_METRICS_EXPORTER', 'none');
  vi.stubEnv('OTEL_LOGS_EXPORTER', 'none');
  vi.stubEnv('OTEL_SERVICE_NAME', 'catalog');
  const sdk = new NodeSDK();
  sdk.start();
  const tracer = trace.getTracer('test');
  const attributes = {
    'http.request.method': 'GET',
    'http.response.status_code': 503,
    ratio: 0.25,
    debt: -7,
    cached: true,
  };
  const start = new Date(1_700_000_000_000);
  tracer.startActiveSpan('GET', { kind: SpanKind.SERVER, attributes, startTime: start }, (parent) => {
    tracer.startSpan('inner', { kind: SpanKind.CLIENT }).end();
    parent.setStatus({ code: SpanStatusCode.ERROR });
    parent.end(new Date(1_700_000_000_250));
  });
  await sdk.shutdown();
  receiver.close();
  vi.unstubAllEnvs();

  expect(receiver.spans).toHaveLength(2);
  const outer = receiver.spans.find((span) => span.name === 'GET') as Span;
  const inner = receiver.spans.find((span) => span.name === 'inner') as Span;
  expect(outer).toMatchObject({ kind: 'SERVER', service: 'catalog', failed: true, parentSpanId: '' });
  expect(outer.start).toBe(1_700_000_000_000_000_000n);
  expect(outer.end - outer.start).toBe(250_000_000n);
  expect(Object.fromEntries(outer.attributes)).toMatchObject(attributes);
  expect(outer.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(inner).toMatchObject({ kind: 'CLIENT', failed: false, parentSpanId: outer.spanId, traceId: outer.traceId });
});

test('the receiver answers 400 to a body that is no traces, and goes on', async () => {
  const receiver = await TraceReceiver.start();
  const send = async (body: Uint8Array<ArrayBuffer>): Promise<number> =>
    (await fetch(receiver.url, { method: 'POST', body })).status;
  expect(await send(new Uint8Array([0x0a, 0x7f, 1]))).toBe(400);
  expect(await send(new Uint8Array())).toBe(200);
  expect(receiver.spans).toEqual([]);
  receiver.close();
});

test('any bytes are either decoded or refused with a RangeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        expect(decodeTraces(Buffer.from(bytes))).toBeInstanceOf(Array);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
    { seed: 7, numRuns: 2_000 },
  );
});
