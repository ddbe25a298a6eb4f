/** Accepts on a descriptor that the control thread bound; hands each socket over stopped, and knows no session. */
import { createServer, type Server, type Socket } from 'node:net';
import type { HostPort } from '../../shared/address.ts';
import type { OriginalDestinations } from './original-destination.ts';

/** Connections the kernel keeps ready for us; `net.core.somaxconn` bounds it (4096 on current kernels). */
const BACKLOG = 4096;

/** `original` is where a redirected connection was going, null for one that was made to the listener itself. */
export type OnAccepted = (socket: Socket, original: HostPort | null) => void;

/** Listens until `close`; the descriptor belongs to the server from now on. `onSocket` gets each accepted socket. */
export function accept(
  fd: number,
  originals: OriginalDestinations,
  onSocket: OnAccepted,
  onListening: () => void,
): Server {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
    onSocket(socket, originals.of(socket)),
  );
  server.listen({ fd }, BACKLOG, onListening);
  return server;
}
