/**
 * Callers and applications that hold a connection without end lose it in time. The data path runs in this process, on real
 * sockets and a clock that the test moves.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { directCluster } from '../../proxy/config/direct-cluster.ts';
import { directDestination, LinkedSnapshot } from '../../proxy/config/link.ts';
import { IoThread } from '../../proxy/net/io-thread.ts';
import { Transport } from '../../proxy/net/transport.ts';
import { Lingering } from '../../proxy/session/linger.ts';
import {
  BODY_IDLE_MS,
  HEAD_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  STREAM_IDLE_MS,
  WRITE_STALL_MS,
} from '../../proxy/session/phases.ts';
import { ToApplication } from '../../proxy/session/resolve.ts';
import { Room } from '../../proxy/session/room.ts';
import { SILENCE_MS } from '../../proxy/session/sniff.ts';
import { Story } from '../../proxy/session/story.ts';
import { inbound } from '../../proxy/stack.ts';
import { Metrics } from '../../proxy/telemetry/metrics.ts';
import { UNKNOWN_PARTY, UNKNOWN_SERVICE } from '../../proxy/telemetry/record.ts';
import { Clusters } from '../../proxy/upstream/clusters.ts';
import { ManualClock } from '../../shared/clock.ts';
import { Random } from '../../shared/random.ts';
import { wordOf } from '../integration/mesh.ts';
import { type RawBackend, startRawBackend } from '../support/backend.ts';
import { openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { OPEN_SNAPSHOT } from '../support/snapshot.ts';

const MIB = 1024 * 1024;
/** How late a session may notice: it looks at its clock every so often. */
const SLACK_MS = 2_000;

let clock: ManualClock;
let room: Room;
let server: Server;
let app: RawBackend;
let answer: (socket: Socket, received: Buffer) => void;

beforeEach(async () => {
  clock = new ManualClock();
  answer = () => undefined;
  app = await startRawBackend((socket, received) => answer(socket, received));
  const io = new IoThread(clock, new Random(1));
  const clusters = new Clusters(io, { thread: 0, threads: 1 }, { onBreaker() {}, onEjection() {} });
  const endpoint = { address: '127.0.0.1', port: app.port, ready: true, weight: 1, zone: '', meshTls: false };
  const destination = directDestination(clusters.keep(directCluster('app', endpoint)), UNKNOWN_SERVICE);
  const story = new Story(clock, new Metrics(), UNKNOWN_PARTY, { spans() {}, notice() {} });
  room = new Room(
    io,
    'inbound',
    story,
    new ToApplication(
      destination,
      () => false,
      () => destination,
    ),
  );
  room.snapshot = new LinkedSnapshot(OPEN_SNAPSHOT, clusters, () => false);
  const serve = inbound(room);
  server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
    serve(socket, null),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  room.destroyAll();
  server.close();
  await app[Symbol.asyncDispose]();
});

async function connect(): Promise<RawClient> {
  const before = room.open;
  const client = await openClient((server.address() as AddressInfo).port);
  await eventually('it is accepted', () => room.open > before || undefined);
  return client;
}

/** Sends, and waits until the session has read it all. */
async function send(client: RawClient, text: string): Promise<void> {
  const bytesBefore = bytesRead();
  await client.write(text);
  await eventually('it is read', () => bytesRead() >= bytesBefore + text.length || undefined);
}

const accepted = new Set<Socket>();
beforeEach(() => {
  accepted.clear();
  server.on('connection', (socket) => accepted.add(socket));
});

function bytesRead(): number {
  return [...accepted].reduce((sum, socket) => sum + socket.bytesRead, 0);
}

const POST = 'POST /x HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\n';

/** The kernel takes no more of what weft has for it. */
function holdsBytes(socket: Socket | undefined): boolean {
  const handle = (socket as unknown as { _handle: { writeQueueSize: number } | null } | undefined)?._handle;
  return (handle?.writeQueueSize ?? 0) > 0;
}

