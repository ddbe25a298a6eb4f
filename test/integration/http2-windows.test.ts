/** Flow control windows that the operator sets, as the far sides hear of them. */
import { connect, createServer, type Http2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, plain, TinyMesh } from './mesh.ts';

const KIB = 1024;
const mesh = new TinyMesh();
/** The connection of the last request. */
let link: Http2Session | undefined;
const server = createServer(({ stream }, response) => {
  link = stream.session;
  response.writeHead(204).end();
});
let set: Weft;
let unset: Weft;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mesh.own({ [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) });
  const { port } = server.address() as AddressInfo;
  const documents = plain({ name: 'web', endpoints: [port], appProtocol: 'kubernetes.io/h2c' });
  const flags = ['--http2-stream-window', '96', '--http2-connection-window', '128'];
  set = await mesh.start({ account: 'set', documents, flags });
  unset = await mesh.start({ account: 'unset', documents });
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** What the other side of this session may send, in KiB: on one stream, and on all of them. */
function granted(session: Http2Session): Promise<{ stream: number; connection: number }> {
  return eventually('the windows are known', () => {
    const stream = session.remoteSettings?.initialWindowSize;
    const connection = session.state.remoteWindowSize;
    if (stream === undefined || connection === undefined || connection <= 64 * KIB) return undefined;
    return { stream: stream / KIB, connection: connection / KIB };
  });
}

async function grantedToCaller({ ports }: Weft): Promise<{ stream: number; connection: number }> {
  const session = connect(`http://127.0.0.1:${ports.outbound}`);
  try {
    return await granted(session);
  } finally {
    session.destroy();
  }
}

async function grantedToEndpoint({ ports }: Weft): Promise<{ stream: number; connection: number }> {
  expect((await ask(ports.outbound, get('web'))).status).toBe(204);
  if (link === undefined) throw new Error('the endpoint was not asked');
  return granted(link);
}

test('a caller gets 256 KiB a stream and 1 MiB a connection, or what the flags say', async () => {
  expect(await grantedToCaller(unset)).toEqual({ stream: 256, connection: 1024 });
  expect(await grantedToCaller(set)).toEqual({ stream: 96, connection: 128 });
});

test('an endpoint, whose link all callers share, gets 64 times the connection', async () => {
  expect(await grantedToEndpoint(unset)).toEqual({ stream: 256, connection: 64 * 1024 });
  expect(await grantedToEndpoint(set)).toEqual({ stream: 96, connection: 64 * 128 });
});
