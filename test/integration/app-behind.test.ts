import { once } from 'node:events';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { issueLeaf } from '../../certs/issue.ts';
import { fixed, startBackend, status, text } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { startProgram } from '../support/process.ts';
import { ROOT, type Weft } from '../support/weft.ts';
import { parseExposition } from '../unit/telemetry/exposition.ts';
import { TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend(text('fine')));
const nowhere = await freePort();
afterAll(() => mesh[Symbol.asyncDispose]());

/** `grpc.health.v1.Health/Check` in bytes: `mesh` serves, everything else does not. */
async function healthServer(): Promise<{ port: number; server: Server }> {
  const server = new Server();
  const raw = (bytes: Buffer): Buffer => bytes;
  const codec = { requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw };
  const check = { path: '/grpc.health.v1.Health/Check', requestStream: false, responseStream: false, ...codec };
  server.addService(
    { check },
    {
      check: (call: { request: Buffer }, answer: (error: null, reply: Buffer) => void) =>
        answer(null, Buffer.from([8, call.request.subarray(2).toString() === 'mesh' ? 1 : 2])),
    },
  );
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error === null ? resolve(port) : reject(error),
  );
  return { port: await promise, server };
}

function tlsApp(): Promise<{ port: number; close(): void }> {
  const leaf = issueLeaf(mesh.ca.authority, { spiffeId: 'spiffe://elsewhere/app', now: Date.now() });
  if (!leaf.ok) throw new Error(leaf.error);
  const { certificateChain: cert, privateKey: key } = leaf.value;
  const server = createTlsServer({ cert, key }, (request, response) => {
    response
      .writeHead(request.headers.host === 'portal.example' && request.headers['x-token'] === 'a' ? 204 : 500)
      .end();
  });
  server.listen(0, '127.0.0.1');
  return once(server, 'listening').then(() => ({
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  }));
}

describe("kubelet's probes, by way of the sidecar", () => {
  let weft: Weft;
  const grpc = healthServer();
  const tls = tlsApp();
  const hanging = startBackend(() => {});

  beforeAll(async () => {
    const headers = [
      { name: 'Host', value: 'portal.example' },
      { name: 'X-Token', value: 'a' },
    ];
    const probe = (handler: object, port: number): object => ({ handler: { timeoutSeconds: 8, ...handler }, port });
    const probes = {
      '/app-health/app/livez': probe({ httpGet: { path: '/healthz?full=1', port: 'http' } }, app.port),
      '/app-health/app/readyz': probe({ tcpSocket: { port: 1 } }, app.port),
      '/app-health/down/livez': probe({ httpGet: { path: '/', port: 1 } }, nowhere),
      '/app-health/down/readyz': probe({ tcpSocket: { port: 1 } }, nowhere),
      '/app-health/slow/livez': probe({ httpGet: { port: 1 }, timeoutSeconds: 1 }, (await hanging).port),
      '/app-health/tls/livez': probe({ httpGet: { port: 1, scheme: 'HTTPS', httpHeaders: headers } }, (await tls).port),
      '/app-health/grpc/livez': probe({ grpc: { port: 1, service: 'mesh' } }, (await grpc).port),
      '/app-health/grpc/readyz': probe({ grpc: { port: 1 } }, (await grpc).port),
      '/app-lifecycle/app/prestop': probe({ httpGet: { path: '/bye', port: 1 } }, app.port),
    };
    weft = await mesh.start({
      account: 'probed',
      env: { WEFT_APP_PROBES: JSON.stringify(probes), WEFT_POD_IP: '127.0.0.1' },
    });
  });
  afterAll(async () => {
    (await grpc).server.forceShutdown();
    (await tls).close();
    await (await hanging).stop();
  });

  const asked = async (path: string): Promise<string> => {
    const answer = await weft.ask('ready', path);
    return `${answer.status} ${(await answer.text()).trim()}`;
  };

  test('by HTTP reach the path and the query of the application', async () => {
    app.behaviour = text('fine');
    expect(await asked('/app-health/app/livez')).toBe('200 the application answers 200');
    expect(app.requests.at(-1)).toMatchObject({ method: 'GET', target: '/healthz?full=1' });
  });

  test.each([
    [204, '200 the application answers 204'],
    [302, '200 the application answers 302'],
    [404, '404 the application answers 404'],
    [503, '503 the application answers 503'],
  ])('by HTTP find status %d as kubelet would', async (code, answer) => {
    app.behaviour = status(code);
    expect(await asked('/app-health/app/livez')).toBe(answer);
  });

  test('by HTTPS take any certificate, and carry their own Host and fields', async () => {
    expect(await asked('/app-health/tls/livez')).toBe('200 the application answers 204');
  });

  test('by TCP find whether somebody listens', async () => {
    expect(await asked('/app-health/app/readyz')).toBe('200 connected');
    expect(await asked('/app-health/down/readyz')).toBe(`503 the application at port ${nowhere}: ECONNREFUSED`);
  });

  test('by gRPC ask for the service that is named', async () => {
    expect(await asked('/app-health/grpc/livez')).toBe('200 serving');
    expect(await asked('/app-health/grpc/readyz')).toBe('503 not serving');
  });

  test('fail when nobody listens, and in time when nobody answers', async () => {
    expect(await asked('/app-health/down/livez')).toBe(`503 the application at port ${nowhere}: ECONNREFUSED`);
    expect(await asked('/app-health/slow/livez')).toBe(
      `503 the application at port ${(await hanging).port}: no answer within 1000 ms`,
    );
  });

  test('and hooks: the application is told before it stops', async () => {
    app.behaviour = text('bye');
    expect(await asked('/app-lifecycle/app/prestop')).toBe('200 the application answers 200');
    expect(app.requests.at(-1)?.target).toBe('/bye');
  });

  test('that nobody injected are not found', async () => {
    expect(await asked('/app-health/app/startupz')).toBe('404 no /app-health/app/startupz here');
    expect(await asked('/healthz/ready')).toBe('200 ready');
  });
});

