/** HTTP/2 in plain text on a PERMISSIVE port gets the same treatment as HTTP/1: one path, one host, and only our own word. */
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TinyMesh } from '../integration/mesh.ts';
import type { Weft } from '../support/weft.ts';
import { PERMISSIVE } from './stage.ts';

const seen: IncomingHttpHeaders[] = [];
let mesh: TinyMesh;
let weft: Weft;
let app: Http2Server;
let session: ClientHttp2Session;
beforeAll(async () => {
  mesh = new TinyMesh();
  app = createServer();
  app.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    seen.push(headers);
    stream.respond({ ':status': 200 });
    stream.end();
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  weft = await mesh.start({ account: 'victim', app: (app.address() as AddressInfo).port, documents: [PERMISSIVE] });
});
afterAll(async () => {
  app.close();
  await mesh[Symbol.asyncDispose]();
});
beforeEach(() => {
  seen.length = 0;
  session?.destroy();
  session = connect(`http://127.0.0.1:${weft.ports.inbound}`);
  session.on('error', () => undefined);
});
afterAll(() => session.destroy());

/** The status, or null for a stream that was reset. */
async function ask(headers: Record<string, string>): Promise<number | null> {
  const stream = session.request({ ':path': '/x', ...headers });
  const { promise, resolve } = Promise.withResolvers<number | null>();
  stream.on('response', (answer) => resolve(answer[':status'] ?? null));
  stream.on('error', () => resolve(null));
  stream.on('close', () => resolve(null));
  stream.resume().end();
  return promise;
}

test('spoofed fields are replaced, their twins dropped', async () => {
  const spoofed = {
    'x-forwarded-for': '6.6.6.6',
    x_forwarded_for: '6.6.6.6',
    'x-forwarded-client-cert': 'URI=spiffe://evil',
    forwarded: 'for=6.6.6.6',
    'x-real-ip': '6.6.6.6',
    'x-envoy-internal': 'evil',
    'weft-origin': 'evil',
    weft_origin: 'evil',
    'x-request-id': 'evil',
  };
  expect(await ask(spoofed)).toBe(200);
  expect(JSON.stringify(seen[0])).not.toMatch(/evil|6\.6\.6\.6/);
  expect(seen[0]?.['x-forwarded-for']).toBe('127.0.0.1');
});

describe('a path', () => {
  test.for([
    ['/a/../b', '/b'],
    ['/a/%2e%2e/b', '/b'],
    ['/a\\b', '/a/b'],
  ] as const)('%s arrives as %s', async ([path, forwarded]) => {
    expect(await ask({ ':path': path })).toBe(200);
    expect(seen.map((headers) => headers[':path'])).toEqual([forwarded]);
  });

  test.for(['/a%00', '/..;/a', '/a b', 'a', '*', '/a#b'])('%s does not arrive', async (path) => {
    expect(await ask({ ':path': path })).not.toBe(200);
    expect(seen).toEqual([]);
  });
});

test.for(['user@app', 'app/x', 'a b', '127.1', 'app:99999'])('the authority %s does not arrive', async (authority) => {
  expect(await ask({ ':authority': authority })).not.toBe(200);
  expect(seen).toEqual([]);
});

test('a Host that differs from the authority does not arrive', async () => {
  expect(await ask({ ':authority': 'app', host: 'other' })).not.toBe(200);
  expect(seen).toEqual([]);
});
