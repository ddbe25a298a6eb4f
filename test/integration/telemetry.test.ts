import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TraceReceiver } from '../../deploy/demo/otlp.ts';
import { mirror, startBackend } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, type LogLine, logLine, meshed, plain, post, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend(mirror));
const receiver = await TraceReceiver.start();
let caller: Weft;
let callee: Weft;

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';

beforeAll(async () => {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_TRACES_SAMPLER: 'parentbased_always_off',
    OTEL_BSP_SCHEDULE_DELAY: '50',
  };
  const labels = mesh.folder.write('labels', 'app="catalog"\nversion="v1"\n');
  const flags = ['--access-log', 'json'];
  callee = await mesh.start({ account: 'catalog', app: app.port, env, flags: [...flags, '--labels', labels] });
  const documents = [
    ...meshed({ name: 'catalog', endpoints: [callee.ports.inbound] }),
    ...meshed({ name: 'failing', endpoints: [await freePort(), callee.ports.inbound] }),
    ...plain({ name: 'dead', endpoints: [await freePort()] }),
  ];
  caller = await mesh.start({
    account: 'storefront',
    documents,
    env,
    flags: [...flags, '--service-account', 'storefront'],
  });
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  receiver.close();
});

function sampled(traceId: string): string {
  return `traceparent: 00-${traceId}-00f067aa0ba902b7-01`;
}

