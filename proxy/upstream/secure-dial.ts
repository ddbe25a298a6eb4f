/** What TLS to an endpoint is, whoever's TLS it is: how to begin the handshake, and who may be at the far end of it. */
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { Failure } from '../../shared/errors.ts';
import type { Result } from '../../shared/result.ts';
import { alpnProtocols } from '../net/alpn.ts';
import type { MeshPeer } from '../net/mesh-tls.ts';
import type { SessionTicket } from './endpoint.ts';

/** Why an endpoint is not dialled, or not believed. */
export interface Refusal {
  readonly failure: Failure;
  readonly detail: string;
}

export interface SecureDial {
  readonly secureContext: SecureContext;
  /** SNI; tickets are bound to it. */
  readonly serverName: string;
  /** Tokens to offer; empty: none. */
  readonly alpn: readonly string[];
  /** Tickets that were made under another trust or with another certificate of ours are not offered. */
  readonly trustHash: string;
  readonly ownFingerprint: string;
  /** Does the connection end when the mesh's trust in its peer does? */
  readonly ofMesh: boolean;
  /** Judges the peer of a finished handshake; `ticket` is what was resumed, since then there is no certificate to see. */
  identify(socket: TLSSocket, ticket: SessionTicket | null): Result<MeshPeer, Refusal>;
}

/** Begins a handshake, where `where` is what `net.connect` takes; nobody is believed before `identify` has judged. */
export function connectSecure(secure: SecureDial, where: object, session: Buffer | null): TLSSocket {
  return connect({
    ...where,
    secureContext: secure.secureContext,
    servername: secure.serverName,
    ...(secure.alpn.length === 0 ? {} : { ALPNProtocols: alpnProtocols(secure.alpn) }),
    // Names are not what Node would check them against.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(session === null ? {} : { session }),
  });
}
