/**
 * RST below TLS. `destroy` of a TLS socket sends FIN without close_notify, which the far side cannot tell from an orderly
 * end, and `resetAndDestroy` knows TCP sockets only. So the TCP handle below is made to close by reset; it is internal to
 * the pinned Node, and test/unit/net/reset-tls.test.ts notices if it goes.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

interface TcpHandle {
  close(done: () => void): void;
  reset(done: () => void): void;
}

interface Layered {
  readonly _handle: { readonly _parent?: TcpHandle } | null;
}

/** Ends the connection at once; bytes that are queued are lost. By FIN where libuv holds one. */
export function resetTls(socket: TLSSocket): void {
  const tcp = (socket as unknown as Layered)._handle?._parent;
  if (tcp !== undefined && !isEnding(socket)) tcp.close = (done) => tcp.reset(done);
  socket.destroy();
}

/** Ends a plain or TLS connection at once with RST, as `resetTls` does. */
export function resetSocket(socket: Socket): void {
  if (socket instanceof TLSSocket) resetTls(socket);
  else if (isEnding(socket)) socket.destroy();
  else socket.resetAndDestroy();
}

/**
 * libuv refuses to reset a connection whose FIN it holds, and it would then never close. While the stream itself has
 * bytes left it has not asked for one.
 */
function isEnding(socket: Socket): boolean {
  return socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
}
