/**
 * A TCP hop that misbehaves to order, between any two programs: latency, bytes cut into pieces, stalls, resets. The
 * kernels that tests run on have no netem.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** `whole`: as it came. `byte`: one byte a write. `random`: cut at random places. Each piece in a turn of its own. */
export type Slicing = 'whole' | 'byte' | 'random';

export interface ShimOptions {
  readonly targetPort: number;
  readonly targetHost?: string;
  readonly slicing?: Slicing;
  /** Delay of each chunk in each direction. */
  readonly latencyMs?: number;
  /** Where `random` cuts: numbers in [0, 1). Seed it. */
  readonly random?: () => number;
}

/** Longest piece that `random` makes. */
const MAX_PIECE = 64;

/** A listening shim. Whoever started it stops it. */
export class Shim implements AsyncDisposable {
  readonly port: number;
  /** Connections accepted so far. */
  connections = 0;
  /** Holds for what arrives from now on. */
  slicing: Slicing;
  private readonly server: Server;
  private readonly options: ShimOptions;
  private readonly ways = new Set<Way>();
  private isStalled = false;

  constructor(server: Server, options: ShimOptions) {
    this.server = server;
    this.options = options;
    this.slicing = options.slicing ?? 'whole';
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (downstream) => this.join(downstream));
  }

  /** Passes nothing on, and reads nothing, until `flow`. */
  stall(): void {
    this.isStalled = true;
    for (const way of this.ways) way.stall();
  }

  flow(): void {
    this.isStalled = false;
    for (const way of this.ways) way.flow();
  }

  /** RST on every connection, towards both ends. */
  resetAll(): void {
    for (const way of this.ways) way.from.resetAndDestroy();
  }

  async stop(): Promise<void> {
    this.server.close();
    for (const way of this.ways) way.from.destroy();
    if (this.server.listening) await once(this.server, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  private join(downstream: Socket): void {
    this.connections += 1;
    const { targetPort, targetHost = '127.0.0.1' } = this.options;
    const upstream = connect({ port: targetPort, host: targetHost, allowHalfOpen: true, noDelay: true });
    this.carry(downstream, upstream);
    this.carry(upstream, downstream);
  }

  private carry(from: Socket, to: Socket): void {
    const way = new Way(from, to, this, this.options);
    this.ways.add(way);
    if (this.isStalled) way.stall();
    from.once('close', () => this.ways.delete(way));
  }
}

/** One direction of one connection: a queue of pieces that leave one per turn. */
class Way {
  readonly from: Socket;
  private readonly to: Socket;
  private readonly shim: Shim;
  private readonly options: ShimOptions;
  private readonly pieces: (Buffer | 'fin')[] = [];
  private isBusy = false;
  private isStalled = false;

  constructor(from: Socket, to: Socket, shim: Shim, options: ShimOptions) {
    this.from = from;
    this.to = to;
    this.shim = shim;
    this.options = options;
    from.on('data', (chunk: Buffer) => this.arrive(this.cut(chunk)));
    from.on('end', () => this.arrive(['fin']));
    from.on('error', () => to.resetAndDestroy());
    from.on('close', (hadError) => hadError && to.resetAndDestroy());
    to.on('drain', () => this.pump());
  }

  stall(): void {
    this.isStalled = true;
    this.from.pause();
  }

  flow(): void {
    this.isStalled = false;
    this.from.resume();
    this.pump();
  }

  private arrive(pieces: readonly (Buffer | 'fin')[]): void {
    const queue = (): void => {
      this.pieces.push(...pieces);
      this.pump();
    };
    const { latencyMs = 0 } = this.options;
    if (latencyMs > 0) setTimeout(queue, latencyMs);
    else queue();
  }

  private pump(): void {
    if (this.isBusy || this.isStalled || this.to.writableNeedDrain) return;
    const piece = this.pieces.shift();
    if (piece === undefined) {
      this.from.resume();
      return;
    }
    if (piece === 'fin') {
      this.to.end();
      return;
    }
    this.from.pause();
    this.to.write(piece);
    this.isBusy = true;
    setImmediate(() => {
      this.isBusy = false;
      this.pump();
    });
  }

  private cut(chunk: Buffer): Buffer[] {
    const { slicing } = this.shim;
    const { random = () => 0.5 } = this.options;
    if (slicing === 'whole') return [chunk];
    const pieces: Buffer[] = [];
    for (let at = 0; at < chunk.length; ) {
      const length = slicing === 'byte' ? 1 : 1 + Math.floor(random() * MAX_PIECE);
      pieces.push(chunk.subarray(at, at + length));
      at += length;
    }
    return pieces;
  }
}

export async function startShim(options: ShimOptions): Promise<Shim> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new Shim(server, options);
}
