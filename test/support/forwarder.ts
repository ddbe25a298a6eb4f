/**
 * What lets a program that knows nothing of CONNECT call through a sidecar that nothing is redirected to: a local port
 * of which every connection becomes a tunnel to one authority.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export interface ForwarderOptions {
  /** Port of the sidecar's outbound listener on loopback. */
  readonly outboundPort: number;
  /** `service:port`. */
  readonly authority: string;
}

const HEAD_END = '\r\n\r\n';

/** Whoever started it stops it. */
export class Forwarder implements AsyncDisposable {
  readonly port: number;
  private readonly server: Server;
  private readonly options: ForwarderOptions;
  private readonly open = new Set<Socket>();

  constructor(server: Server, options: ForwarderOptions) {
    this.server = server;
    this.options = options;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (caller) => this.carry(caller));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    for (const socket of this.open) socket.destroy();
    if (this.server.listening) await once(this.server, 'close');
  }

  private carry(caller: Socket): void {
    const { outboundPort, authority } = this.options;
    const tunnel = connect({ port: outboundPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.tie(caller, tunnel);
    this.tie(tunnel, caller);
    tunnel.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    readHead(tunnel, (head) => {
      if (!head.startsWith('HTTP/1.1 200 ')) {
        caller.resetAndDestroy();
        return;
      }
      caller.pipe(tunnel);
      tunnel.pipe(caller);
    });
  }

  /** An end that is no orderly one reaches the far side as a reset. */
  private tie(socket: Socket, far: Socket): void {
    this.open.add(socket);
    socket.on('error', () => far.resetAndDestroy());
    socket.on('close', () => this.open.delete(socket));
  }
}

export async function startForwarder(options: ForwarderOptions): Promise<Forwarder> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new Forwarder(server, options);
}

/** Reads up to the end of a head; what follows it stays in the socket. */
function readHead(socket: Socket, done: (head: string) => void): void {
  let seen: Buffer = Buffer.alloc(0);
  const read = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    seen = Buffer.concat([seen, chunk]);
    const end = seen.indexOf(HEAD_END);
    if (end < 0) return;
    socket.off('readable', read);
    const rest = seen.subarray(end + HEAD_END.length);
    if (rest.length > 0) socket.unshift(rest);
    done(seen.toString('latin1', 0, end));
  };
  socket.on('readable', read);
}
