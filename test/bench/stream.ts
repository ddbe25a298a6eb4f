/** Opaque bytes: a server that sends without end, and a reader that counts what comes through a proxy. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

const PIECE = Buffer.alloc(64 * 1024, 'x');
/** What a client says to be sent bytes: nothing that could become a request. */
const GO = '\0';

export interface StreamServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** Sends as fast as it is read, from the first byte that a client sends. */
export async function startStreamServer(): Promise<StreamServer> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    const fill = (): void => {
      while (!socket.writableNeedDrain && socket.writable) socket.write(PIECE);
    };
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    socket.on('drain', fill);
    socket.once('data', fill);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await once(server.close(), 'close');
    },
  };
}

/** Bytes that arrive within `ms` over `connections` tunnels, each opened with `preamble`. */
export async function readStream(port: number, preamble: string, connections: number, ms: number): Promise<number> {
  const buffer = Buffer.alloc(256 * 1024);
  let bytes = 0;
  const count = (read: number): boolean => {
    bytes += read;
    return true;
  };
  const sockets = Array.from({ length: connections }, () =>
    connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer, callback: count } }),
  );
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  for (const socket of sockets) {
    socket.on('error', reject);
    // A tunnel that is opened by CONNECT must be answered before bytes may follow: the first read is that answer.
    socket.write(preamble === '' ? GO : preamble);
    if (preamble !== '') void whenRead(socket).then(() => socket.write(GO));
  }
  setTimeout(resolve, ms);
  await promise.finally(() => {
    for (const socket of sockets) socket.destroy();
  });
  return bytes;
}

async function whenRead(socket: Socket): Promise<void> {
  while (socket.bytesRead === 0 && !socket.destroyed) await new Promise((resolve) => setImmediate(resolve));
}