describe('traces', () => {
  test('a sampled request is one tree across two sidecars: CLIENT, SERVER, and the context goes on', async () => {
    const answer = await ask(caller.ports.outbound, get('catalog', '/tree', sampled(TRACE_ID)));
    const passedOn = String(JSON.parse(answer.body.toString()).headers['traceparent']).split('-');
    const spans = await eventually('both spans are exported', () => {
      const found = receiver.trace(TRACE_ID);
      return found.length === 2 ? found : undefined;
    });
    const client = spans.find(({ kind }) => kind === 'CLIENT');
    const server = spans.find(({ kind }) => kind === 'SERVER');
    expect(client).toMatchObject({ parentSpanId: '00f067aa0ba902b7', name: 'GET', service: 'storefront' });
    expect(server).toMatchObject({ parentSpanId: client?.spanId, name: 'GET', service: 'catalog' });
    expect(passedOn).toEqual(['00', TRACE_ID, server?.spanId, '01']);
    expect(client?.attributes.get('http.response.status_code')).toBe(200);
    expect(client?.attributes.get('weft.peer.principal')).toBe('spiffe://cluster.local/ns/default/sa/catalog');
    expect(server?.attributes.get('url.path')).toBe('/tree');
  });

  test('each attempt of a request is a CLIENT span of its own under the same parent', async () => {
    const traceId = 'a'.repeat(32);
    const spansOf = async (): Promise<number> => {
      await ask(caller.ports.outbound, get('failing', '/', sampled(traceId)));
      return receiver.trace(traceId).length;
    };
    await eventually('one of the requests has met the dead endpoint', async () => {
      await spansOf();
      return receiver.trace(traceId).some(({ failed }) => failed) || undefined;
    });
    const failed = receiver.trace(traceId).find(({ failed: bad }) => bad);
    expect(failed).toMatchObject({ kind: 'CLIENT', parentSpanId: '00f067aa0ba902b7' });
    expect(failed?.attributes.get('error.type')).toBe('connect_refused');
    const ids = receiver.trace(traceId).map(({ spanId }) => spanId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('an unsampled request makes no span, and its context passes untouched', async () => {
    const traceparent = `00-${'b'.repeat(32)}-00f067aa0ba902b7-00`;
    const answer = await ask(caller.ports.outbound, get('catalog', '/', `traceparent: ${traceparent}`));
    expect(JSON.parse(answer.body.toString()).headers['traceparent']).toBe(traceparent);
    await ask(caller.ports.outbound, get('catalog', '/', sampled('c'.repeat(32))));
    await eventually('a later one is exported', () => receiver.trace('c'.repeat(32)).length === 2 || undefined);
    expect(receiver.trace('b'.repeat(32))).toEqual([]);
  });
});

describe('the access log', () => {
  test('has a line per request on both sides, with identities, bytes and one request id', async () => {
    await ask(caller.ports.outbound, post('catalog', 'twelve bytes', '/logged?token=secret', 'User-Agent: tester'));
    const fits = ({ path }: LogLine): boolean => String(path).startsWith('/logged');
    const [out, into] = [await logLine(caller, fits), await logLine(callee, fits)];
    expect(out).toMatchObject({
      direction: 'outbound',
      method: 'POST',
      authority: 'catalog',
      status: 200,
      word: '',
      flag: '-',
      request_bytes: 12,
      cluster: 'default/catalog:80',
      upstream: `127.0.0.1:${callee.ports.inbound}`,
      upstream_principal: 'spiffe://cluster.local/ns/default/sa/catalog',
      attempts: 1,
      user_agent: 'tester',
    });
    expect(into).toMatchObject({
      direction: 'inbound',
      status: 200,
      request_bytes: 12,
      downstream_principal: 'spiffe://cluster.local/ns/default/sa/storefront',
      upstream: `127.0.0.1:${app.port}`,
    });
    expect(into['request_id']).toBe(out['request_id']);
    expect(out['response_bytes']).toBe(into['response_bytes']);
    expect(Number(out['duration_ms'])).toBeGreaterThanOrEqual(Number(out['upstream_ms']));
  });

  test('says the word for what failed', async () => {
    await ask(caller.ports.outbound, get('dead', '/refused'));
    const line = await logLine(caller, ({ path }) => path === '/refused');
    expect(line).toMatchObject({ status: 502, word: 'connect_refused', flag: 'UF', cluster: 'default/dead:80' });
  });

  test('stays one line that parses, whatever a caller sends', async () => {
    await ask(caller.ports.outbound, get('catalog', '/odd%22', 'User-Agent: [31m"\\ \xe9\x85'));
    const line = await logLine(caller, ({ path }) => String(path).startsWith('/odd'));
    expect(line['user_agent']).toContain('[31m"\\');
  });
});

describe('metrics', () => {
  test("carry Istio's names and labels on both sides", async () => {
    await ask(caller.ports.outbound, get('catalog', '/measured'));
    const line = async (weft: Weft, reporter: string): Promise<string> => {
      const lines = (await weft.metrics()).split('\n');
      const found = lines.find(
        (text) => text.startsWith('istio_requests_total{') && text.includes(`reporter="${reporter}"`),
      );
      return found ?? '';
    };
    const source = await line(caller, 'source');
    for (const label of [
      'source_workload="storefront"',
      'destination_service_name="catalog"',
      'destination_service_namespace="default"',
      'destination_service="catalog.default.svc.cluster.local"',
      'response_code="200"',
      'request_protocol="http"',
      'destination_principal="spiffe://cluster.local/ns/default/sa/catalog"',
    ])
      expect(source).toContain(label);
    const destination = await line(callee, 'destination');
    for (const label of [
      'source_principal="spiffe://cluster.local/ns/default/sa/storefront"',
      'destination_app="catalog"',
      'destination_version="v1"',
      'connection_security_policy="mutual_tls"',
      'response_flags="-"',
    ])
      expect(destination).toContain(label);
  });

  test('have every histogram that dashboards use, with as many counts as requests', async () => {
    const requests = await callee.metric('istio_requests_total', 'reporter="destination"');
    for (const name of ['istio_request_duration_milliseconds', 'istio_request_bytes', 'istio_response_bytes']) {
      expect(await callee.metric(`${name}_count`, 'reporter="destination"')).toBe(requests);
    }
  });

  test('are the same on both paths', async () => {
    const names = async (path: string): Promise<string[]> => {
      const lines = (await (await callee.ask('metrics', path)).text()).split('\n');
      return lines.filter((line) => line.startsWith('# TYPE')).toSorted();
    };
    expect(await names('/metrics')).toEqual(await names('/stats/prometheus'));
    expect(await names('/metrics')).toContain('# TYPE istio_requests_total counter');
  });
});

describe('the admin server', () => {
  test('shows readiness, clusters with their endpoints, and the certificate without its key', async () => {
    expect(await (await caller.ask('admin', '/ready')).text()).toBe('ready\n');
    const clusters = await (await caller.ask('admin', '/clusters')).text();
    expect(clusters).toContain(`default/catalog:80::127.0.0.1:${callee.ports.inbound}::rq_total::`);
    const certs = await (await caller.ask('admin', '/certs')).text();
    expect(JSON.parse(certs).certificates[0].spiffe_id).toBe('spiffe://cluster.local/ns/default/sa/storefront');
    expect(certs).not.toContain('PRIVATE KEY');
    expect(await (await caller.ask('admin', '/stats/prometheus')).text()).toContain('weft_build_info');
  });

  test('dumps the policy in force without secrets', async () => {
    const dump = await (await caller.ask('admin', '/config_dump')).text();
    const { snapshot } = JSON.parse(dump) as { snapshot: { services: { name: string }[] } };
    expect(snapshot.services.map(({ name }) => name).toSorted()).toEqual(['catalog', 'dead', 'failing']);
    expect(dump).not.toContain('PRIVATE KEY');
  });

  test('sets the log level by POST only', async () => {
    expect((await caller.ask('admin', '/logging?level=debug')).status).toBe(405);
    expect((await caller.ask('admin', '/logging?level=debug', { method: 'POST' })).status).toBe(200);
  });

  test('refuses a foreign Host', async () => {
    const answer = await ask(
      caller.ports.admin,
      'GET /config_dump HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    );
    expect(answer.status).toBe(403);
  });
});