describe("the application's metrics, beside weft's", () => {
  const start = (account: string, metrics: object): Promise<Weft> =>
    mesh.start({ account, env: { WEFT_APP_METRICS: JSON.stringify(metrics), WEFT_POD_IP: '127.0.0.1' } });

  test('come with one scrape, as one valid text', async () => {
    await using metrics = await startBackend(
      text('# HELP jobs Jobs.\n# TYPE jobs gauge\njobs{kind="a"} 7\nweft_ready 99\n'),
    );
    const weft = await start('scraped', { port: metrics.port, path: '/internal', scheme: 'http' });
    const families = parseExposition(await weft.metrics());
    expect(families.get('jobs')?.samples).toMatchObject([{ value: 7 }]);
    expect(families.get('weft_ready')?.samples).toMatchObject([{ value: 1 }]);
    expect(metrics.requests[0]).toMatchObject({ target: '/internal' });
    // The admin port tells of weft alone.
    expect(await (await weft.ask('admin', '/stats/prometheus')).text()).not.toContain('jobs');
  });

  test.each([
    ['is down', { port: nowhere, path: '/metrics', scheme: 'http' }],
    ['answers an error', { port: app.port, path: '/metrics', scheme: 'http' }],
  ])('are missing, and weft’s there, when the application %s', async (_case, metrics) => {
    app.behaviour = status(500);
    const weft = await start('down', metrics);
    expect(parseExposition(await weft.metrics()).has('weft_ready')).toBe(true);
    await weft.kill();
  });

  test('that are more than 32 MiB are not taken', async () => {
    await using huge = await startBackend(fixed(33 * 1024 * 1024));
    const weft = await start('huge', { port: huge.port, path: '/', scheme: 'http' });
    expect(parseExposition(await weft.metrics()).has('weft_ready')).toBe(true);
  });
});

test.each([
  ['WEFT_APP_PROBES', '{"/app-health/app/livez":{}}', 'is not what injection writes, at "/app-health/app/livez"'],
  ['WEFT_APP_PROBES', 'nonsense', 'is not what injection writes, at ""'],
  ['WEFT_APP_METRICS', '{}', 'is not what injection writes: {"port":8080,"path":"/metrics","scheme":"http"}'],
])('a broken %s ends the start with a sentence', async (name, value, sentence) => {
  const program = startProgram({
    command: process.execPath,
    args: [`${ROOT}/proxy/main.ts`, 'proxy', '--inbound', '127.0.0.1:0', '--outbound', '127.0.0.1:0'],
    env: { [name]: value },
  });
  expect((await program.exit).code).toBe(1);
  expect(program.output).toContain(`weft proxy: ${name}: ${sentence}`);
});
