import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBackend, status, text } from '../support/backend.ts';
import { trafficPolicy } from '../support/policy.ts';
import { freePort } from '../support/ports.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, logLine, meshed, plain, TinyMesh, wordOf } from './mesh.ts';

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

test('a gRPC check believes SERVING and nothing else', async () => {
  let serving = false;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => asked.push(`${request.url} ${chunk.toString('hex')}`));
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'application/grpc' });
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
});
