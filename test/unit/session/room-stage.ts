/**
 * One direction of a sidecar inside the test, on real sockets and a clock that the test moves: callers connect to `port`,
 * their bytes go to one server, as if redirected there.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { directCluster } from '../../../proxy/config/direct-cluster.ts';
import { directDestination, LinkedSnapshot } from '../../../proxy/config/link.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { MeshTls } from '../../../proxy/net/mesh-tls.ts';
import { Room } from '../../../proxy/session/room.ts';
import { Story } from '../../../proxy/session/story.ts';
import { inbound, meshPeers, outbound } from '../../../proxy/stack.ts';
import { Metrics } from '../../../proxy/telemetry/metrics.ts';
import {
  type ConnectionRecord,
  type Direction,
  type RequestRecord,
  UNKNOWN_PARTY,
  UNKNOWN_SERVICE,
} from '../../../proxy/telemetry/record.ts';
import type { Cluster } from '../../../proxy/upstream/cluster.ts';
import { Clusters } from '../../../proxy/upstream/clusters.ts';
import type { AppProtocol, ClusterSpec } from '../../../proxy/upstream/spec.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import type { TestCa } from '../../support/certificates.ts';
import { openClient, type RawClient } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { Heard } from '../../support/heard.ts';
import { snapshotOf } from '../../support/policy-documents.ts';

export interface StageOptions {
  readonly direction?: Direction;
  /** What the port declares. */
  readonly protocol?: AppProtocol;
  /** Policy in force. */
  readonly policy?: string;
  readonly spec?: Partial<ClusterSpec>;
  readonly maxConnections?: number;
  /** Verifies callers of inbound. */
  readonly ca?: TestCa;
  /** Nothing listens there. */
  readonly serverPort?: number;
}

/** Whoever opens it disposes of it. */
export class RoomStage implements AsyncDisposable {
  readonly clock: ManualClock;
  readonly room: Room;
  readonly cluster: Cluster;
  readonly metrics: Metrics;
  readonly notices: Readonly<Record<string, unknown>>[];
  readonly records: ConnectionRecord[] = [];
  readonly requests: RequestRecord[] = [];
  /** Connections to the server, and what it does with each. */
  readonly served: Heard[] = [];
  serve: (socket: Socket) => void = () => {};
  private readonly callers: Socket[] = [];
  private readonly listener: Server;
  private readonly server: Server;

  private constructor(parts: Pick<RoomStage, 'clock' | 'room' | 'cluster' | 'metrics' | 'notices'>, sockets: Server[]) {
    this.clock = parts.clock;
    this.room = parts.room;
    this.cluster = parts.cluster;
    this.metrics = parts.metrics;
    this.notices = parts.notices;
    [this.listener, this.server] = sockets as [Server, Server];
    this.listener.on('connection', (socket) => this.callers.push(socket));
    this.server.on('connection', (socket) => {
      socket.on('error', () => socket.destroy());
      this.served.push(new Heard(socket));
      this.serve(socket);
    });
    this.room.story.log = {
      request: (record) => void this.requests.push(record),
      connection: (record) => void this.records.push(record),
      flush() {},
      reuse() {},
    };
  }

  static async open(options: StageOptions = {}): Promise<RoomStage> {
    const { direction = 'outbound', protocol = 'auto', policy = '', spec = {} } = options;
    const clock = new ManualClock(Date.now());
    const io = new IoThread(clock, new Random(1));
    const server = createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const original = { host: '127.0.0.1', port: options.serverPort ?? portOf(server) };
    const clusters = new Clusters(io, { thread: 0, threads: 1 }, { onBreaker() {}, onEjection() {} });
    const direct = directCluster('app', {
      address: original.host,
      port: original.port,
      ready: true,
      weight: 1,
      zone: '',
      meshTls: false,
    });
    const { circuitBreaker } = direct;
    const limits = { ...circuitBreaker, maxConnections: options.maxConnections ?? circuitBreaker.maxConnections };
    const cluster = clusters.keep({ ...direct, protocol, circuitBreaker: limits, ...spec });
    const target = directDestination(cluster, UNKNOWN_SERVICE);
    const metrics = new Metrics();
    const notices: Readonly<Record<string, unknown>>[] = [];
    const outlets = {
      spans() {},
      notice: (_level: string, _message: string, fields: object) => notices.push({ ...fields }),
    };
    const room = new Room(io, direction, new Story(clock, metrics, UNKNOWN_PARTY, outlets), {
      destination: () => target,
    });
    room.snapshot = new LinkedSnapshot(snapshotOf(policy), clusters, () => false);
    if (options.ca !== undefined) {
      const identity = options.ca.identity('shop/default');
      io.useIdentity(new MeshTls(identity, Buffer.alloc(48, 1), () => io.trust, meshPeers(room)));
    }
    const take = direction === 'inbound' ? inbound(room) : outbound(room);
    const listener = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
      take(socket, original),
    ).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return new RoomStage({ clock, room, cluster, metrics, notices }, [listener, server]);
  }

  get port(): number {
    return portOf(this.listener);
  }

  /** A caller that has been accepted. */
  async connect(): Promise<RawClient> {
    const before = this.room.open;
    const client = await openClient(this.port);
    await eventually('it is accepted', () => this.room.open > before || undefined);
    return client;
  }

  /** Lets `ms` pass, and what was due at their end be done. */
  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await new Promise((resolve) => setTimeout(resolve, 0));
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Resolves when so many bytes of the caller of this number (from 0) have been read. */
  async read(bytes: number, caller = 0): Promise<void> {
    await eventually(`${bytes} bytes are read`, () => (this.callers[caller]?.bytesRead ?? 0) >= bytes || undefined);
  }

  /** The server's connection of this number (from 0) when it is there. */
  connection(index: number): Promise<Heard> {
    return eventually(`connection ${index} to the server`, () => this.served[index]);
  }

  /** Resolves when no connection to the server counts any more. */
  async idle(): Promise<void> {
    await eventually('nothing is dialled', () => this.cluster.pool.connections === 0 || undefined);
  }

  /** The words of what was refused. */
  get words(): unknown[] {
    return this.notices.map(({ word }) => word);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.room.destroyAll();
    for (const { socket } of this.served) socket.destroy();
    this.listener.close();
    await once(this.server.close(), 'close');
  }
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
