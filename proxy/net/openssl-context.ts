/**
 * What OpenSSL can be told of a TLS context and Node has no option for, told to OpenSSL itself. Where that cannot be done
 * (a Node that keeps its context elsewhere), contexts stay as Node made them: handshakes and connections cost more then,
 * nothing else changes. Internals of the pinned Node, watched by test/unit/net/openssl-context.test.ts.
 */
import type { SecureContext, Server } from 'node:tls';
import { inspect, types } from 'node:util';
import koffi from 'koffi';

/** openssl/ssl.h: SSL_CTRL_MODE, SSL_MODE_NO_AUTO_CHAIN. */
const CTRL_MODE = 33;
const NO_AUTO_CHAIN = 8;

/**
 * Only the certificates that the context was given are sent: without a chain of its own OpenSSL takes what it finds among
 * the trusted ones, the root included (SSL_CTX_set_mode(3)).
 */
export function sendNoMoreThanOwn(context: SecureContext): void {
  const address = addressOf(context);
  if (address !== null) native()?.control(address, CTRL_MODE, NO_AUTO_CHAIN, null);
}

/** Session tickets that follow a full handshake; two where OpenSSL is not asked (SSL_CTX_set_num_tickets(3)). */
export function sendTickets(context: SecureContext, count: number): void {
  const address = addressOf(context);
  if (address !== null) native()?.setTickets(address, count);
}

/** That all connections of a server are made with. */
export function contextOf(server: Server): SecureContext {
  return (server as unknown as { readonly _sharedCreds: SecureContext })._sharedCreds;
}

interface Native {
  control(context: bigint, command: number, value: number, pointer: null): number;
  setTickets(context: bigint, count: number): number;
}

let known: Native | null | undefined;

/** null where the program does not export its OpenSSL. */
function native(): Native | null {
  if (known !== undefined) return known;
  try {
    const program = koffi.load(null);
    known = {
      control: program.func('long SSL_CTX_ctrl(uintptr_t context, int command, long value, void *pointer)'),
      setTickets: program.func('int SSL_CTX_set_num_tickets(uintptr_t context, size_t count)'),
    };
  } catch {
    known = null;
  }
  return known;
}

/** Of the `SSL_CTX`: Node hands it out as an external value, which says its address only when it is inspected. */
function addressOf(context: SecureContext | undefined): bigint | null {
  const external = (context?.context as { readonly _external?: unknown } | undefined)?._external;
  if (!types.isExternal(external)) return null;
  const hex = /^\[External: ([0-9a-f]+)\]$/.exec(inspect(external))?.[1];
  return hex === undefined ? null : BigInt(`0x${hex}`);
}
