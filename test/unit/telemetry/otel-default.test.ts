import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { startSpanExport } from '../../../proxy/telemetry/otel.ts';
import { TraceContext } from '../../../proxy/telemetry/propagation.ts';
import { serverSpan } from '../../../proxy/telemetry/span.ts';
import { eventually } from '../../support/eventually.ts';
import { requestRecord } from './fixtures.ts';

describe('the span export as it is by default', () => {
  afterAll(() => {
    vi.unstubAllEnvs();
  });

  test('sends protobuf to /v1/traces below the endpoint, under the name that OTEL_SERVICE_NAME gives', async () => {
    const arrived: { path: string; type: string; body: Buffer }[] = [];
    const collector = createServer((request: IncomingMessage, response) => {
      void buffer(request).then((body) => {
        arrived.push({ path: request.url ?? '', type: request.headers['content-type'] ?? '', body });
        return response.end();
      });
    }).listen(0, '127.0.0.1');
    await once(collector, 'listening');
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', `http://127.0.0.1:${(collector.address() as AddressInfo).port}`);
    vi.stubEnv('OTEL_SERVICE_NAME', 'named-by-operator');
    vi.stubEnv('OTEL_BSP_SCHEDULE_DELAY', '1');
    const warnings: string[] = [];
    const spans = await startSpanExport({ workload: 'w', version: '1', warn: (message) => warnings.push(message) });
    spans.add([serverSpan(requestRecord, new TraceContext('ab'.repeat(16), 'cd'.repeat(8), '', true, ''))]);
    await eventually('the spans have arrived', () => arrived[0]);
    await spans.shutdown();
    collector.closeAllConnections();
    collector.close();
    expect(arrived.map(({ path, type }) => [path, type])).toEqual([['/v1/traces', 'application/x-protobuf']]);
    const body = arrived[0]?.body ?? Buffer.alloc(0);
    expect(body.includes(Buffer.from('ab'.repeat(16), 'hex'))).toBe(true);
    expect(body.includes(Buffer.from('cd'.repeat(8), 'hex'))).toBe(true);
    expect(body.includes('named-by-operator')).toBe(true);
    expect(warnings).toEqual([]);
  });
});
