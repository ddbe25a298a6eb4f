/**
 * Reading on after a write has failed. A stream destroys itself by its first error; what the far side said before it went
 * lies in the kernel then, and is lost. `Socket.destroy` is replaced on the one socket, and the mark of the error, for
 * which a readable stream would never end, is taken from it: internals of the pinned Node, watched by
 * test/unit/net/transport.test.ts. Plain sockets need none of this while they are written to by net/raw-writes.
 */
import type { Socket } from 'node:net';
import { codeOf } from '../../shared/error-code.ts';

interface Marked {
  readonly _readableState: { errored: Error | null };
}

/** Asks `readsOn` for each failed write of a TLS socket; true: it stays, and its reads end it. */
export function outliveWriteErrors(socket: Socket, readsOn: (error: Error) => boolean): void {
  const destroy = socket.destroy.bind(socket);
  socket.destroy = (error?: Error) => {
    if (error === undefined || !isWriteError(error) || !readsOn(error)) return destroy(error);
    (socket as unknown as Marked)._readableState.errored = null;
    return socket;
  };
}

/** The far side is gone, so that reads come to an end by themselves once the kernel has handed out what it holds. */
export function tellsOfGonePeer(error: Error): boolean {
  const code = codeOf(error);
  return code === 'EPIPE' || code === 'ECONNRESET';
}

/** By Linux's choice of error: the far side had ended its own bytes in order before it reset the connection. */
export function followsEnd(error: Error): boolean {
  return codeOf(error) === 'EPIPE';
}

function isWriteError(error: Error): boolean {
  return 'syscall' in error && error.syscall === 'write';
}
