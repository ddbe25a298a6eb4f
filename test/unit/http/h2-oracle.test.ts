/** The codec against an implementation that is not ours: Node's own HTTP/2, over loopback sockets. */
import { once } from 'node:events';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { H2Connection } from '../../../proxy/http/h2-connection.ts';
import type { H2Events } from '../../../proxy/http/h2-events.ts';
import { H2Output } from '../../../proxy/http/h2-output.ts';
import type { H2Stream } from '../../../proxy/http/h2-stream.ts';
import { Fields } from '../../../proxy/http/message.ts';
import { request, response } from '../../support/h2.ts';

/** What a stream of ours has got, and what is left to send on it. */
class Talk {
  readonly received: Buffer[] = [];
  readonly head: string[] = [];
  trailers = '';
  ended: PromiseWithResolvers<void> = Promise.withResolvers<void>();
  rest: Buffer = Buffer.alloc(0);

  send(stream: H2Stream<Talk>): void {
    const taken = stream.sendData(this.rest, 0, this.rest.length, false);
    this.rest = this.rest.subarray(taken);
    if (this.rest.length === 0) stream.sendTrailers(new Fields(['x-sum'], ['42']));
  }
}

function text(fields: Fields): string {
  return fields.names.map((name, at) => `${name}: ${fields.values[at]}`).join('\n');
}

/** A connection of ours on a socket, flushed once per turn. */
function attach(
  role: 'client' | 'server',
  socket: net.Socket,
  onRequest: H2Events<Talk>['onRequest'],
): H2Connection<Talk> {
  const output = new H2Output(16_384, () => void setImmediate(flush));
  const connection = new H2Connection<Talk>(
    role,
    {
      onRequest,
      onRequestRefused: (_stream, failure) => expect.unreachable(failure.word),
      onInterim: (stream, head) => void stream.user?.head.push(String(head.status)),
      onResponse: (stream, head, ended) => {
        stream.user?.head.push(String(head.status), text(head.fields));
        if (ended) stream.user?.ended.resolve();
      },
      onData: (stream, bytes, start, end) => {
        stream.user?.received.push(Buffer.from(bytes.subarray(start, end)));
        stream.consume(end - start);
      },
      onEnd: (stream, trailers) => {
        if (stream.user === null) return;
        stream.user.trailers = trailers === null ? '' : text(trailers);
        stream.user.ended.resolve();
      },
      onReset: (stream, code, _failure, detail) => stream.user?.ended.reject(new Error(`reset ${code} ${detail}`)),
      onWindow: (stream) => stream.user?.send(stream),
      onSettings: () => undefined,
      onPingAck: () => undefined,
      onGoaway: () => undefined,
      onConnectionError: (_code, detail) => expect.unreachable(detail),
      onDone: () => void socket.end(),
    },
    output,
  );
  function flush(): void {
    const bytes = output.pending();
    output.rotate();
    socket.write(bytes, () => connection.flushed());
  }
  socket.on('data', (bytes: Buffer) => connection.feed(bytes, 0, bytes.length));
  // Of a far side that ends at once; `close` follows.
  socket.on('error', () => {});
  socket.on('close', () => connection.lost('closed'));
  connection.start();
  return connection;
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** Bodies that tell every place: byte n is n mod 251. */
function body(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, n) => n % 251));
}

const SIZES = [0, 1, 1000, 70_000, 1_500_000];

describe('our server and their client', () => {
  it('exchange bodies of all sizes at once, with repeated fields in their dynamic table', async () => {
    const server = net.createServer((socket) => {
      attach('server', socket, (stream, head, ended) => {
        const talk = new Talk();
        stream.user = talk;
        const answer = (): void => {
          talk.rest = Buffer.concat(talk.received);
          stream.respond(
            response(200, [
              ['x-path', head.path],
              ['x-cookie', head.fields.get('cookie') ?? ''],
            ]),
            -1,
            '',
            false,
          );
          talk.send(stream);
        };
        if (ended) answer();
        else void talk.ended.promise.then(answer);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const session = http2.connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
    closers.push(
      () => session.destroy(),
      () => server.close(),
    );

    const rounds = [0, 1, 2].flatMap((round) => SIZES.map((size) => ({ round, size })));
    await Promise.all(
      rounds.map(async ({ round, size }) => {
        const stream = session.request({
          ':method': 'POST',
          ':path': `/${round}/${size}?q=ä`.replace('ä', '%C3%A4'),
          cookie: ['a=b', 'c=d'],
          'x-round': String(round),
          'x-same': 'the same every time',
          te: 'trailers',
        });
        stream.end(body(size));
        const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
        const got: Buffer[] = [];
        let trailers: http2.IncomingHttpHeaders = {};
        stream.on('trailers', (received: http2.IncomingHttpHeaders) => {
          trailers = received;
        });
        for await (const piece of stream) got.push(piece as Buffer);
        expect(headers['x-path']).toBe(`/${round}/${size}?q=%C3%A4`);
        expect(headers['x-cookie']).toBe('a=b; c=d');
        expect(Buffer.concat(got).equals(body(size))).toBe(true);
        expect(trailers['x-sum']).toBe('42');
      }),
    );
  }, 60_000);
});

describe('our client and their server', () => {
  it('exchange bodies of all sizes at once, with trailers both ways', async () => {
    const server = http2.createServer();
    server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
      stream.additionalHeaders({ ':status': 103 });
      stream.respond(
        { ':status': 200, 'x-path': headers[':path'], 'set-cookie': ['a=b', 'c=d'] },
        { waitForTrailers: true },
      );
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-their-sum': '7' }));
      stream.pipe(stream);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
    closers.push(
      () => socket.destroy(),
      () => server.close(),
    );
    await once(socket, 'connect');
    const connection = attach('client', socket, () => expect.unreachable());

    const talks = SIZES.concat(SIZES).map((size) => {
      const talk = new Talk();
      const stream = connection.request(
        request('POST', `/${size}`, [
          ['x-size', String(size)],
          ['authorization', 'secret'],
        ]),
        -1,
        '',
        false,
      );
      if (stream === null) return expect.unreachable();
      stream.user = talk;
      talk.rest = body(size);
      talk.send(stream);
      return { talk, size };
    });
    for (const { talk, size } of talks) {
      await talk.ended.promise;
      expect(talk.head[0]).toBe('103');
      expect(talk.head[1]).toBe('200');
      expect(talk.head[2]).toContain(`x-path: /${size}`);
      expect(talk.head[2]).toContain('set-cookie: a=b\nset-cookie: c=d');
      expect(Buffer.concat(talk.received).equals(body(size))).toBe(true);
      expect(talk.trailers).toBe('x-their-sum: 7');
    }
    expect([connection.size, connection.debt]).toEqual([0, 0]);
  }, 60_000);
});
