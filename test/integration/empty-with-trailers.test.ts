import {
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Weft } from '../support/weft.ts';
import { ask, get, meshed, plain, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
let caller: Weft;
/** What the service has got of its last request: the length it was told, and the trailers. */
let received: unknown[] = [];

/** Answers with nothing but a head and trailers. */
const server = createServer();
server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
  received = [headers['content-length'], undefined];
  stream.resume();
  stream.on('trailers', (trailers: IncomingHttpHeaders) => {
    received[1] = trailers['x-sum'];
  });
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-length': 0 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-their-sum': '7' }));
    stream.end();
  });
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mesh.own({ [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) });
  const { port } = server.address() as AddressInfo;
  const callee = await mesh.start({ account: 'callee', app: port });
  caller = await mesh.start({
    account: 'caller',
    documents: [
      ...meshed({ name: 'meshed', endpoints: [callee.ports.inbound], appProtocol: 'http2' }),
      ...plain({ name: 'plain', endpoints: [port], appProtocol: 'http2' }),
    ],
  });
});
afterAll(() => mesh[Symbol.asyncDispose]());

async function answered(stream: ClientHttp2Stream): Promise<unknown[]> {
  const got: unknown[] = [undefined, undefined];
  stream.on('response', (headers) => {
    got[0] = headers['content-length'];
  });
  stream.on('trailers', (trailers: IncomingHttpHeaders) => {
    got[1] = trailers['x-their-sum'];
  });
  stream.resume();
  await new Promise<void>((resolve, reject) => {
    stream.on('close', resolve);
    stream.on('error', reject);
  });
  return got;
}

test.each(['plain', 'meshed'])(
  'trailers of messages with content-length: 0 pass over HTTP/2 to the %s Service and back',
  async (host) => {
    const session = connect(`http://127.0.0.1:${caller.ports.outbound}`);
    const head = { ':method': 'POST', ':authority': host, 'content-length': 0, te: 'trailers' };
    const stream = session.request(head, { endStream: false, waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '5' }));
    stream.end();
    expect(await answered(stream)).toEqual(['0', '7']);
    expect(received).toEqual(['0', '5']);
    session.close();
  },
);

test('an HTTP/1 caller gets the same answer without its trailers, for which it has no place', async () => {
  const answer = await ask(caller.ports.outbound, get('plain', '/', 'TE: trailers', 'Connection: TE'));
  expect([answer.status, answer.body.length, answer.trailers]).toEqual([200, 0, []]);
});
