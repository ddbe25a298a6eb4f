/**
 * Writing straight to a plain socket's handle: what `Socket.write` does in between costs a tenth of a proxied request.
 *
 * The kernel takes most writes whole, and then nothing is left to be remembered. What it does not take waits in libuv,
 * in order with everything written later, by `Socket.write` too; `end` and `destroySoon` send it before they close. This
 * is an internal of the pinned Node, watched by test/unit/net/raw-writes.test.ts.
 */
import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';

interface Handle {
  /** Bytes that libuv holds for this socket. */
  readonly writeQueueSize: number;
  /** 0: all of it was sent; negative: an errno; otherwise what tells of its end. */
  writeBuffer(request: null, bytes: Uint8Array): number | Pending;
}

interface Pending {
  oncomplete: ((status: number) => void) | null;
  /** Must live until then. */
  buffer: Uint8Array | null;
}

/** True if the kernel has it all. Else libuv holds `bytes`, and `onSent` follows when nothing is held any more. */
export function writeNow(socket: Socket, bytes: Uint8Array, onSent: { onWritable(): void }): boolean {
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  if (handle === null) return true;
  const result = handle.writeBuffer(null, bytes);
  if (result === 0) return true;
  if (typeof result === 'number') {
    fail(socket, result);
    return true;
  }
  result.buffer = bytes;
  result.oncomplete = (status) => {
    if (socket.destroyed) return;
    if (status < 0) fail(socket, status);
    else if (handle.writeQueueSize === 0) onSent.onWritable();
  };
  return false;
}

/** Does libuv hold bytes of `writeNow` alone, of whose end its `onSent` will hear? */
export function holdsRawBytes(socket: Socket): boolean {
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  return handle !== null && handle.writeQueueSize > 0 && socket.writableLength === 0;
}

function fail(socket: Socket, errno: number): void {
  const code = getSystemErrorName(errno);
  socket.destroy(Object.assign(new Error(`write ${code}`), { code, errno, syscall: 'write' }));
}
