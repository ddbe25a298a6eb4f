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

/** Ends the connection at once; bytes that are queued are lost. */
export function resetTls(socket: TLSSocket): void {
  const tcp = (socket as unknown as Layered)._handle?._parent;
  if (tcp !== undefined) tcp.close = (done) => tcp.reset(done);
  socket.destroy();
}

/** Ends a plain or TLS connection at once with RST. */
export function resetSocket(socket: Socket): void {
  if (socket instanceof TLSSocket) resetTls(socket);
  else socket.resetAndDestroy();
}
