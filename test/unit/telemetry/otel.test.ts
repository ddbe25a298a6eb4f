import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type SpanExport, startSpanExport } from '../../../proxy/telemetry/otel.ts';
import type { SpanRecord } from '../../../proxy/telemetry/record.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/ports.ts';

interface SentSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: unknown;
  readonly status: unknown;
}

interface Sent {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { readonly key: string; readonly value: unknown }[] };
    readonly scopeSpans: readonly { readonly spans: readonly SentSpan[] }[];
  }[];
}

const child: SpanRecord = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  parentSpanId: '1111111111111111',
  traceState: 'a=1',
  kind: 'SERVER',
  name: 'GET',
  // Long past: the SDK must not take it for a time since the start of the process.
  startedAt: 1_000_000.25,
  endedAt: 1_000_010.5,
  error: 'no_route',
  attributes: { 'http.response.status_code': 404, 'url.path': '/a', 'weft.retried': true },
};
const root: SpanRecord = {
  ...child,
  traceId: '1af7651916cd43dd8448eb211c80319c',
  spanId: 'c7ad6b7169203331',
  parentSpanId: '',
  traceState: '',
  kind: 'CLIENT',
  endedAt: 0,
  error: '',
};

// One process has one SDK, so these share it and run in order.
describe('the span export', () => {
  const received: Sent[] = [];
  const warnings: string[] = [];
  let collector: Server;
  let spans: SpanExport;

  beforeAll(async () => {
    collector = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        received.push(JSON.parse(Buffer.concat(chunks).toString()) as Sent);
        response.setHeader('content-type', 'application/json').end('{}');
      });
    }).listen(await freePort(), '127.0.0.1');
    await once(collector, 'listening');
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', `http://127.0.0.1:${(collector.address() as AddressInfo).port}`);
    vi.stubEnv('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/json');
    // Must have no effect here: the data threads have sampled.
    vi.stubEnv('OTEL_TRACES_SAMPLER', 'always_off');
    spans = await startSpanExport({ workload: 'catalog-v1', version: '1', warn: (message) => warnings.push(message) });
  });

  afterAll(() => {
    vi.unstubAllEnvs();
    collector.closeAllConnections();
    collector.close();
  });

  test('sends the very ids, times, kind, attributes and status of the records', async () => {
    spans.add([child, root]);
    await spans.flush();
    await eventually('they have arrived', () => received[0]);
    const sent = received.flatMap((one) => one.resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans)));
    expect(sent.length).toBe(2);
    expect(sent[0]).toMatchObject({
      traceId: child.traceId,
      spanId: child.spanId,
      parentSpanId: child.parentSpanId,
      traceState: 'a=1',
      name: 'GET',
      kind: 2,
      startTimeUnixNano: '1000000250000',
      endTimeUnixNano: '1000010500000',
      status: { code: 2, message: 'no_route' },
    });
    expect(sent[0]?.attributes).toEqual([
      { key: 'http.response.status_code', value: { intValue: 404 } },
      { key: 'url.path', value: { stringValue: '/a' } },
      { key: 'weft.retried', value: { boolValue: true } },
    ]);
    expect(sent[1]).toMatchObject({ traceId: root.traceId, spanId: root.spanId, kind: 3, status: { code: 0 } });
    expect(sent[1]?.parentSpanId).toBeUndefined();
    expect(sent[1]?.endTimeUnixNano).toBe(sent[1]?.startTimeUnixNano);
  });

  test('is named after the workload where no variable names the service', () => {
    const attributes = received[0]?.resourceSpans[0]?.resource.attributes;
    expect(attributes).toContainEqual({ key: 'service.name', value: { stringValue: 'catalog-v1' } });
  });

  test('neither throws nor lingers when the collector is gone, and says so once', async () => {
    collector.closeAllConnections();
    collector.close();
    for (let i = 0; i < 5000; i++) spans.add([root]);
    // Timers fire in the order of their times, however late the machine is.
    const ended = spans.shutdown().then(() => 'ended');
    expect(await Promise.race([ended, pause(2000, 'lingers')])).toBe('ended');
    spans.add([child]);
    await spans.flush();
    expect(warnings.length).toBe(1);
  });
});
