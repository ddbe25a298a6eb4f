/**
 * What weft's own code costs a request: the whole way through a plain hop, and through a pair whose sidecars speak
 * HTTP/2, with sockets that are memory. No system call, no TLS, no kernel: what is left is ours to make cheaper.
 *
 *   node test/bench/micro/way.ts [plain|pair]
 */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { directCluster } from '../../../proxy/config/direct-cluster.ts';
import { directDestination, LinkedSnapshot } from '../../../proxy/config/link.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { readBuffer } from '../../../proxy/net/raw-reads.ts';
import { Transport } from '../../../proxy/net/transport.ts';
import type { Caller } from '../../../proxy/session/caller.ts';
import { H2Session } from '../../../proxy/session/h2.ts';
import { HttpSession } from '../../../proxy/session/http.ts';
import { OUTBOUND, ToApplication } from '../../../proxy/session/resolve.ts';
import { Room } from '../../../proxy/session/room.ts';
import { Story } from '../../../proxy/session/story.ts';
import { Metrics } from '../../../proxy/telemetry/metrics.ts';
import { type Direction, UNKNOWN_PARTY, UNKNOWN_SERVICE } from '../../../proxy/telemetry/record.ts';
import type { Cluster } from '../../../proxy/upstream/cluster.ts';
import { Clusters } from '../../../proxy/upstream/clusters.ts';
import { H1Connection } from '../../../proxy/upstream/h1-connection.ts';
import { H2Link } from '../../../proxy/upstream/h2-link.ts';
import { TurnClock } from '../../../shared/clock.ts';
import { systemRandom } from '../../../shared/random.ts';
import { OPEN_SNAPSHOT } from '../../support/snapshot.ts';

const CALLERS = 64;
const ROUNDS = 300;
const TURNS = 40;
const SPIFFE = 'spiffe://cluster.local/ns/default/sa/web';
const REQUEST = Buffer.from('GET /f1k HTTP/1.1\r\nHost: web\r\n\r\n');
const RESPONSE = Buffer.concat([
  Buffer.from(
    'HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n' +
      'Content-Length: 1024\r\nLast-Modified: Sat, 21 Nov 2026 09:00:00 GMT\r\nConnection: keep-alive\r\n' +
      'ETag: "65f1a2b3-400"\r\nAccept-Ranges: bytes\r\n\r\n',
  ),
  Buffer.alloc(1024, 'x'),
]);

/** As much of a socket as a transport uses. What is written to it waits to be taken. */
class MemorySocket extends EventEmitter {
  destroyed = false;
  readonly writableLength = 0;
  readonly remoteAddress = '10.0.0.1';
  readonly remotePort = 1;
  private readonly written: Buffer[] = [];
  readonly _handle = {
    useUserBuffer(): void {},
    writeBuffer: (_request: null, bytes: Buffer): number => {
      this.written.push(Buffer.from(bytes));
      return 0;
    },
  };

  write(bytes: Buffer): boolean {
    this.written.push(Buffer.from(bytes));
    return true;
  }

  take(): Buffer {
    const all = this.written.length === 1 ? (this.written[0] as Buffer) : Buffer.concat(this.written);
    this.written.length = 0;
    return all;
  }

  destroy(): void {
    this.destroyed = true;
  }

  read(): void {}
  pause(): void {}
  resume(): void {}
}

/** A transport over memory, and the way to give it bytes. */
class End {
  readonly socket = new MemorySocket();
  readonly transport: Transport;
  private readonly onRead: (length: number, bytes: Uint8Array) => boolean;

  constructor(io: IoThread, encrypted: boolean) {
    const nobody = { onBytes() {}, onEof() {}, onClosed() {}, onCongested() {}, onWritable() {} };
    this.transport = new Transport(this.socket as unknown as Socket, encrypted, io.outbox, nobody);
    this.onRead = Transport.reader(() => this.transport);
  }

  receive(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += readBuffer.length) {
      const count = bytes.copy(readBuffer, 0, at);
      this.onRead(count, readBuffer);
    }
  }
}

