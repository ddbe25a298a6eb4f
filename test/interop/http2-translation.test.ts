/**
 * What survives where the two sides of a sidecar speak different versions of HTTP (RFC 9113 section 8, RFC 9110).
 *
 * Over 400 lines: three directions over one stage; apart, each file would set it up again.
 */
import { once } from 'node:events';
import { constants } from 'node:http2';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ask, get, header, meshed, plain, STALL_MS, TinyMesh } from '../integration/mesh.ts';
import { type RawBackend, startRawBackend } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { answerOf, H2App, type H2Ask, H2Caller, mirror } from './http2-peers.ts';

const mesh = new TinyMesh();
const h2App = new H2App();
let h1App: RawBackend;
/** Says what the HTTP/1.1 application answers to what a connection has received so far. */
let onH1: (received: string, say: (bytes: string) => void, close: () => void) => void = () => {};
let hop: Weft;
let caller: Weft;

beforeAll(async () => {
  mesh.own(await h2App.listen());
  h1App = mesh.own(
    await startRawBackend((socket, received) => {
      const say = (bytes: string): void => {
        // What has been answered is done with: the next request begins anew.
        h1App.received[h1App.sockets.indexOf(socket)] = Buffer.alloc(0);
        socket.write(bytes, 'latin1');
      };
      onH1(received.toString('latin1'), say, () => void socket.end());
    }),
  );
  hop = await mesh.start({
    account: 'hop',
    documents: [
      ...plain({ name: 'one', endpoints: [h1App.port], appProtocol: 'http' }),
      ...plain({ name: 'two', endpoints: [h2App.port], appProtocol: 'kubernetes.io/h2c' }),
      ...plain({ name: 'rpc', endpoints: [h2App.port], appProtocol: 'grpc' }),
    ],
  });
  const one = await mesh.start({ account: 'one', app: h1App.port });
  const two = await mesh.start({ account: 'two', app: h2App.port });
  await mesh.apply(one, 'one', meshed({ name: 'one', endpoints: [one.ports.inbound], appProtocol: 'http' }));
  await mesh.apply(
    two,
    'two',
    meshed({ name: 'two', endpoints: [two.ports.inbound], appProtocol: 'kubernetes.io/h2c' }),
  );
  caller = await mesh.start({
    account: 'caller',
    documents: [
      ...meshed({ name: 'one', endpoints: [one.ports.inbound], appProtocol: 'http' }),
      ...meshed({ name: 'two', endpoints: [two.ports.inbound], appProtocol: 'kubernetes.io/h2c' }),
    ],
  });
});
beforeEach(() => {
  h2App.behaviour = mirror;
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** The HTTP/1.1 application says one of these each time that a request is whole. */
function answers(...rest: string[]): string[] {
  const requests: string[] = [];
  onH1 = (received, say) => {
    if (!isWhole(received)) return;
    requests.push(received);
    say(rest.shift() ?? '');
  };
  return requests;
}

function isWhole(request: string): boolean {
  const end = request.indexOf('\r\n\r\n');
  if (end < 0) return false;
  if (/\r\ntransfer-encoding: chunked/i.test(request)) return /\r\n0\r\n(?:.+\r\n)*\r\n$/.test(request);
  return request.length - end - 4 >= Number(/\r\ncontent-length: (\d+)/i.exec(request)?.[1] ?? 0);
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi';
const through = [
  ['one hop', () => hop.ports.outbound],
  ['two sidecars with mutual TLS', () => caller.ports.outbound],
] as const;

describe.each(through)('HTTP/2 to HTTP/1.1 through %s', (_name, port) => {
  const askOne = async (headers: Record<string, string | string[]>, ask: H2Ask = {}) => {
    using client = new H2Caller(port());
    return await client.ask({ ':authority': 'one', ...headers }, ask);
  };

  test('authority, path and fields arrive as an HTTP/1.1 request, cookie crumbs as one field', async () => {
    const requests = answers(OK);
    const answer = await askOne({ ':path': '/a?b=c', 'x-y': 'z', cookie: ['a=1', 'b=2'] });
    expect({ status: answer.status, body: String(answer.body), length: answer.headers['content-length'] }).toEqual({
      status: 200,
      body: 'hi',
      length: '2',
    });
    expect(requests[0]).toMatch(/^GET \/a\?b=c HTTP\/1\.1\r\nhost: one\r\n/i);
    expect(requests[0]).toMatch(/\r\nx-y: z\r\n/);
    expect(requests[0]).toMatch(/\r\ncookie: a=1; b=2\r\n/);
  });

  test('a body of known length keeps it, one of unknown length is chunked, with its trailers', async () => {
    const requests = answers(OK, OK);
    await askOne({ ':method': 'POST', 'content-length': '4' }, { body: 'four' });
    await askOne({ ':method': 'POST' }, { body: 'five!', trailers: { 'x-sum': '5' } });
    expect(requests[0]).toMatch(/\r\ncontent-length: 4\r\n(?:.*\r\n)*\r\nfour$/i);
    expect(requests[1]).toMatch(
      /\r\ntransfer-encoding: chunked\r\n(?:.*\r\n)*\r\n5\r\nfive!\r\n0\r\nx-sum: 5\r\n\r\n$/i,
    );
  });

  test('trailers of the answer arrive, connection fields do not', async () => {
    const requests = answers(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-private\r\nKeep-Alive: timeout=9\r\nX-Private: 1\r\nTrailer: x-end\r\n\r\n3\r\nabc\r\n0\r\nX-End: here\r\n\r\n',
    );
    const { status, body, headers, trailers } = await askOne({ te: 'trailers' });
    expect({ status, body: String(body), end: trailers['x-end'] }).toEqual({ status: 200, body: 'abc', end: 'here' });
    for (const name of ['transfer-encoding', 'connection', 'keep-alive', 'x-private'])
      expect(headers[name]).toBeUndefined();
    expect(requests[0]).toMatch(/\r\nte: trailers\r\n/i);
  });

  test('an answer to HEAD states its length, 204 and 304 have no body, and the connection stays usable', async () => {
    answers(
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n',
      'HTTP/1.1 204 No\r\n\r\n',
      'HTTP/1.1 304 No\r\nETag: "x"\r\n\r\n',
      OK,
    );
    using client = new H2Caller(port());
    const head = await client.ask({ ':authority': 'one', ':method': 'HEAD' });
    expect({ status: head.status, length: head.headers['content-length'], bytes: head.body.length }).toEqual({
      status: 200,
      length: '9',
      bytes: 0,
    });
    expect((await client.ask({ ':authority': 'one' })).status).toBe(204);
    const unchanged = await client.ask({ ':authority': 'one' });
    expect({ status: unchanged.status, etag: unchanged.headers['etag'] }).toEqual({ status: 304, etag: '"x"' });
    expect(String((await client.ask({ ':authority': 'one' })).body)).toBe('hi');
  });

  test('100 Continue and 103 come before the final answer, and the body after 100', async () => {
    const order: string[] = [];
    onH1 = (received, say) => {
      if (received.includes('\r\n\r\n')) {
        order.push('head');
        say('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n');
      } else {
        order.push('body');
        say(OK);
      }
    };
    using client = new H2Caller(port());
    const stream = client.open({
      ':authority': 'one',
      ':method': 'POST',
      'content-length': '8',
      expect: '100-continue',
    });
    const hints: string[] = [];
    stream.on('headers', (headers) => hints.push(String(headers['link'])));
    stream.on('continue', () => stream.end('the body'));
    const { status } = await answerOf(stream);
    expect({ status, order, hint: hints[0] }).toEqual({ status: 200, order: ['head', 'body'], hint: '</a>' });
  });

  test('Connection: close of the application does not end the caller’s connection', async () => {
    onH1 = (_received, say, close) => {
      say('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end');
      close();
    };
    using client = new H2Caller(port());
    for (const _turn of [1, 2]) {
      const { status, body } = await client.ask({ ':authority': 'one' });
      expect({ status, body: String(body) }).toEqual({ status: 200, body: 'until the end' });
    }
    expect(client.session.closed).toBe(false);
  });

  test('a body that is cut short resets the stream', async () => {
    onH1 = (_received, say, close) => {
      say('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!');
      close();
    };
    expect((await askOne({})).reset).toBe(constants.NGHTTP2_INTERNAL_ERROR);
  });
});

describe.each(through)('HTTP/1.1 to HTTP/2 through %s', (_name, port) => {
  interface Mirrored {
    readonly headers: Record<string, string>;
    readonly trailers: Record<string, string>;
    readonly body: string;
  }
  const mirrored = async (request: string): Promise<Mirrored> =>
    JSON.parse(String((await ask(port(), request)).body)) as Mirrored;

  test('Host becomes the authority and connection fields end here', async () => {
    const { headers } = await mirrored(
      get('two', '/a?b=c', 'Connection: keep-alive, x-private', 'Keep-Alive: 5', 'X-Private: 1', 'X-Y: z'),
    );
    expect(headers).toMatchObject({
      ':method': 'GET',
      ':authority': 'two',
      ':path': '/a?b=c',
      ':scheme': 'http',
      'x-y': 'z',
    });
    for (const name of ['connection', 'keep-alive', 'x-private', 'transfer-encoding'])
      expect(headers[name]).toBeUndefined();
  });

  test('bodies and trailers pass in both directions', async () => {
    const chunked =
      'POST / HTTP/1.1\r\nHost: two\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n';
    const answer = await ask(port(), chunked);
    expect(JSON.parse(String(answer.body))).toMatchObject({ body: 'abc', trailers: { 'x-sum': '3' } });
    expect(header(answer, 'transfer-encoding')).toBe('chunked');
    expect(answer.trailers).toEqual(['x-end: here']);
    const known = await mirrored('POST / HTTP/1.1\r\nHost: two\r\nContent-Length: 4\r\n\r\nfour');
    expect({ body: known.body, length: known.headers['content-length'] }).toEqual({ body: 'four', length: '4' });
  });

  test('HEAD and 204 have no body, and the connection stays usable', async () => {
    h2App.behaviour = (stream, { headers }) => {
      if (headers[':method'] === 'HEAD') stream.respond({ ':status': 200, 'content-length': 7 }, { endStream: true });
      else stream.respond({ ':status': 204, 'x-y': 'z' }, { endStream: true });
    };
    using client = await openClient(port());
    const head = await client.exchange('HEAD / HTTP/1.1\r\nHost: two\r\n\r\n', 'HEAD');
    expect({ status: head.status, length: header(head, 'content-length') }).toEqual({ status: 200, length: '7' });
    const none = await client.exchange(get('two'));
    expect({ status: none.status, value: header(none, 'x-y') }).toEqual({ status: 204, value: 'z' });
  });

  test('100 Continue and 103 come before the final answer', async () => {
    h2App.behaviour = (stream, { body }) => {
      stream.additionalHeaders({ ':status': 103, link: '</a>' });
      stream.additionalHeaders({ ':status': 100 });
      void body.then((bytes) => {
        stream.respond({ ':status': 200 });
        stream.end(bytes);
      });
    };
    using client = await openClient(port());
    const hint = await client.exchange(
      'POST / HTTP/1.1\r\nHost: two\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n',
    );
    expect({ status: hint.status, link: header(hint, 'link') }).toEqual({ status: 103, link: '</a>' });
    expect((await client.answer()).status).toBe(100);
    await client.write('the body');
    expect(String((await client.answer()).body)).toBe('the body');
  });

  test('Connection: close of the caller ends its own connection alone', async () => {
    await mirrored(get('two'));
    const before = h2App.connections;
    using client = await openClient(port());
    const answer = await client.exchange(get('two', '/', 'Connection: close'));
    expect(header(answer, 'connection')).toBe('close');
    expect(await client.ended).toBe('fin');
    await mirrored(get('two'));
    expect(h2App.connections).toBe(before);
  });

  test('a caller that leaves cancels its stream', async () => {
    const before = { requests: h2App.requests, resets: h2App.resets.length };
    h2App.behaviour = () => undefined;
    const client = await openClient(port());
    await client.write(get('two'));
    await eventually('the request is there', () => h2App.requests > before.requests || undefined);
    client.close();
    await eventually('the stream is reset', () => h2App.resets.length > before.resets || undefined);
    expect(h2App.resets.at(-1)).toBe(constants.NGHTTP2_CANCEL);
  });
});

describe.each(through)('HTTP/2 to HTTP/2 through %s', (_name, port) => {
  test('heads, bodies and trailers pass in both directions', async () => {
    using client = new H2Caller(port());
    const { status, body, trailers } = await client.ask(
      { ':authority': 'two', ':method': 'PUT', ':path': '/p', te: 'trailers' },
      { body: 'abc', trailers: { 'x-sum': '3' } },
    );
    const seen = JSON.parse(String(body)) as { headers: Record<string, string> };
    expect({ status, end: trailers['x-end'] }).toEqual({ status: 200, end: 'here' });
    expect(seen).toMatchObject({ body: 'abc', trailers: { 'x-sum': '3' } });
    expect(seen.headers).toMatchObject({ ':method': 'PUT', ':path': '/p', ':authority': 'two', te: 'trailers' });
  });

  test('a caller’s RST_STREAM is CANCEL at the application', async () => {
    const before = { requests: h2App.requests, resets: h2App.resets.length };
    h2App.behaviour = () => undefined;
    using client = new H2Caller(port());
    const stream = client.open({ ':authority': 'two', ':method': 'POST' });
    stream.write('something');
    await eventually('the request is there', () => h2App.requests > before.requests || undefined);
    const at = performance.now();
    stream.close(constants.NGHTTP2_CANCEL);
    await eventually('the stream is reset', () => h2App.resets.length > before.resets || undefined);
    expect(performance.now() - at).toBeLessThan(250 + STALL_MS);
    expect(h2App.resets.at(-1)).toBe(constants.NGHTTP2_CANCEL);
  });

  test('an answer before the end of the request arrives whole, and the rest of the request is not wanted', async () => {
    h2App.behaviour = (stream) => {
      stream.respond({ ':status': 413 });
      stream.end('too much');
    };
    using client = new H2Caller(port());
    const stream = client.open({ ':authority': 'two', ':method': 'POST' });
    stream.write('a beginning');
    const { status, body, reset } = await answerOf(stream);
    expect({ status, body: String(body), reset }).toEqual({
      status: 413,
      body: 'too much',
      reset: constants.NGHTTP2_NO_ERROR,
    });
  });

  test('twenty readers that have stalled do not stop the next request', async () => {
    h2App.behaviour = (stream) => {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(400_000));
    };
    const stalled = Array.from({ length: 20 }, () => new H2Caller(port()));
    try {
      // Nobody reads these: the first window full comes, then nothing moves.
      const streams = stalled.map((client) => client.open({ ':authority': 'two' }, true));
      await Promise.all(streams.map((stream) => once(stream, 'response')));
      h2App.behaviour = mirror;
      using client = new H2Caller(port());
      const { status, body } = await client.ask({ ':authority': 'two' });
      expect({ status, refusal: status === 200 ? '' : String(body) }).toEqual({ status: 200, refusal: '' });
    } finally {
      for (const client of stalled) client[Symbol.dispose]();
    }
  });

  test('a GOAWAY of the application lets its stream end and sends the next request over a new connection', async () => {
    const held: (() => void)[] = [];
    h2App.behaviour = (stream) => {
      stream.respond({ ':status': 200 });
      held.push(() => stream.end('late'));
    };
    using client = new H2Caller(port());
    const first = client.ask({ ':authority': 'two' });
    await eventually('the request is there', () => held.length > 0 || undefined);
    for (const session of h2App.sessions) session.close();
    const before = h2App.connections;
    h2App.behaviour = mirror;
    expect((await client.ask({ ':authority': 'two' })).status).toBe(200);
    expect(h2App.connections).toBe(before + 1);
    for (const release of held) release();
    expect(String((await first).body)).toBe('late');
  });
});

describe('gRPC without a gRPC client', () => {
  const GRPC = { ':authority': 'rpc', ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

  test('grpc-timeout is a deadline: trailers-only DEADLINE_EXCEEDED, and CANCEL to the application', async () => {
    const before = h2App.resets.length;
    h2App.behaviour = () => undefined;
    using client = new H2Caller(hop.ports.outbound);
    const at = performance.now();
    const { status, headers, body } = await client.ask({ ...GRPC, 'grpc-timeout': '1S' }, { body: Buffer.alloc(5) });
    expect({ status, code: headers['grpc-status'], bytes: body.length }).toEqual({ status: 200, code: '4', bytes: 0 });
    expect(performance.now() - at).toBeGreaterThan(990);
    expect(performance.now() - at).toBeLessThan(1_300 + STALL_MS);
    await eventually('the stream is reset', () => h2App.resets.length > before || undefined);
    expect(h2App.resets.at(-1)).toBe(constants.NGHTTP2_CANCEL);
  });

  test('a deadline that passes within the answer ends it with DEADLINE_EXCEEDED in its trailers', async () => {
    h2App.behaviour = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.write(Buffer.alloc(5));
    };
    using client = new H2Caller(hop.ports.outbound);
    const { headers, trailers, body, reset } = await client.ask(
      { ...GRPC, 'grpc-timeout': '2S' },
      { body: Buffer.alloc(5) },
    );
    expect({ type: headers['content-type'], bytes: body.length, code: trailers['grpc-status'], reset }).toEqual({
      type: 'application/grpc',
      bytes: 5,
      code: '4',
      reset: 0,
    });
  });

  test('an application that dies within its answer is UNAVAILABLE in the trailers', async () => {
    h2App.behaviour = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.write(Buffer.alloc(5), () => stream.session?.destroy());
    };
    using client = new H2Caller(hop.ports.outbound);
    const { trailers, reset } = await client.ask(GRPC, { body: Buffer.alloc(5) });
    expect({ code: trailers['grpc-status'], reset }).toEqual({ code: '14', reset: 0 });
  });
});
