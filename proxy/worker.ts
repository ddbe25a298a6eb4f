/**
 * Entry of a data thread: everything per connection and per request happens here, and nothing else.
 *
 * It does what the control thread posts (messages.ts): links a snapshot and acknowledges, swaps it in when all threads
 * have, takes a new identity, listens, reports, drains. An exception that reaches the top ends this thread alone; the
 * control thread starts another.
 */
import { readFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { HostPort } from '../shared/address.ts';
import { TurnClock } from '../shared/clock.ts';
import { FAILURES, type Failure } from '../shared/errors.ts';
import { systemRandom } from '../shared/random.ts';
import { Application } from './application.ts';
import { InTurns } from './config/in-turns.ts';
import { type Destination, type LinkedSnapshot, linking } from './config/link.ts';
import { SnapshotAssembly } from './config/slices.ts';
import type { SnapshotPart, TelemetrySpec } from './config/snapshot.ts';
import { accept } from './listener/accept.ts';
import { OriginalDestinations } from './listener/original-destination.ts';
import type { ClusterReport, DataSettings, FromData, ListenerHandle, ToData } from './messages.ts';
import { Drain } from './net/drain.ts';
import { IoThread } from './net/io-thread.ts';
import { MeshTls } from './net/mesh-tls.ts';
import { connectionLimit, descriptorLimit } from './net/overload.ts';
import { EXPRESSION, loadExpressions } from './policy/expression.ts';
import { plainAddress } from './session/caller.ts';
import { OUTBOUND, ToApplication } from './session/resolve.ts';
import { Room } from './session/room.ts';
import { Story } from './session/story.ts';
import { inbound, meshPeers, outbound } from './stack.ts';
import { openAccessLog } from './telemetry/access-log.ts';
import { Metrics } from './telemetry/metrics.ts';
import { samplerOf } from './telemetry/sampling.ts';
import { registerDataGauges, sampleBreaker, sampleConcurrency } from './telemetry/weft-series.ts';
import type { Cluster } from './upstream/cluster.ts';
import { Clusters } from './upstream/clusters.ts';

/**
 * Bytes of the slabs that Node cuts small buffers from; it has 64 KB. A slab lives as long as anything in it, so this is
 * what a request that waits long for its answer holds of memory beside its own small body.
 */
Buffer.poolSize = 8192;

/** `given`: memory that changes hands. */
type Post = (message: FromData, given?: ArrayBuffer[]) => void;

class DataThread {
  private readonly settings: DataSettings;
  private readonly post: Post;
  private readonly io: IoThread;
  private readonly metrics = new Metrics();
  private readonly story: Story;
  private readonly clusters: Clusters;
  private readonly application: Destination | null;
  private readonly inbound: Room;
  private readonly outbound: Room;
  private readonly servers: Server[] = [];
  private readonly originals: OriginalDestinations;
  private readonly drain: Drain;
  private readonly isOwn = (host: string, port: number): boolean =>
    this.settings.ownPorts.includes(port) && this.settings.ownAddresses.includes(host);
  private readonly assembly = new SnapshotAssembly();
  private linked: { readonly generation: number; readonly snapshot: LinkedSnapshot } | null = null;
  private accessLog: 'json' | 'text' | 'off' = 'off';

  constructor(settings: DataSettings, post: Post) {
    const io = new IoThread(new TurnClock(), systemRandom(), connectionLimit(descriptors(), settings.threads));
    this.io = io;
    this.settings = settings;
    io.http2Windows = settings.http2Windows;
    io.isOwnOutbound = (host, port) => settings.outboundPorts.includes(port) && settings.ownAddresses.includes(host);
    this.post = post;
    this.story = new Story(io.clock, this.metrics, settings.self, {
      spans: (spans) => post({ type: 'spans', spans }),
      notice: (level, message, fields) => post({ type: 'notice', level, message, fields }),
    });
    const tell = (message: string, cluster: Cluster, change: object): void =>
      post({ type: 'notice', level: 'warn', message, fields: { cluster: cluster.key, ...change } });
    this.clusters = new Clusters(io, settings, {
      onBreaker: (cluster, change) => tell('circuit breaker', cluster, change),
      onEjection: (cluster, change) => tell('endpoint ejection', cluster, change),
    });
    const application = new Application(this.clusters);
    this.application = settings.app === null ? null : application.at(settings.app);
    const isLocal = (host: string): boolean => settings.ownAddresses.includes(host);
    const deliver = application.deliver.bind(application);
    this.inbound = new Room(io, 'inbound', this.story, new ToApplication(this.application, isLocal, deliver));
    this.inbound.application = settings.app;
    this.outbound = new Room(io, 'outbound', this.story, OUTBOUND);
    this.originals = new OriginalDestinations((detail) =>
      post({
        type: 'notice',
        level: 'warn',
        message:
          'redirected connections cannot be told: all are served as if sent to the listener itself (explicit mode)',
        fields: { detail },
      }),
    );
    this.drain = new Drain(io.clock, [this.inbound, this.outbound], () => post({ type: 'drained' }));
    registerDataGauges(this.metrics, {
      downstreamConnections: () => this.inbound.open + this.outbound.open,
      upstreamConnections: () => [...this.clusters].reduce((sum, { pool }) => sum + pool.connections, 0),
      activeRequests: () => this.inbound.openRequests + this.outbound.openRequests,
    });
  }

  receive(message: ToData): void {
    switch (message.type) {
      case 'snapshot':
        void this.link(message.generation, message.parts);
        break;
      case 'swap':
        void this.swap(message.generation);
        break;
      case 'identity':
        this.io.useIdentity(
          new MeshTls(message.identity, message.ticketKeys, () => this.io.trust, meshPeers(this.inbound)),
        );
        break;
      case 'health':
        this.clusters.useHealth(message.unhealthy);
        break;
      case 'log-memory':
        this.story.log?.reuse(message.memory);
        break;
      case 'listen':
        this.listen(message.listeners);
        break;
      case 'report':
        noteClusters(this.metrics, this.clusters);
        this.inbound.report();
        this.outbound.report();
        this.post({
          type: 'report',
          id: message.id,
          metrics: this.metrics.report(),
          clusters: [...this.clusters].map(reportOf),
        });
        break;
      case 'drain':
        this.drain.start();
        break;
      case 'close':
        for (const server of this.servers) server.close();
        this.drain.finish(() => this.post({ type: 'closed' }));
        break;
      case 'stop':
        this.stop();
        break;
    }
  }

  /** Parses and links beside the traffic, and says so; what is in force does not change yet. */
  private async link(generation: number, parts: readonly SnapshotPart[]): Promise<void> {
    const turns = new InTurns();
    let error: string | null = null;
    try {
      const snapshot = await turns.run(this.assembly.assemble(parts));
      if (parts.some(({ slices }) => slices.some((slice) => slice.includes(EXPRESSION)))) await loadExpressions();
      const steps = linking(snapshot, this.clusters, this.isOwn, this.outbound.snapshot);
      this.linked = { generation, snapshot: await turns.run(steps) };
    } catch (reason) {
      error = String(reason);
    }
    this.post({ type: 'linked', generation, error, longestTurnMs: turns.longestMs });
  }

  /** Clusters first: a request must not be routed to an endpoint that its cluster has not heard of. */
  private async swap(generation: number): Promise<void> {
    if (this.linked?.generation !== generation) return;
    const turns = new InTurns();
    const { snapshot } = this.linked;
    this.linked = null;
    await turns.run(this.clusters.updating(snapshot.snapshot.clusters));
    this.useSnapshot(snapshot);
    await turns.run(this.clusters.retiring(snapshot.snapshot.clusters));
    this.post({ type: 'swapped', generation, longestTurnMs: turns.longestMs });
  }

  private useSnapshot(linked: LinkedSnapshot): void {
    const { mesh, telemetry } = linked.snapshot;
    this.applyProtocol(linked);
    this.io.trust = { trustDomain: mesh.trustDomain, aliases: mesh.trustDomainAliases };
    this.inbound.snapshot = linked;
    this.outbound.snapshot = linked;
    this.inbound.judgeTunnels(linked);
    this.applyTelemetry(telemetry);
  }

  /** To the application goes what its port declares (CONTRACT, "Between sidecars"). */
  private applyProtocol(snapshot: LinkedSnapshot): void {
    const { application } = this;
    if (application === null) return;
    const protocol = snapshot.protocolServedAt(this.isOwn);
    application.cluster.update({ ...application.cluster.spec, protocol });
  }

  private applyTelemetry(spec: TelemetrySpec): void {
    const { tracing } = this.settings;
    this.story.sampler = tracing === null ? null : samplerOf(tracing, spec.samplingPercent);
    const wanted = spec.accessLog ?? this.settings.accessLog;
    if (wanted === this.accessLog) return;
    this.accessLog = wanted;
    this.story.log?.flush();
    this.story.log =
      wanted === 'off'
        ? null
        : openAccessLog(wanted, this.io.clock, (lines) => this.post({ type: 'log', lines }, [lines.buffer]));
  }

  private listen(listeners: readonly ListenerHandle[]): void {
    let waiting = listeners.length;
    for (const { direction, fd } of listeners) {
      const room = direction === 'inbound' ? this.inbound : this.outbound;
      const serve = direction === 'inbound' ? inbound(room) : outbound(room);
      const onSocket = (socket: Socket, original: HostPort | null): void => {
        room.lastBusyAt = this.io.clock.now();
        if (this.io.overload.refusesConnection(this.inbound.open + this.outbound.open)) {
          turnAway(room, socket, FAILURES.overloaded, 'too many connections');
        } else if (original !== null && this.settings.ownPorts.includes(original.port)) {
          turnAway(room, socket, FAILURES.loopDetected, `it was going to port ${original.port}, which is our own`);
        } else {
          serve(socket, original);
        }
      };
      const server = accept(fd, this.originals, {
        clock: this.io.clock,
        onSocket,
        onSettled: () => {
          waiting--;
          if (waiting === 0) this.post({ type: 'listening' });
        },
        onProblem: (message, error) =>
          this.post({ type: 'notice', level: 'error', message, fields: { error: String(error) } }),
      });
      this.servers.push(server);
    }
  }

  private stop(): void {
    for (const server of this.servers) server.close();
    const { inbound: ours, outbound: theirs, io } = this;
    for (const room of [ours, theirs]) room.destroyAll();
    this.drain.last(
      () => ours.open + theirs.open + io.lingering.size,
      () => {
        for (const transport of io.lingering) transport.giveUp();
        this.story.flush();
        // Ends this thread alone: what is pooled must not hold up the end. Posted messages arrive.
        process.exit();
      },
    );
  }
}

/** What this process may open; the limit holds for all threads together. */
function descriptors(): number {
  try {
    return descriptorLimit(readFileSync('/proc/self/limits', 'latin1'));
  } catch {
    return descriptorLimit('');
  }
}

/** The caller sees a connection that ends. */
function turnAway(room: Room, socket: Socket, failure: Failure, detail: string): void {
  room.story.refusedConnection(room.direction, failure, detail, plainAddress(socket.remoteAddress));
  socket.destroy();
}

/** Only those that policy gives a breaker or an adaptive limit now: labels must not grow with destinations, nor with time. */
function noteClusters(metrics: Metrics, clusters: Clusters): void {
  for (const cluster of clusters.declared()) {
    if (cluster.breaker !== null) sampleBreaker(metrics, cluster.key, cluster.breaker);
    if (cluster.concurrency !== null) sampleConcurrency(metrics, cluster.key, cluster.concurrency);
  }
}

function reportOf(cluster: Cluster): ClusterReport {
  return {
    key: cluster.key,
    activeRequests: cluster.requests.active,
    connections: cluster.pool.connections,
    concurrencyLimit: cluster.concurrency?.limit ?? 0,
    concurrencyRefused: cluster.concurrency?.refused ?? 0,
    breaker: cluster.breaker?.state ?? 'off',
    breakerFailures: cluster.breaker?.numbers.failures ?? 0,
    breakerRequests: cluster.breaker?.numbers.total ?? 0,
    retries: cluster.retried,
    endpoints: [...cluster.endpoints.values()].map((endpoint) => ({
      address: endpoint.key,
      state: endpoint.healthy ? endpoint.state : 'unhealthy',
      ready: endpoint.ready,
      weight: endpoint.weight,
      activeRequests: endpoint.active,
      connections: endpoint.connections,
      requests: endpoint.requests,
      failures: endpoint.failures,
    })),
  };
}

if (parentPort !== null) {
  const port = parentPort;
  const thread = new DataThread(workerData as DataSettings, (message, given) => port.postMessage(message, given ?? []));
  port.on('message', (message: ToData) => thread.receive(message));
  port.postMessage({ type: 'up' } satisfies FromData);
}
