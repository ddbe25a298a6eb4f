/**
 * ALPN tokens as Node's TLS takes them (RFC 7301 section 3.1): each with its length before it. As a list, or as any other
 * view of bytes, Node would copy them into a slab of `Buffer.poolSize` for each connection: a connection that stays kept
 * all 64 KB of it. Of a DataView it copies the bytes alone; test/unit/net/alpn.test.ts watches both ends.
 */
import type { Server } from 'node:tls';
import { ownBytes } from '../../shared/own-bytes.ts';

/** `tokens`: ASCII, 1 to 255 characters each. */
export function alpnProtocols(tokens: readonly string[]): DataView {
  const text = tokens.map((token) => String.fromCharCode(token.length) + token).join('');
  return new DataView(ownBytes(Buffer.from(text, 'latin1')).buffer);
}

/** Those that a server prefers, first to last: it turns into a buffer what it is made with. */
export function preferAlpn(server: Server, tokens: readonly string[]): void {
  (server as unknown as { ALPNProtocols: DataView }).ALPNProtocols = alpnProtocols(tokens);
}
