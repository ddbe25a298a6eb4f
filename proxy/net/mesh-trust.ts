/**
 * What an identity's trust bundle and revocation lists mean for connections that are open: those whose peer came by a
 * root that is gone, or was revoked, are ended; all others live on.
 */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Identity } from '../../certs/identity.ts';
import { certificatesOf } from '../../certs/identity-pem.ts';
import { Revocations } from '../../certs/verify-revocation.ts';

/** Leaf, intermediates and root, as certs/verify allows. */
const MAX_CHAIN = 6;

export class MeshTrust {
  private readonly roots: readonly X509Certificate[];
  private readonly revocations: Revocations;

  constructor({ trustBundle, revocationLists }: Pick<Identity, 'trustBundle' | 'revocationLists'>) {
    this.roots = certificatesOf(trustBundle) ?? [];
    this.revocations = new Revocations(revocationLists);
  }

  /** May there be a peer that `before` admitted and this does not? */
  narrows(before: MeshTrust): boolean {
    const kept = new Set(this.roots.map((root) => root.fingerprint256));
    return before.roots.some((root) => !kept.has(root.fingerprint256)) || this.revocations.exceeds(before.revocations);
  }

  /**
   * Does the peer of this finished handshake lead to a root by certificates that are not revoked? A resumed connection
   * that we dialled shows no certificate; it counts as one that does not.
   */
  admits(socket: TLSSocket): boolean {
    let certificate = socket.getPeerX509Certificate();
    for (let depth = 0; certificate !== undefined && depth < MAX_CHAIN; depth++) {
      const link = certificate;
      if (this.revocations.names(link)) return false;
      if (this.roots.some((root) => link.checkIssued(root) && link.verify(root.publicKey))) return true;
      certificate = link.issuerCertificate;
    }
    return false;
  }
}