function sidecar(direction: Direction): { room: Room; cluster: Cluster; io: IoThread } {
  const io = new IoThread(new TurnClock(), systemRandom());
  const clusters = new Clusters(io, { thread: 0, threads: 1 }, { onBreaker() {}, onEjection() {} });
  const endpoint = { address: '10.0.0.2', port: 80, ready: true, weight: 1, zone: '', meshTls: false };
  const cluster = clusters.keep(directCluster('web', endpoint));
  const destination = directDestination(cluster, UNKNOWN_SERVICE);
  const story = new Story(io.clock, new Metrics(), UNKNOWN_PARTY, { spans() {}, notice() {} });
  const resolver =
    direction === 'inbound'
      ? new ToApplication(
          destination,
          () => false,
          () => destination,
        )
      : { ...OUTBOUND, destination: () => destination };
  const room = new Room(io, direction, story, resolver);
  room.snapshot = new LinkedSnapshot(OPEN_SNAPSHOT, clusters, () => false);
  return { room, cluster, io };
}

function callerOf(direction: Direction, principal: string): Caller {
  return {
    direction,
    principal,
    certificateHash: principal === '' ? '' : 'ab'.repeat(32),
    sourceAddress: '10.0.0.1',
    sourcePort: 1,
    trusted: true,
    encrypted: principal !== '',
    original: null,
  };
}

function callers({ room, io }: ReturnType<typeof sidecar>): End[] {
  return Array.from({ length: CALLERS }, () => {
    const end = new End(io, false);
    new HttpSession(room, callerOf('outbound', ''), end.transport);
    return end;
  });
}

function applications({ cluster, io }: ReturnType<typeof sidecar>): End[] {
  const endpoint = cluster.pick(null) ?? fail('no endpoint');
  return Array.from({ length: CALLERS }, () => {
    const end = new End(io, false);
    cluster.pool.connections++;
    endpoint.connections++;
    endpoint.idle.push(new H1Connection(io, endpoint, cluster.pool, end.transport, ''));
    return end;
  });
}

function fail(why: string): never {
  throw new Error(why);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function plainHop(): () => Promise<void> {
  const proxy = sidecar('outbound');
  const [near, far] = [callers(proxy), applications(proxy)];
  return async () => {
    for (const end of near) end.receive(REQUEST);
    await nextTurn();
    for (const end of far) if (end.socket.take().length > 0) end.receive(RESPONSE);
    await nextTurn();
    for (const end of near) {
      const got = end.socket.take();
      if (got.length < 1024) fail(got.toString().slice(0, 300));
    }
  };
}

function pair(): () => Promise<void> {
  const [front, back] = [sidecar('outbound'), sidecar('inbound')];
  const [near, far] = [callers(front), applications(back)];
  const [here, there] = [new End(front.io, true), new End(back.io, true)];
  const endpoint = front.cluster.pick(null) ?? fail('no endpoint');
  endpoint.meshTls = true;
  endpoint.learned.h1 = 'h2';
  endpoint.links.push(new H2Link(front.io, endpoint, front.cluster.pool, here.transport, SPIFFE, true));
  new H2Session(back.room, callerOf('inbound', SPIFFE), there.transport);
  const exchange = async (): Promise<void> => {
    await nextTurn();
    const [sent, answered] = [here.socket.take(), there.socket.take()];
    if (sent.length > 0) there.receive(sent);
    if (answered.length > 0) here.receive(answered);
  };
  return async () => {
    for (const end of near) end.receive(REQUEST);
    await exchange();
    await exchange();
    await nextTurn();
    for (const end of far) if (end.socket.take().length > 0) end.receive(RESPONSE);
    await exchange();
    await exchange();
    await nextTurn();
    for (const end of near) {
      const got = end.socket.take();
      if (got.length < 1024) fail(got.toString().slice(0, 300));
    }
  };
}

async function measure(name: string, round: () => Promise<void>): Promise<void> {
  let best = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < TURNS; turn++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < ROUNDS; i++) await round();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / (ROUNDS * CALLERS));
  }
  process.stdout.write(`${name.padEnd(34)} ${(best / 1_000).toFixed(2).padStart(8)} µs a request\n`);
}

const only = process.argv[2];
if (only !== 'pair') await measure('plain hop, own code', plainHop());
if (only !== 'plain') await measure('pair over istio-h2, own code', pair());
process.exit();
