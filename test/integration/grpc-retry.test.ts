import { connect, createServer, type Http2ServerResponse, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trafficPolicy } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { plain, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const MESSAGE = Buffer.from('00000000026869', 'hex');
const CONTENT = { 'content-type': 'application/grpc' };
let weft: Weft;
/** How the service answers its calls, first to last. */
let answers: ((response: Http2ServerResponse) => void)[] = [];
let asked = 0;

const good = (response: Http2ServerResponse): void => {
  response.writeHead(200, CONTENT);
  response.addTrailers({ 'grpc-status': '0' });
  response.end(MESSAGE);
};
/** Trailers alone, in the head. */
const refusesAtOnce = (response: Http2ServerResponse): void => {
  response.writeHead(200, { ...CONTENT, 'grpc-status': '14' });
  response.end();
};
/** A head, then trailers without a message between them. */
const refusesLater = (response: Http2ServerResponse): void => {
  response.writeHead(200, CONTENT);
  response.addTrailers({ 'grpc-status': '14' });
  response.end();
};
const refusesAfterMessage = (response: Http2ServerResponse): void => {
  response.writeHead(200, CONTENT);
  response.addTrailers({ 'grpc-status': '14' });
  response.end(MESSAGE);
};

beforeAll(async () => {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      asked++;
      (answers.shift() ?? good)(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  weft = await mesh.start({ account: 'caller' });
  mesh.own({ [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) });
  const retry = { retryOn: { triggers: ['unavailable'] }, perRetry: { backOff: { baseInterval: '1ms' } } };
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'echo', endpoints: [(server.address() as AddressInfo).port], appProtocol: 'grpc' }),
    trafficPolicy('echo', { retry }),
  ]);
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** One unary call: the code that ends it, the bytes of its messages, and how often the service was asked. */
async function call(): Promise<{ code: string; bytes: number; asked: number }> {
  const before = asked;
  const session = connect(`http://127.0.0.1:${weft.ports.outbound}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/a.B/C',
    ':authority': 'echo',
    te: 'trailers',
    ...CONTENT,
  });
  let code = '';
  let bytes = 0;
  const read = (headers: IncomingHttpHeaders): void => {
    code = String(headers['grpc-status'] ?? code);
  };
  stream.on('response', read);
  stream.on('trailers', read);
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  stream.end(MESSAGE);
  await new Promise<void>((resolve, reject) => {
    stream.on('close', resolve);
    stream.on('error', reject);
  });
  session.close();
  return { code, bytes, asked: asked - before };
}

test('a call that is refused at once, in its head, is made again', async () => {
  answers = [refusesAtOnce];
  expect(await call()).toEqual({ code: '0', bytes: 7, asked: 2 });
});

test('a call that is refused in its trailers, before any message, is made again', async () => {
  answers = [refusesLater, refusesLater];
  expect(await call()).toEqual({ code: '0', bytes: 7, asked: 3 });
});

test('a call that has brought a message is not made again, whatever its trailers say', async () => {
  answers = [refusesAfterMessage];
  expect(await call()).toEqual({ code: '14', bytes: 7, asked: 1 });
});

test('a call that goes on being refused ends with its own code', async () => {
  answers = [refusesLater, refusesLater, refusesLater, refusesLater];
  expect(await call()).toEqual({ code: '14', bytes: 0, asked: 3 });
});