describe('a caller', () => {
  test('that says nothing is gone after the keep-alive time, without an answer', async () => {
    using client = await connect();
    clock.advance(SILENCE_MS);
    // It may wait for a greeting: its server is dialled at the end of this turn of the loop.
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(KEEP_ALIVE_MS + SLACK_MS);
    await client.ended;
    expect(client.text).toBe('');
    await eventually('nothing is left', () => room.open === 0 || undefined);
  });

  test('whose first bytes do not tell a protocol is gone after the head time', async () => {
    using client = await connect();
    await send(client, 'GE');
    clock.advance(HEAD_TIMEOUT_MS + SLACK_MS);
    await client.ended;
    await eventually('nothing is left', () => room.open === 0 || undefined);
  });

  test('that drips a head a byte at a time gets 408 when the time for the whole head is over', async () => {
    using client = await connect();
    await send(client, 'GET /x HTTP/1.1\r\nHost: app\r\nX: ');
    for (let ms = 0; ms < HEAD_TIMEOUT_MS + SLACK_MS; ms += 500) {
      clock.advance(500);
      if (ms < HEAD_TIMEOUT_MS - SLACK_MS) await send(client, 'y');
    }
    const late = await client.answer();
    expect(late.status).toBe(408);
    expect(wordOf(late)).toBe('head_timeout');
    expect(app.sockets).toHaveLength(0);
  });

  test('that drips the head of its second request gets 408 too', async () => {
    answer = (socket) => void socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    using client = await connect();
    await client.exchange('GET /x HTTP/1.1\r\nHost: app\r\n\r\n');
    clock.advance(60_000);
    await send(client, 'GET /y HTTP');
    clock.advance(HEAD_TIMEOUT_MS + SLACK_MS);
    expect((await client.answer()).status).toBe(408);
  });

  test('that stops in a head behind a request that weft answers itself gets 408 too', async () => {
    using client = await connect();
    await send(client, 'GET /x HTTP/1.1\r\nHost: app\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nGET /y HTTP');
    const refused = await client.answer();
    expect(wordOf(refused)).toBe('upgrade_refused');
    clock.advance(HEAD_TIMEOUT_MS + SLACK_MS);
    expect((await client.answer()).status).toBe(408);
  });

  test('that stops in its body gets 408, and the application sees the request cut', async () => {
    using client = await connect();
    await send(client, `${POST}01234`);
    await eventually('the application has it', () => app.received[0]?.includes('01234') || undefined);
    clock.advance(BODY_IDLE_MS + SLACK_MS);
    const late = await client.answer();
    expect(late.status).toBe(408);
    expect(wordOf(late)).toBe('body_timeout');
    await eventually(
      'the application is cut off',
      () => app.sockets[0]?.readableEnded || app.sockets[0]?.destroyed || undefined,
    );
  });

  test('whose application never answers gets 504 after the stream idle time', async () => {
    using client = await connect();
    await send(client, `${POST}0123456789`);
    await eventually('the application has it', () => app.received[0]?.includes('0123456789') || undefined);
    clock.advance(STREAM_IDLE_MS + SLACK_MS);
    const late = await client.answer();
    expect(late.status).toBe(504);
    expect(wordOf(late)).toBe('stream_idle');
  });

  test('whose application does not take the body is not blamed for it: 504', async () => {
    answer = (socket) => void socket.pause();
    using client = await connect();
    await client.write('POST /x HTTP/1.1\r\nHost: app\r\nContent-Length: 100000000\r\n\r\n');
    void client.write(Buffer.alloc(32 * MIB, 'x'));
    const isFull = (): boolean => bytesRead() > MIB && [...accepted].every((socket) => socket.isPaused());
    await eventually('weft takes no more', () => isFull() || undefined);
    clock.advance(BODY_IDLE_MS + SLACK_MS);
    clock.advance(STREAM_IDLE_MS + SLACK_MS);
    const late = await client.answer();
    expect(wordOf(late)).toBe('stream_idle');
  });

  test('that takes none of its answer loses the connection, and so does the application', async () => {
    answer = (socket) =>
      void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${64 * MIB}\r\n\r\n${'x'.repeat(32 * MIB)}`);
    using client = await connect();
    client.socket.pause();
    await send(client, 'GET /x HTTP/1.1\r\nHost: app\r\n\r\n');
    await eventually('weft holds what it can', () => holdsBytes([...accepted][0]) || undefined);
    clock.advance(WRITE_STALL_MS + SLACK_MS);
    await eventually('nothing is left', () => (room.open === 0 && room.openRequests === 0) || undefined);
    await eventually(
      'the application is cut off',
      () => app.sockets[0]?.destroyed || app.sockets[0]?.readableEnded || undefined,
    );
    client.socket.resume();
    expect(await client.ended, 'what is missing is not taken for the end').toBe('reset');
  });

  test('that takes nothing of answers which are complete loses the connection as well', async () => {
    const body = 'x'.repeat(60_000);
    answer = (socket, received) => {
      if (received.toString('latin1').endsWith('\r\n\r\n'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    };
    using client = await connect();
    client.socket.pause();
    let asked = 0;
    await eventually('weft holds what it can', async () => {
      if (holdsBytes([...accepted][0])) return true;
      if (app.received[0] === undefined || app.received[0].toString('latin1').split('\r\n\r\n').length > asked) {
        asked++;
        await client.write('GET /x HTTP/1.1\r\nHost: app\r\n\r\n');
      }
      return undefined;
    });
    await eventually('the last answer is complete', () => room.openRequests === 0 || undefined);
    clock.advance(WRITE_STALL_MS + SLACK_MS);
    await eventually('nothing is left', () => room.open === 0 || undefined);
  });
});

describe('an exchange that goes on', () => {
  test('is not cut while the application answers bit by bit for longer than the stream idle time', async () => {
    answer = (socket) => void socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    using client = await connect();
    await send(client, 'GET /x HTTP/1.1\r\nHost: app\r\n\r\n');
    await client.until(() => (client.text.includes('\r\n\r\n') ? true : undefined));
    for (let passed = 0; passed < 3 * STREAM_IDLE_MS; passed += STREAM_IDLE_MS / 2) {
      const before = client.received.length;
      app.sockets[0]?.write('1\r\nx\r\n');
      await client.until(() => (client.received.length > before ? true : undefined));
      clock.advance(STREAM_IDLE_MS / 2);
    }
    app.sockets[0]?.write('0\r\n\r\n');
    expect((await client.answer()).body.toString()).toBe('xxxxxx');
  });

  test('is not cut in an upgraded connection on which only the application speaks', async () => {
    const accept = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    answer = (socket) => void socket.write(accept);
    using client = await connect();
    await send(client, 'GET /x HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    await client.until(() => (client.text.endsWith('\r\n\r\n') ? true : undefined));
    for (let passed = 0; passed < 2 * KEEP_ALIVE_MS; passed += KEEP_ALIVE_MS / 2) {
      app.sockets[0]?.write('x');
      const before = client.received.length;
      await client.until(() => (client.received.length > before ? true : undefined));
      clock.advance(KEEP_ALIVE_MS / 2);
    }
    expect(client.text.endsWith('xxxx')).toBe(true);
    expect(room.open).toBe(1);
  });
});

describe('a connection that ends after its last answer', () => {
  let transport: Transport;
  let client: RawClient;

  beforeEach(async () => {
    const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const waiting = once(listener, 'connection') as Promise<[Socket]>;
    client = await openClient((listener.address() as AddressInfo).port);
    const [socket] = await waiting;
    const owner = { onBytes() {}, onEof() {}, onClosed() {}, onCongested() {}, onWritable() {} };
    transport = new Transport(socket, false, room.io.outbox, owner);
    transport.adopt(null);
    listener.close();
  });

  test('is kept until a slow caller has taken all of it', async () => {
    client.socket.pause();
    const body = Buffer.alloc(8 * MIB, 'x');
    transport.bytes(body, 0, body.length);
    new Lingering(room.io, transport);
    clock.advance(WRITE_STALL_MS / 2);
    client.socket.resume();
    expect(await client.ended).toBe('fin');
    expect(client.received.length).toBe(body.length);
    clock.advance(SLACK_MS);
    await eventually('it is closed', () => transport.closed || undefined);
  });

  test('is given up when the caller takes nothing', async () => {
    client.socket.pause();
    const body = Buffer.alloc(8 * MIB, 'x');
    transport.bytes(body, 0, body.length);
    new Lingering(room.io, transport);
    clock.advance(WRITE_STALL_MS + SLACK_MS);
    await eventually('it is closed', () => transport.closed || undefined);
    client.socket.resume();
    expect(await client.ended, 'what is missing is not taken for the end').toBe('reset');
    client.close();
  });
});
