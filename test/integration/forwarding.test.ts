import type { Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Behaviour, cut, mirror, type RawBackend, startBackend, startRawBackend } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, header, plain, post, STALL_MS, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
let weft: Weft;
let raw: RawBackend;
/** What the raw application does with what a connection has received so far. */
let onRaw: (received: string, say: (bytes: string) => void, close: () => void) => void = () => {};
const app = mesh.own(await startBackend(mirror));

beforeAll(async () => {
  raw = mesh.own(
    await startRawBackend((socket, received) =>
      onRaw(
        received.toString('latin1'),
        (bytes) => socket.write(bytes, 'latin1'),
        () => socket.end(),
      ),
    ),
  );
  const documents = [
    ...plain({ name: 'app', endpoints: [app.port] }),
    ...plain({ name: 'raw', endpoints: [raw.port] }),
  ];
  weft = await mesh.start({ account: 'caller', documents });
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** The raw application's end of the connection that this path was asked on. */
function rawSocketOf(path: string): Promise<Socket> {
  return eventually(`the request for ${path} is there`, () => {
    return raw.sockets[raw.received.findIndex((bytes) => bytes.includes(` ${path} `))];
  });
}

/** The raw application says one of these at each arrival, as long as there are any. */
function answerHeads(...answers: string[]): void {
  const rest = [...answers];
  onRaw = (_received, say) => say(rest.shift() ?? '');
}

function behave(behaviour: Behaviour): void {
  app.behaviour = behaviour;
}

async function mirrored(request: string): Promise<{
  method: string;
  target: string;
  headers: Record<string, string>;
  body: string;
  trailers: Record<string, string>;
}> {
  behave(mirror);
  const answer = await ask(weft.ports.outbound, request);
  expect(answer.status).toBe(200);
  return JSON.parse(answer.body.toString());
}

test('requests on one connection are answered one after the other over one pooled connection', async () => {
  behave(mirror);
  const before = app.connections;
  using client = await openClient(weft.ports.outbound);
  for (const path of ['/1', '/2', '/3']) {
    const answer = await client.exchange(get('app', path));
    expect(JSON.parse(answer.body.toString()).target).toBe(path);
  }
  expect(app.connections - before).toBe(1);
});

test('pipelined requests are answered in their order', async () => {
  behave(mirror);
  using client = await openClient(weft.ports.outbound);
  await client.write(get('app', '/a') + post('app', 'body b', '/b') + get('app', '/c'));
  const targets = [];
  for (let i = 0; i < 3; i++) targets.push(JSON.parse((await client.answer()).body.toString()).target);
  expect(targets).toEqual(['/a', '/b', '/c']);
});

test('a body of known length passes as it is, in both directions', async () => {
  const seen = await mirrored(post('app', 'twelve bytes'));
  expect(seen.body).toBe('twelve bytes');
  expect(seen.headers['content-length']).toBe('12');
  expect(seen.headers['transfer-encoding']).toBeUndefined();
});

test('a chunked request passes chunked, with its trailers', async () => {
  const seen = await mirrored(
    'POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n',
  );
  expect(seen.body).toBe('abcde');
  expect(seen.headers['transfer-encoding']).toBe('chunked');
  expect(seen.trailers).toEqual({ 'x-sum': '5' });
});

test('a chunked answer passes chunked, with its trailers', async () => {
  answerHeads(
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n',
  );
  const answer = await ask(weft.ports.outbound, get('raw', '/', 'TE: trailers', 'Connection: TE'));
  expect(answer.body.toString()).toBe('abc');
  expect(answer.trailers).toEqual(['x-sum: 3']);
});

test('an answer to HEAD states its length and has no body', async () => {
  answerHeads('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi');
  using client = await openClient(weft.ports.outbound);
  const head = await client.exchange('HEAD / HTTP/1.1\r\nHost: raw\r\n\r\n', 'HEAD');
  expect(header(head, 'content-length')).toBe('1000');
  expect((await client.exchange(get('raw'))).body.toString()).toBe('hi');
});

test('what cannot be read behind a HEAD is refused with a text', async () => {
  answerHeads('HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n');
  using client = await openClient(weft.ports.outbound);
  await client.exchange('HEAD / HTTP/1.1\r\nHost: raw\r\n\r\n', 'HEAD');
  await client.write('NONSENSE\r\n\r\n');
  const refused = await client.answer();
  expect(refused.status).toBe(400);
  expect(refused.body.toString()).toContain('malformed_request_line');
});

test.each([204, 304])('an answer of status %i has no body and leaves the connection usable', async (code) => {
  answerHeads(`HTTP/1.1 ${code} Fine\r\nETag: "x"\r\n\r\n`, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi');
  using client = await openClient(weft.ports.outbound);
  const bodiless = await client.exchange(get('raw'));
  expect({ status: bodiless.status, etag: header(bodiless, 'etag') }).toEqual({ status: code, etag: '"x"' });
  expect((await client.exchange(get('raw'))).body.toString()).toBe('hi');
});

test('a body after 100 Continue is sent only when the application asked for it', async () => {
  const order: string[] = [];
  onRaw = (received, say) => {
    if (received.endsWith('\r\n\r\n')) {
      order.push('head');
      say('HTTP/1.1 100 Continue\r\n\r\n');
    } else if (received.endsWith('the body')) {
      order.push('body');
      say('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    }
  };
  using client = await openClient(weft.ports.outbound);
  await client.write('POST / HTTP/1.1\r\nHost: raw\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n');
  expect((await client.answer()).status).toBe(100);
  await client.write('the body');
  expect((await client.answer()).status).toBe(200);
  expect(order).toEqual(['head', 'body']);
});

test('a refusal instead of 100 Continue ends the connection, since the body may still come', async () => {
  answerHeads('HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n');
  using client = await openClient(weft.ports.outbound);
  const answer = await client.exchange(
    'POST / HTTP/1.1\r\nHost: raw\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n',
  );
  expect({ status: answer.status, connection: header(answer, 'connection') }).toEqual({
    status: 417,
    connection: 'close',
  });
  expect(await client.ended).toBe('fin');
});

test('early hints (103) come before the final answer, with their fields', async () => {
  answerHeads(
    'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  );
  using client = await openClient(weft.ports.outbound);
  const hints = await client.exchange(get('raw'));
  expect({ status: hints.status, link: header(hints, 'link') }).toEqual({ status: 103, link: '</a.css>; rel=preload' });
  expect((await client.answer()).status).toBe(200);
});

test('Connection: close of the caller ends its connection and keeps the pooled one', async () => {
  behave(mirror);
  await ask(weft.ports.outbound, get('app'));
  const before = app.connections;
  using client = await openClient(weft.ports.outbound);
  const answer = await client.exchange(get('app', '/', 'Connection: close'));
  expect(header(answer, 'connection')).toBe('close');
  expect(await client.ended).toBe('fin');
  expect(app.connections).toBe(before);
});

test('Connection: close of the application keeps the caller connected', async () => {
  answerHeads('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi', '');
  using client = await openClient(weft.ports.outbound);
  const answer = await client.exchange(get('raw'));
  expect(header(answer, 'connection')).toBeUndefined();
  behave(mirror);
  expect((await client.exchange(get('app'))).status).toBe(200);
});

test('a body that ends with the connection reaches an HTTP/1.1 caller in chunks', async () => {
  onRaw = (_received, say, close) => {
    say('HTTP/1.1 200 OK\r\n\r\nuntil the end');
    close();
  };
  using client = await openClient(weft.ports.outbound);
  const answer = await client.exchange(get('raw'));
  expect(header(answer, 'transfer-encoding')).toBe('chunked');
  expect(answer.body.toString()).toBe('until the end');
});

test('an HTTP/1.0 caller gets no chunks and the end of its connection', async () => {
  answerHeads('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n');
  using client = await openClient(weft.ports.outbound);
  await client.write('GET / HTTP/1.0\r\nHost: raw\r\n\r\n');
  expect(await client.ended).toBe('fin');
  const answer = await client.answer();
  expect(header(answer, 'transfer-encoding')).toBeUndefined();
  expect(answer.body.toString()).toBe('abc');
});

test('an HTTP/1.0 caller that asks for keep-alive may ask again', async () => {
  behave(mirror);
  using client = await openClient(weft.ports.outbound);
  const request = 'POST /x HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n';
  answerHeads('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb');
  for (const body of ['a', 'b']) {
    const answer = await client.exchange(request.replace('app', 'raw'));
    expect(header(answer, 'connection')).toBe('keep-alive');
    expect(answer.body.toString()).toBe(body);
  }
});

test('a request in absolute form goes to its authority in origin form', async () => {
  const seen = await mirrored(
    'GET http://app.default.svc.cluster.local:80/p?q=1 HTTP/1.1\r\nHost: app.default.svc.cluster.local:80\r\n\r\n',
  );
  expect(seen.target).toBe('/p?q=1');
});

test.each(['app', 'APP.Default', 'app.default.svc', 'app.default.svc.cluster.local.', 'app:80'])(
  'the Service may be called %s',
  async (host) => {
    expect((await mirrored(get(host, '/named'))).target).toBe('/named');
  },
);

test('hop-by-hop fields end at the sidecar, in both directions', async () => {
  const seen = await mirrored(
    get(
      'app',
      '/',
      'Connection: x-private, keep-alive',
      'X-Private: 1',
      'Keep-Alive: timeout=9',
      'Proxy-Authorization: x',
      'X-Kept: 1',
    ),
  );
  expect(Object.keys(seen.headers)).not.toEqual(expect.arrayContaining(['x-private']));
  expect(seen.headers['x-private']).toBeUndefined();
  expect(seen.headers['keep-alive']).toBeUndefined();
  expect(seen.headers['x-kept']).toBe('1');
  answerHeads(
    'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\nX-Kept: 1\r\n\r\n',
  );
  const answer = await ask(weft.ports.outbound, get('raw'));
  expect([header(answer, 'x-private'), header(answer, 'keep-alive'), header(answer, 'x-kept')]).toEqual([
    undefined,
    undefined,
    '1',
  ]);
});

test('an answer that comes before the end of a big upload reaches the caller, and the upload ends', async () => {
  answerHeads('HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nmuch');
  using client = await openClient(weft.ports.outbound);
  client.socket.write('POST / HTTP/1.1\r\nHost: raw\r\nContent-Length: 100000000\r\n\r\n');
  client.socket.write(Buffer.alloc(1_000_000));
  const answer = await client.answer();
  expect({ status: answer.status, connection: header(answer, 'connection') }).toEqual({
    status: 413,
    connection: 'close',
  });
  expect(answer.body.toString()).toBe('much');
});

test('a caller that goes away cancels its request upstream within a second', async () => {
  onRaw = () => {};
  const client = await openClient(weft.ports.outbound);
  await client.write(post('raw', 'x', '/left'));
  const socket = await rawSocketOf('/left');
  const ended = new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
  const left = performance.now();
  client.close();
  await ended;
  expect(performance.now() - left).toBeLessThan(1_000 + STALL_MS);
  await eventually('nothing is open', async () => (await weft.metric('weft_active_requests')) === 0 || undefined);
});

test('an answer cut in the middle of its body is cut for the caller too', async () => {
  behave(cut(100, 10));
  using client = await openClient(weft.ports.outbound);
  await client.write(get('app'));
  await client.ended;
  expect(client.text).toContain('200 OK');
  expect(client.text.endsWith('x'.repeat(100))).toBe(false);
});

test('an answer in chunks that is cut has no last chunk for the caller', async () => {
  onRaw = (_received, say, close) => {
    say('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
    close();
  };
  using client = await openClient(weft.ports.outbound);
  await client.write(get('raw'));
  await client.ended;
  expect(client.text).not.toContain('\r\n0\r\n');
});

test('an answer that lasts until the connection ends is cut, not ended, for a caller that stops sending', async () => {
  onRaw = (_received, say) => say('HTTP/1.1 200 OK\r\n\r\nhalf');
  using client = await openClient(weft.ports.outbound);
  await client.write('GET / HTTP/1.0\r\nHost: raw\r\n\r\n');
  await client.until(() => client.text.includes('half') || undefined);
  client.finish();
  expect(await client.ended).toBe('reset');
});

test('Upgrade: websocket passes, and bytes flow both ways until the application ends it', async () => {
  onRaw = (received, say, close) => {
    if (received.endsWith('\r\n\r\n'))
      say('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
    if (received.endsWith('ping')) say('pong');
    if (received.endsWith('bye')) close();
  };
  const upstreams = await weft.metric('weft_upstream_connections');
  using client = await openClient(weft.ports.outbound);
  await client.write(get('raw', '/', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x'));
  const answer = await client.answer();
  expect([answer.status, header(answer, 'upgrade'), header(answer, 'connection')]).toEqual([
    101,
    'websocket',
    'Upgrade',
  ]);
  await client.until(() => client.text.endsWith('hello') || undefined);
  await client.write('ping');
  await client.until(() => client.text.endsWith('pong') || undefined);
  await client.write('bye');
  expect(await client.ended).toBe('fin');
  await eventually(
    'the tunnel is gone',
    async () => (await weft.metric('weft_upstream_connections')) <= upstreams || undefined,
  );
});

test('the end of the caller passes through an upgraded connection while the application still talks', async () => {
  onRaw = (received, say) => {
    if (received.endsWith('\r\n\r\n'))
      say('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  };
  using client = await openClient(weft.ports.outbound);
  await client.exchange(get('raw', '/upgraded', 'Connection: Upgrade', 'Upgrade: websocket'));
  const socket = await rawSocketOf('/upgraded');
  const ended = new Promise<void>((resolve) => socket.once('end', resolve));
  client.finish();
  await ended;
  socket.end('last words');
  expect(await client.ended).toBe('fin');
  expect(client.text.endsWith('last words')).toBe(true);
});

test('an Upgrade that no policy allows is refused', async () => {
  const answer = await ask(weft.ports.outbound, get('app', '/', 'Connection: Upgrade', 'Upgrade: foo/1'));
  expect([answer.status, wordOf(answer)]).toEqual([400, 'upgrade_refused']);
});
