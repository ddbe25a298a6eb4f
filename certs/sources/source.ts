/** Where identities come from. One interface, so that the control thread does not know which one it runs on. */
import type { CertificateProblem, Identity } from '../identity.ts';

/**
 * After `start`, `onIdentity` is called with every new generation (one that is valid at that moment and differs from the
 * last) and `onProblem` with every reason why there is none; after a problem the last good identity stays in force, and
 * the source goes on trying by itself. Neither is called from within `start` or after `close`.
 */
export interface IdentitySource {
  start(onIdentity: (identity: Identity) => void, onProblem: (problem: CertificateProblem) => void): void;
  close(): void;
}

/** Why a fresh identity cannot be used now, by the wall clock; null if it can. */
export function validityProblem(identity: Identity, now: number): CertificateProblem | null {
  if (identity.notAfter <= now) {
    const message = `the certificate expired at ${new Date(identity.notAfter).toISOString()}`;
    return { part: 'certificate', message, advice: 'renew it' };
  }
  if (identity.notBefore > now) {
    const message = `the certificate becomes valid at ${new Date(identity.notBefore).toISOString()}`;
    return { part: 'certificate', message, advice: "compare this host's clock with the issuer's" };
  }
  return null;
}

/** Are two identities the same generation? */
export function sameIdentity(a: Identity, b: Identity): boolean {
  return (
    a.fingerprint === b.fingerprint &&
    a.bundleHash === b.bundleHash &&
    a.certificateChain === b.certificateChain &&
    a.privateKey === b.privateKey
  );
}
