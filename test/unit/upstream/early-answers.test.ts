/** Endpoints that answer and go while a request is on its way to them: nothing is read between their end and our write. */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { Fields, RequestHead, type ResponseHead } from '../../../proxy/http/message.ts';
import type { UpstreamStream } from '../../../proxy/http/stream.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { Endpoint } from '../../../proxy/upstream/endpoint.ts';
import { Pool, type StreamWaiter } from '../../../proxy/upstream/pool.ts';
import type { SecureDial } from '../../../proxy/upstream/secure-dial.ts';
import { ManualClock } from '../../../shared/clock.ts';
import type { Failure } from '../../../shared/errors.ts';
import { Random } from '../../../shared/random.ts';
import { ok } from '../../../shared/result.ts';
import { type RawBackend, startRawBackend } from '../../support/backend.ts';
import { TestCa } from '../../support/certificates.ts';
import { POOL_SETTINGS } from './pool-settings.ts';

const HEAD = 'HTTP/1.1 413 Content Too Large\r\n';
const WHOLE = `${HEAD}Content-Length: 3\r\nConnection: close\r\n\r\nbig`;
const UNTIL_CLOSE = `${HEAD}Connection: close\r\n\r\nbig`;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
const BODY = Buffer.alloc(10_000);

let app: RawBackend;
let pool: Pool;
let endpoint: Endpoint;
let opened = new AsyncDisposableStack();
afterEach(async () => {
  await opened.disposeAsync();
  opened = new AsyncDisposableStack();
});

async function open(answer: (socket: Socket, received: Buffer) => void): Promise<void> {
  app = opened.use(await startRawBackend(answer));
  callAt(app.port, null);
}

function callAt(port: number, secure: SecureDial | null): void {
  endpoint = new Endpoint({ address: '127.0.0.1', port, ready: true, weight: 1, zone: '', meshTls: false });
  const io = new IoThread(new ManualClock(), new Random(1));
  pool = new Pool(io, POOL_SETTINGS, { secureDial: () => secure }, new Map([[endpoint.key, endpoint]]));
}

/** An upload whose body goes with its head, or when the test says so. */
class Upload implements StreamWaiter {
  readonly lane = 'h1';
  readonly heard: string[] = [];
  readonly done: Promise<string>;
  private readonly atOnce: boolean;
  private stream: UpstreamStream | null = null;
  private readonly end: (how: string) => void;

  constructor(atOnce: boolean) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.atOnce = atOnce;
    this.done = promise;
    this.end = resolve;
  }

  onStream(stream: UpstreamStream): void {
    this.stream = stream;
    const { length } = BODY;
    const head = new RequestHead('POST', 'http', 'a', '/', new Fields(), length, 11, false, false, false, null);
    stream.sendHead(head, length, '');
    if (this.atOnce) this.sendBody();
  }

  sendBody(): void {
    this.stream?.sendBytes(BODY, 0, BODY.length);
    this.stream?.sendEnd(null);
  }

  onNoStream(failure: Failure): void {
    this.end(failure.word);
  }

  onHead(head: ResponseHead): void {
    this.heard.push(String(head.status));
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.heard.push(bytes.toString('latin1', start, end));
  }

  onInterim(): void {}
  onCongested(): void {}
  onWritable(): void {}

  onEnd(): void {
    this.end('answered');
  }

  onFailure(failure: Failure): void {
    this.end(failure.word);
  }
}

function upload(atOnce = false): Upload {
  const made = new Upload(atOnce);
  pool.lease(endpoint, made);
  return made;
}

/** What becomes of an upload whose head is answered with `answer`, then the end, and then sees more of its body. */
async function answeredEarly(answer: string, leave: (socket: Socket) => void): Promise<[string, readonly string[]]> {
  let request: Upload | null = null;
  await open((socket) => {
    socket.write(answer);
    leave(socket);
    for (let i = 0; i < 3; i++) request?.sendBody();
  });
  request = upload();
  const end = await request.done;
  expect([pool.connections, endpoint.idle.length]).toEqual([0, 0]);
  return [end, request.heard];
}

test('an answer that came before a reset is read though the body could not be written any more', async () => {
  expect(await answeredEarly(WHOLE, (socket) => socket.resetAndDestroy())).toEqual(['answered', ['413', 'big']]);
});

test('one whose body lasts until the connection ends is whole if that end came before the reset', async () => {
  const orderly = (socket: Socket): void => {
    socket.end();
    socket.destroySoon();
  };
  expect(await answeredEarly(UNTIL_CLOSE, orderly)).toEqual(['answered', ['413', 'big']]);
});

test('and is cut if it did not', async () => {
  const [end] = await answeredEarly(UNTIL_CLOSE, (socket) => socket.resetAndDestroy());
  expect(end).toBe('upstream_cut');
});

test('without an answer the reset is what is told', async () => {
  expect(await answeredEarly('', (socket) => socket.resetAndDestroy())).toEqual(['upstream_reset', []]);
});

test('what lay on a used connection before anything of the request had left is no answer to it', async () => {
  await open((socket, received) => void (received.toString('latin1').endsWith('\0') && socket.write(OK)));
  expect(await upload(true).done).toBe('answered');
  expect(endpoint.idle.length).toBe(1);
  app.sockets[0]?.write(WHOLE);
  app.sockets[0]?.resetAndDestroy();
  const second = upload(true);
  expect([await second.done, second.heard]).toEqual(['upstream_reset', []]);
});

/** TLS of an endpoint whose name nobody asks for. */
const TLS: SecureDial = {
  secureContext: createSecureContext(),
  serverName: 'a',
  alpn: [],
  trustHash: '',
  ownFingerprint: '',
  ofMesh: false,
  identify: () =>
    ok({ spiffeId: '', alpn: 'http/1.1', notAfter: Number.POSITIVE_INFINITY, bundleHash: '', certificateHash: '' }),
};

test('nor is it over TLS, which tells late that nothing could leave, when more was written by then', async () => {
  const { certificateChain: cert, privateKey: key } = new TestCa().identity('default/app');
  const server = createTlsServer({ cert, key, noDelay: true }).listen(0, '127.0.0.1');
  opened.defer(() => void server.close());
  await once(server, 'listening');
  callAt((server.address() as AddressInfo).port, TLS);
  const first = upload(true);
  const [far] = (await once(server, 'secureConnection')) as [TLSSocket];
  far.on('error', () => far.destroy());
  far.on('data', (bytes: Buffer) => void (bytes.at(-1) === 0 && far.write(OK)));
  expect(await first.done).toBe('answered');
  far.write(WHOLE);
  // By the end of this turn would be after the request has left.
  (
    far as unknown as { readonly _handle: { readonly _parent: { reset(done: () => void): void } } }
  )._handle._parent.reset(() => far.destroy());
  // Not within an event: head and body leave in a write each.
  const second = upload(true);
  expect([await second.done, second.heard]).toEqual(['upstream_reset', []]);
});
