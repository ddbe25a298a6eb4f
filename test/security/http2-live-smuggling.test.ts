/** Requests of HTTP/2 that would be two requests, or another one, in HTTP/1.1: refused, and nothing goes upstream. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as f from '../../proxy/http/h2-frames.ts';
import { meshed, plain, TinyMesh } from '../integration/mesh.ts';
import { type RawBackend, startRawBackend } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { frame, headers, type Pair, settings } from '../support/h2.ts';
import type { Weft } from '../support/weft.ts';

const mesh = new TinyMesh();
let app: RawBackend;
let hop: Weft;
let caller: Weft;

beforeAll(async () => {
  app = mesh.own(
    await startRawBackend((socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi')),
  );
  const callee = await mesh.start({ account: 'app', app: app.port });
  await mesh.apply(callee, 'app', meshed({ name: 'app', endpoints: [callee.ports.inbound], appProtocol: 'http' }));
  hop = await mesh.start({
    account: 'hop',
    documents: plain({ name: 'app', endpoints: [app.port], appProtocol: 'http' }),
  });
  caller = await mesh.start({
    account: 'caller',
    documents: meshed({ name: 'app', endpoints: [callee.ports.inbound], appProtocol: 'http' }),
  });
});
beforeEach(() => {
  app.received.fill(Buffer.alloc(0));
});
afterAll(() => mesh[Symbol.asyncDispose]());

const GET: readonly Pair[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'app'],
];
const changed = (name: string, value: string): Pair[] => GET.map(([key, old]) => [key, key === name ? value : old]);
const added = (...fields: Pair[]): Pair[] => [...GET, ...fields];

const ATTEMPTS: readonly (readonly [string, readonly Pair[]])[] = [
  ['CR LF in a value', added(['x', 'a\r\nX-Evil: 1'])],
  ['a lone LF in a value', added(['x', 'a\nX-Evil: 1'])],
  ['NUL in a value', added(['x', 'a\0b'])],
  ['CR LF in a name', added(['x\r\nx-evil', '1'])],
  ['a colon in a name', added(['x: 1', '1'])],
  ['a space in a name', added(['x y', '1'])],
  ['upper case in a name', added(['X-Y', '1'])],
  ['Transfer-Encoding', added(['transfer-encoding', 'chunked'])],
  ['Connection', added(['connection', 'x-forwarded-for'])],
  ['TE other than trailers', added(['te', 'trailers, chunked'])],
  ['two lengths', added(['content-length', '1'], ['content-length', '2'])],
  ['a length that is no number', added(['content-length', '+1'])],
  ['a length without a body', added(['content-length', '5'])],
  ['Host that differs from the authority', added(['host', 'other'])],
  ['a space in the path', changed(':path', '/ HTTP/1.1')],
  ['CR LF in the path', changed(':path', '/\r\nX-Evil: 1')],
  ['an absolute path', changed(':path', 'http://other/')],
  ['an empty path', changed(':path', '')],
  ['a method with a space', changed(':method', 'GET / HTTP/1.1\r\n')],
  ['another scheme', changed(':scheme', 'ftp')],
  ['userinfo in the authority', changed(':authority', 'me@app')],
  ['a pseudo-header after a field', [...GET.slice(0, 3), ['x', '1'], [':authority', 'app']]],
];

describe.each([
  ['one hop', () => hop.ports.outbound],
  ['two sidecars', () => caller.ports.outbound],
] as const)('through %s', (_name, port) => {
  test.each(ATTEMPTS)('%s', async (_what, fields) => {
    const { status, reset } = await attempt(port(), headers(1, fields));
    // The stream is reset as malformed, or answered with what is wrong.
    expect(status === '400' || status === '' || status === '404').toBe(true);
    expect(status === '' ? reset : f.NO_ERROR).toBe(status === '' ? f.PROTOCOL_ERROR : f.NO_ERROR);
    expect(Buffer.concat(app.received).toString('latin1')).toBe('');
  });

  test('more DATA than the length says resets the stream, and the rest is nobody’s request', async () => {
    const post = changed(':method', 'POST');
    const evil = Buffer.from('fiveGET /evil HTTP/1.1\r\nHost: app\r\n\r\n');
    const bytes = Buffer.concat([
      headers(1, [...post, ['content-length', '4']], 0x4),
      frame(f.DATA, f.END_STREAM, 1, evil),
    ]);
    expect((await attempt(port(), bytes)).reset).toBe(f.PROTOCOL_ERROR);
    expect(Buffer.concat(app.received).toString('latin1')).not.toContain('evil');
  });
});

/** Sends one request and a good one after it; what became of the first when the second was answered. */
async function attempt(port: number, bytes: Buffer): Promise<{ status: string; reset: number }> {
  using client = await openClient(port);
  await client.write(Buffer.concat([f.PREFACE, settings(), bytes]));
  let status = '';
  const reset = await client.until(() => {
    for (let at = 0; at + 9 <= client.received.length; ) {
      const end = at + 9 + client.received.readUIntBE(at, 3);
      const [type, id] = [client.received[at + 3], client.received.readUInt32BE(at + 5)];
      if (id === 1 && type === f.HEADERS) status = statusIn(client.received.subarray(at + 9, end));
      if (id === 1 && type === f.HEADERS && status !== '') return f.NO_ERROR;
      if (id === 1 && type === f.RST_STREAM && end <= client.received.length)
        return client.received.readUInt32BE(at + 9);
      at = end;
    }
    return undefined;
  });
  return { status, reset };
}

/** Of a block that weft wrote: a status by index, or spelled out. */
function statusIn(block: Buffer): string {
  return block.includes(0x8c)
    ? '400'
    : block.includes(0x8d)
      ? '404'
      : (/[1-5]\d\d/.exec(block.toString('latin1'))?.[0] ?? '');
}
