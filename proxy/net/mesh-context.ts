/** The TLS contexts of an identity: TLS 1.3, its certificate, and the roots that peers are judged by. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, createServer, type SecureContext, type Server, type TlsOptions } from 'node:tls';
import type { Identity } from '../../certs/identity.ts';
import { certificatesOf } from '../../certs/identity-pem.ts';
import { contextOf, sendNoMoreThanOwn, sendTickets } from './openssl-context.ts';

/** For dials. */
export function meshContext(identity: Identity): SecureContext {
  const context = createSecureContext(materialOf(identity));
  if (needsNoChain(identity)) sendNoMoreThanOwn(context);
  return context;
}

/**
 * A server that never listens. One ticket follows a handshake: each resumption brings the next. With a second one they
 * outgrow the buffer of our flight, and every connection keeps one of 16 KB more.
 */
export function meshServer(identity: Identity, options: TlsOptions): Server {
  const server = createServer({ ...options, ...materialOf(identity) });
  if (needsNoChain(identity)) sendNoMoreThanOwn(contextOf(server));
  sendTickets(contextOf(server), 1);
  return server;
}

function materialOf({ certificateChain: cert, privateKey: key, trustBundle: ca, revocationLists }: Identity): {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly crl?: string[];
  readonly minVersion: 'TLSv1.3';
} {
  const lists = revocationLists.length === 0 ? {} : { crl: [...revocationLists] };
  return { cert, key, ca, ...lists, minVersion: 'TLSv1.3' };
}

/**
 * Is a root of the bundle the issuer? Who trusts that root has it and needs no copy (RFC 8446 section 4.4.2), which would
 * cost a peer 11 KB for each connection. Where an intermediate stands in the bundle alone, OpenSSL still sends it along.
 */
function needsNoChain({ certificateChain, trustBundle }: Identity): boolean {
  const leaf = new X509Certificate(certificateChain);
  return (certificatesOf(trustBundle) ?? []).some((root) => root.checkIssued(root) && leaf.checkIssued(root));
}
