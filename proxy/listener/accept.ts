/** Accepts on a descriptor that the control thread bound; hands each socket over stopped, and knows no session. */
import { createServer, type Server, type Socket } from 'node:net';
import type { HostPort } from '../../shared/address.ts';
import type { Clock } from '../../shared/clock.ts';
import { GivenSocket } from './given-socket.ts';
import type { OriginalDestinations } from './original-destination.ts';

/** Connections the kernel keeps ready for us; `net.core.somaxconn` bounds it (4096 on current kernels). */
const BACKLOG = 4096;
/** Milliseconds between two complaints of a listener: what cannot be accepted is tried again at every turn. */
const COMPLAINT_INTERVAL = 60_000;

export interface Acceptance {
  readonly clock: Clock;
  /** `original` is where a redirected connection was going, null for one that was made to the listener itself. */
  readonly onSocket: (socket: Socket, original: HostPort | null) => void;
  /** Called once: it listens, or never will. */
  readonly onSettled: () => void;
  readonly onProblem: (message: string, error: Error) => void;
}

/** Listens until `close`; the descriptor belongs to the server from now on. */
export function accept(fd: number, originals: OriginalDestinations, acceptance: Acceptance): Server {
  const { clock, onSocket, onSettled, onProblem } = acceptance;
  const given = new GivenSocket(fd);
  let nextComplaint = Number.NEGATIVE_INFINITY;
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
    onSocket(socket, originals.of(socket)),
  );
  server.on('error', (error) => {
    if (!server.listening) {
      // Node has closed it where it could be opened and not be listened on.
      given.close();
      onProblem('cannot listen', error);
      onSettled();
    } else if (clock.now() >= nextComplaint) {
      // Out of file descriptors, or of memory: the listener itself is well, and its descriptor in use.
      nextComplaint = clock.now() + COMPLAINT_INTERVAL;
      onProblem('cannot accept connections', error);
    }
  });
  server.listen({ fd }, BACKLOG, onSettled);
  return server;
}
