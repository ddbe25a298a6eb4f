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

/** Hears how writes end that could not be made at once, or at all. */
export interface WriteListener {
  /** Nothing is held any more. */
  onWritable(): void;
  /** Neither this write nor a later one will reach the far side; whoever hears it ends the socket. */
  onWriteFailed(error: Error): void;
}

/** True if the kernel has it all, or never will. Else libuv holds `bytes`, and `listener` hears of the end. */
export function writeNow(socket: Socket, bytes: Uint8Array, listener: WriteListener): boolean {
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  if (handle === null) return true;
  const result = handle.writeBuffer(null, bytes);
  if (result === 0) return true;
  if (typeof result === 'number') {
    listener.onWriteFailed(errorOf(result));
    return true;
  }
  result.buffer = bytes;
  result.oncomplete = (status) => {
    if (socket.destroyed) return;
    if (status < 0) listener.onWriteFailed(errorOf(status));
    else if (handle.writeQueueSize === 0) listener.onWritable();
  };
  return false;
}

/** Does libuv hold bytes of `writeNow` alone, of whose end its listener will hear? */
export function holdsRawBytes(socket: Socket): boolean {
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  return handle !== null && handle.writeQueueSize > 0 && socket.writableLength === 0;
}

/** As a write of the stream's own would report it. */
function errorOf(errno: number): Error {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`write ${code}`), { code, errno, syscall: 'write' });
}
