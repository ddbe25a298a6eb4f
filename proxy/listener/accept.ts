/** Accepts on a descriptor that the control thread bound; hands each socket over stopped, and knows no session. */
import { createServer, type Server, type Socket } from 'node:net';

/** Connections the kernel keeps ready for us; `net.core.somaxconn` bounds it (4096 on current kernels). */
const BACKLOG = 4096;

/** Listens until `close`; the descriptor belongs to the server from now on. `onSocket` gets each accepted socket. */
export function accept(fd: number, onSocket: (socket: Socket) => void, onListening: () => void): Server {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, onSocket);
  server.listen({ fd }, BACKLOG, onListening);
  return server;
}
