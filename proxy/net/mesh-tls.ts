/**
 * Mutual TLS of the mesh for one identity: a server side that handshakes accepted sockets, and what a dial needs.
 *
 * Built once per identity generation and swapped whole; connections made under an older one live on. TLS 1.3 only, both
 * sides ask for a certificate and judge it here (certs/verify), after OpenSSL judged the chain: a socket is handed on
 * only when both said yes. The server is a `tls.Server` that never listens and gets sockets by its documented
 * `connection` event; a bare `TLSSocket` would finish the handshake with a certificate of any CA.
 */
import type { Socket } from 'node:net';
import type { SecureContext, Server, TLSSocket } from 'node:tls';
import type { Identity } from '../../certs/identity.ts';
import { type TrustSettings, verifyLeaf } from '../../certs/verify.ts';
import { leafOf } from '../../certs/verify-leaf.ts';
import { codeOf } from '../../shared/error-code.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { ok, type Result } from '../../shared/result.ts';
import { preferAlpn } from './alpn.ts';
import type { Arrival } from './arrival.ts';
import { meshContext, meshServer } from './mesh-context.ts';

/** Tokens that this server selects from, best first (CONTRACT, "Between sidecars"). */
const SERVER_ALPN: readonly string[] = ['istio-h2', 'istio-http/1.1', 'istio-http/1.0', 'istio', 'h2', 'http/1.1'];

/** A ClientHello and one flight more; a peer that needs longer is not there to talk. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Seconds a ticket may resume a session: short, since resumption skips the chain check. */
const SESSION_TIMEOUT_S = 300;
/** `sessionIdContext` takes at most 32 characters. */
const SESSION_CONTEXT_CHARS = 32;
const MAX_ALERT_DETAIL = 200;

/** Who is at the far end of a verified connection. */
export interface MeshPeer {
  readonly spiffeId: string;
  /** SHA-256 of the certificate, hex, as `x-forwarded-client-cert` wants it; empty on the dialling side. */
  readonly certificateHash: string;
  /** Wall clock milliseconds after which the certificate is no longer valid. */
  readonly notAfter: number;
  /** Of the trust that it was judged by. */
  readonly bundleHash: string;
  /** What was negotiated; empty if nothing was. */
  readonly alpn: string;
}

export interface MeshAccepts {
  /** `arrival` as it was given to `handshake`. */
  onPeer(socket: TLSSocket, peer: MeshPeer, arrival: Arrival): void;
  /** The socket is destroyed already. */
  onRefused(failure: Failure, detail: string, remoteAddress: string): void;
}

export class MeshTls {
  readonly identity: Identity;
  readonly clientContext: SecureContext;
  private readonly server: Server;
  /** Of handshakes under way, by the socket below TLS. */
  private readonly arrivals = new WeakMap<Socket, Arrival>();

  /** `handshakeTimeoutMs` bounds a caller's handshake as a whole, however its bytes come. */
  constructor(
    identity: Identity,
    ticketKeys: Uint8Array,
    trust: () => TrustSettings,
    accepts: MeshAccepts,
    handshakeTimeoutMs: number = HANDSHAKE_TIMEOUT_MS,
  ) {
    this.identity = identity;
    this.clientContext = meshContext(identity);
    this.server = meshServer(identity, {
      requestCert: true,
      rejectUnauthorized: false,
      ticketKeys: Buffer.from(ticketKeys),
      sessionIdContext: identity.bundleHash.slice(0, SESSION_CONTEXT_CHARS),
      sessionTimeout: SESSION_TIMEOUT_S,
      handshakeTimeout: handshakeTimeoutMs,
      noDelay: true,
    });
    preferAlpn(this.server, SERVER_ALPN);
    this.server.on('tlsClientError', (error, socket) => {
      const remoteAddress = socket.remoteAddress ?? '';
      socket.destroy();
      const timeout = codeOf(error) === 'ERR_TLS_HANDSHAKE_TIMEOUT';
      accepts.onRefused(
        timeout ? FAILURES.tlsHandshakeTimeout : FAILURES.tlsHandshakeFailed,
        detailOf(error),
        remoteAddress,
      );
    });
    this.server.on('secureConnection', (socket) => {
      const judged = judge(socket, identity.bundleHash, trust(), 'client');
      if (judged.ok) {
        socket.allowHalfOpen = true;
        accepts.onPeer(socket, judged.value, this.arrivals.get(rawOf(socket)) as Arrival);
        return;
      }
      const remoteAddress = socket.remoteAddress ?? '';
      socket.on('error', () => socket.destroy());
      socket.destroy();
      accepts.onRefused(judged.error.failure, judged.error.detail, remoteAddress);
    });
  }

  /** Takes over an accepted socket whose first bytes were put back with `unshift`. */
  handshake(socket: Socket, arrival: Arrival): void {
    this.arrivals.set(socket, arrival);
    // Whoever ends it before the handshake has: TLS's own socket takes this over, and would wait for the time to be up.
    socket.allowHalfOpen = false;
    this.server.emit('connection', socket);
  }
}

interface OnSocket {
  readonly _parent: Socket;
}

/** What a server's TLS socket was made on. Node's own; test/unit/net/mesh-arrival.test.ts watches it. */
function rawOf(socket: TLSSocket): Socket {
  return (socket as unknown as OnSocket)._parent;
}

/** What both OpenSSL and weft say of the peer of a finished handshake. A refusal's detail begins with its fine reason. */
export function judge(
  socket: TLSSocket,
  bundleHash: string,
  trust: TrustSettings,
  role: 'client' | 'server',
): Result<MeshPeer, { readonly failure: Failure; readonly detail: string }> {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    const failure = role === 'client' ? FAILURES.peerNoCertificate : FAILURES.upstreamBadIdentity;
    return { ok: false, error: { failure, detail: 'no_certificate: no certificate was presented' } };
  }
  // A code such as CERT_HAS_EXPIRED, whatever the typings say.
  const word: unknown = socket.authorizationError;
  const leaf = leafOf(certificate);
  const verdict = verifyLeaf(leaf, certificate, typeof word === 'string' ? word : null, trust, role);
  if (!verdict.ok) {
    const { failure, reason, detail } = verdict.error;
    return { ok: false, error: { failure, detail: `${reason}: ${detail}` } };
  }
  return ok({
    spiffeId: verdict.value.uri,
    certificateHash: role === 'client' ? leaf.hash : '',
    notAfter: leaf.notAfter,
    bundleHash,
    alpn: socket.alpnProtocol === false || socket.alpnProtocol === null ? '' : socket.alpnProtocol,
  });
}

/** One short line of an error, fit for a log field. */
export function detailOf(error: Error): string {
  const code = codeOf(error);
  return (code === null ? error.message : `${code} ${error.message}`)
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .slice(0, MAX_ALERT_DETAIL);
}
