import { expect, test } from 'vitest';
import { TraceReceiver } from '../../deploy/demo/otlp.ts';
import { reset, startBackend, text } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { ask, get, plain, TinyMesh } from './mesh.ts';

test.each(['refuses the connection', 'resets the request'])(
  'where the first endpoint %s, each attempt has a span of its own, and the answering one is told its ID',
  async (fault) => {
    const receiver = await TraceReceiver.start();
    await using mesh = new TinyMesh();
    const good = mesh.own(await startBackend(text('good')));
    const bad = mesh.own(await startBackend(reset));
    const badPort = fault === 'resets the request' ? bad.port : await freePort();
    const weft = await mesh.start({
      account: 'caller',
      documents: plain({ name: 'svc', endpoints: [badPort, good.port] }),
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_TRACES_SAMPLER: 'always_on',
        OTEL_BSP_SCHEDULE_DELAY: '50',
      },
    });

    // The balancer chooses at random which is first; forty times the good one would be one in a million million.
    for (let i = 0; i < 40 && !receiver.spans.some((span) => span.failed); i++) {
      expect((await ask(weft.ports.outbound, get('svc'))).status).toBe(200);
      await eventually('the answering attempt is exported', () => {
        const answered = receiver.spans.filter((span) => !span.failed);
        return answered.length === i + 1 || undefined;
      });
    }

    const failed = receiver.spans.find((span) => span.failed);
    const attempts = receiver.spans.filter((span) => span.traceId === failed?.traceId);
    expect(attempts).toHaveLength(2);
    expect(new Set(attempts.map((span) => span.spanId)).size).toBe(2);
    const answered = attempts.find((span) => !span.failed);
    const told = good.requests.map((request) => request.headers.traceparent);
    expect(told.at(-1)).toBe(`00-${answered?.traceId}-${answered?.spanId}-01`);
    receiver.close();
  },
);
