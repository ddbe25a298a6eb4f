/** `ws`, the WebSocket client and server of the Node world, from its Debian package: only what tests use of it. */
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { NODE_WS } from './debian.ts';

/** Both ends of a connection. Events: `open`, `message` (bytes, are they binary), `pong`, `close` (code, reason), `error`. */
export interface WebSocketEnd extends EventEmitter {
  /** Extensions in force, of a client after `open`. */
  readonly extensions: string;
  send(message: string | Uint8Array): void;
  ping(payload: string): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

export interface WebSocketOptions {
  readonly perMessageDeflate: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Emits `listening`, and `connection` with a WebSocketEnd. */
export interface WebSocketListener extends EventEmitter {
  address(): AddressInfo;
  close(): void;
}

export interface WebSocketModule {
  readonly WebSocket: new (url: string, options: WebSocketOptions) => WebSocketEnd;
  readonly WebSocketServer: new (
    options: WebSocketOptions & { readonly port: number; readonly host: string },
  ) => WebSocketListener;
}

/** Throws where the package `node-ws` is not unpacked. */
export function loadWs(): WebSocketModule {
  return createRequire(import.meta.url)(NODE_WS) as WebSocketModule;
}
