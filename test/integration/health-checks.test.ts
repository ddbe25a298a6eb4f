import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBackend, status, text } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { trafficPolicy } from '../support/policy.ts';
import { freePort, freePorts } from '../support/ports.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, logLine, logLines, meshed, plain, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
let weft: Weft;

beforeAll(async () => {
  weft = await mesh.start({ account: 'caller' });
});
afterAll(() => mesh[Symbol.asyncDispose]());

function checked(name: string, check: Readonly<Record<string, unknown>>): string {
  const active = { interval: '30ms', timeout: '10s', unhealthyThreshold: 2, ...check };
  return trafficPolicy(name, { healthCheck: { active } });
}

function said(name: string, healthy: boolean): Promise<unknown> {
  return logLine(
    weft,
    (line) => line.msg === 'health check' && line['cluster'] === `default/${name}:80` && line['healthy'] === healthy,
  );
}

test('an endpoint that fails its HTTP checks gets no traffic until it passes one', async () => {
  const well = mesh.own(await startBackend(text('well')));
  const ill = mesh.own(
    await startBackend((request, response) => status(request.target === '/health' ? 500 : 200)(request, response)),
  );
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'h1', endpoints: [well.port, ill.port] }),
    checked('h1', { type: 'HTTP', http: { path: '/health' } }),
  ]);
  expect(await said('h1', false)).toMatchObject({ endpoint: `127.0.0.1:${ill.port}`, inRow: 2, detail: 'status 500' });
  for (let i = 0; i < 8; i++) {
    expect((await ask(weft.ports.outbound, get('h1', '/work'))).body.toString()).toBe('well');
  }
  ill.behaviour = text('well again');
  await said('h1', true);
  const bodies = new Set<string>();
  for (let i = 0; i < 24; i++) bodies.add((await ask(weft.ports.outbound, get('h1'))).body.toString());
  expect(bodies).toEqual(new Set(['well', 'well again']));
});

test('checks of a meshed endpoint are made in the own name, through its sidecar', async () => {
  const app = mesh.own(
    await startBackend((request, response) => status(request.target === '/health' ? 503 : 200)(request, response)),
  );
  const peer = await mesh.start({ account: 'peer', app: app.port });
  await mesh.apply(weft, 'caller', [
    ...meshed({ name: 'h2', endpoints: [peer.ports.inbound] }),
    checked('h2', { type: 'HTTP', http: { path: '/health' } }),
  ]);
  expect(await said('h2', false)).toMatchObject({ detail: 'status 503' });
  expect(wordOf(await ask(weft.ports.outbound, get('h2')))).toBe('no_ready_endpoint');
  expect(app.requests[0]?.headers['x-forwarded-client-cert']).toContain(
    'URI=spiffe://cluster.local/ns/default/sa/caller',
  );
  app.behaviour = text('well');
  await said('h2', true);
  expect((await ask(weft.ports.outbound, get('h2'))).status).toBe(200);
});

test('a TCP check asks whether anybody listens', async () => {
  const port = await freePort();
  await mesh.apply(weft, 'caller', [...plain({ name: 'h3', endpoints: [port] }), checked('h3', { type: 'TCP' })]);
  expect(await said('h3', false)).toMatchObject({ detail: expect.stringContaining('ECONNREFUSED') as unknown });
  const app = mesh.own(await startBackend(text('well'), port));
  await said('h3', true);
  expect((await ask(weft.ports.outbound, get('h3'))).status).toBe(200);
  expect(app.connections).toBeGreaterThan(1);
});

test('TCP checks of a meshed endpoint leave no line in its log and no connection behind', async () => {
  const port = await freePort();
  await mesh.apply(weft, 'caller', [...meshed({ name: 'h5', endpoints: [port] }), checked('h5', { type: 'TCP' })]);
  await said('h5', false);
  const app = mesh.own(await startBackend(text('well')));
  const [admin = 0, metrics = 0, ready = 0, outbound = 0] = await freePorts(4);
  const peer = await mesh.start({
    account: 'checked',
    app: app.port,
    flags: ['--access-log', 'json'],
    ports: { inbound: port, outbound, admin, metrics, ready },
  });
  await said('h5', true);
  const checks = async (): Promise<number> => peer.metric('weft_downstream_connections');
  // Ten seconds' worth of them, if each stayed for the time that a handshake may take.
  await eventually('the checks of a while have come and gone', async () => {
    if ((await ask(weft.ports.outbound, get('h5'))).status !== 200) return undefined;
    return app.requests.length > 50 || undefined;
  });
  expect(await checks()).toBeLessThan(8);
  expect(logLines(peer).filter(({ msg }) => msg === 'connection refused')).toEqual([]);
  expect(logLines(peer).filter((line) => line['protocol'] === 'TCP')).toEqual([]);
  expect(await peer.metric('istio_tcp_connections_opened_total')).toBe(0);
});

test('a gRPC check believes SERVING and nothing else', async () => {
  let serving = false;
  let head: [number, string] = [200, 'application/grpc'];
  const asked: string[] = [];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => asked.push(`${request.url} ${chunk.toString('hex')}`));
    request.on('end', () => {
      response.writeHead(head[0], { 'content-type': head[1] });
      response.addTrailers({ 'grpc-status': '0' });
      response.end(Buffer.from(serving ? '00000000020801' : '00000000020802', 'hex'));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mesh.own({ [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) });
  const { port } = server.address() as AddressInfo;
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'h4', endpoints: [port], appProtocol: 'grpc' }),
    checked('h4', { type: 'GRPC', grpc: { service: 'a.B' } }),
  ]);
  expect(await said('h4', false)).toMatchObject({ detail: 'not serving' });
  serving = true;
  await said('h4', true);
  expect(asked[0]).toBe('/grpc.health.v1.Health/Check 00000000050a03612e42');
  head = [500, 'application/grpc'];
  const wrongStatus = 'no answer of gRPC: status 500, application/grpc';
  await logLine(weft, (line) => line.msg === 'health check' && line['detail'] === wrongStatus);
  head = [200, 'text/html'];
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'h6', endpoints: [port], appProtocol: 'grpc' }),
    checked('h6', { type: 'GRPC', grpc: { service: 'a.B' } }),
  ]);
  expect(await said('h6', false)).toMatchObject({ detail: 'no answer of gRPC: status 200, text/html' });
});
