/** How an RPC ended, as metrics and log tell it: applications that say it in odd places, or not at all. */
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logLine, meshed, TinyMesh } from '../integration/mesh.ts';
import type { Weft } from '../support/weft.ts';
import { H2Caller } from './http2-peers.ts';

const MESSAGE = Buffer.from('00000000026869', 'hex');
const CONTENT = { 'content-type': 'application/grpc' };

function withTrailers(stream: ServerHttp2Stream, head: object, trailers: Readonly<Record<string, string>>): void {
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.respond({ ...CONTENT, ...head }, { waitForTrailers: true });
  stream.end(MESSAGE);
}

const answers: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
  trailersOnly: (stream) => stream.respond({ ...CONTENT, 'grpc-status': '5' }, { endStream: true }),
  inTrailers: (stream) => withTrailers(stream, {}, { 'grpc-status': '9' }),
  inBoth: (stream) => withTrailers(stream, { 'grpc-status': '7' }, { 'grpc-status': '9' }),
  inHead: (stream) => withTrailers(stream, { 'grpc-status': '7' }, { 'x-other': '1' }),
  nowhere: (stream) => withTrailers(stream, {}, { 'x-other': '1' }),
  cut: (stream) => stream.respond(CONTENT, { endStream: true }),
  halfWeb: (stream) => {
    stream.respond({ 'content-type': 'application/grpc-web+proto' });
    stream.write(MESSAGE, () => stream.session?.destroy());
  },
  noRpc: (stream) => stream.respond({ ':status': 404, 'content-type': 'text/html' }, { endStream: true }),
};

const mesh = new TinyMesh();
const app = createServer();
let caller: Weft;
let callee: Weft;
let h2: H2Caller;

beforeAll(async () => {
  app.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.resume();
    stream.on('end', () => answers[String(headers[':path']).slice('/a.B/'.length)]?.(stream));
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  mesh.own({ [Symbol.asyncDispose]: () => new Promise<void>((resolve) => app.close(() => resolve())) });
  const flags = ['--access-log', 'json'];
  callee = await mesh.start({ account: 'callee', app: (app.address() as AddressInfo).port, flags });
  const documents = meshed({ name: 'endings', endpoints: [callee.ports.inbound], appProtocol: 'grpc' });
  caller = await mesh.start({ account: 'caller', documents, flags });
  h2 = new H2Caller(caller.ports.outbound);
});
afterAll(async () => {
  h2[Symbol.dispose]();
  await mesh[Symbol.asyncDispose]();
});

describe.each([
  ['trailersOnly', 5],
  ['inTrailers', 9],
  ['inBoth', 9],
  ['inHead', 7],
  ['nowhere', 2],
  ['cut', 2],
  ['noRpc', 12],
] as const)('an answer with the status %s', (name, code) => {
  test(`ends with ${code} in the log and the metrics of both sides`, async () => {
    const rpc = { ':method': 'POST', ':authority': 'endings', te: 'trailers', ...CONTENT };
    const before = await counted(code);
    await h2.ask({ ...rpc, ':path': `/a.B/${name}` }, { body: MESSAGE });
    for (const weft of [caller, callee]) {
      const line = await logLine(weft, (each) => each['path'] === `/a.B/${name}`);
      expect(line['grpc_status']).toBe(code);
    }
    expect(await counted(code)).toEqual(before.map((count) => count + 1));
  });
});

test('gRPC-Web, whose codes travel in its content, is answered as ordinary HTTP, and cut where its application is', async () => {
  const web = { ':method': 'POST', te: 'trailers', 'content-type': 'application/grpc-web+proto' };
  const refused = await h2.ask({ ...web, ':authority': 'endings:81', ':path': '/a.B/web' }, { body: MESSAGE });
  expect([refused.status, refused.headers['grpc-status']]).toEqual([404, undefined]);
  const cut = await h2.ask({ ...web, ':authority': 'endings', ':path': '/a.B/halfWeb' }, { body: MESSAGE });
  expect([cut.status, cut.trailers['grpc-status'], cut.reset]).toEqual([200, undefined, 2]);
  expect(await caller.metric('istio_requests_total', 'request_protocol="http"')).toBe(2);
});

function counted(code: number): Promise<number[]> {
  const label = `grpc_response_status="${code}"`;
  return Promise.all([caller, callee].map((weft) => weft.metric('istio_requests_total', label)));
}
