/** Certificate revocation lists for tests (RFC 5280 section 5), good ones and bad ones. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Identity } from '../../certs/identity.ts';
import { DAY_MS } from '../../certs/issue.ts';
import { integer, pem, sequence, signatureAlgorithm, signed, subjectOf, time } from '../../certs/issue-der.ts';
import type { TestCa } from './certificates.ts';

export interface RevocationListOptions {
  /** Wall clock milliseconds; a minute ago without it. */
  readonly thisUpdate?: number;
  /** A day ahead without it. */
  readonly nextUpdate?: number;
  /** Whose key signs it; the CA's own without it. */
  readonly signer?: TestCa;
}

/** The CA's list, PEM, with these certificates in it. */
export function revocationList(
  ca: TestCa,
  revoked: readonly Pick<Identity, 'certificateChain'>[],
  options: RevocationListOptions = {},
): string {
  const { thisUpdate = Date.now() - 60_000, nextUpdate = Date.now() + DAY_MS, signer = ca } = options;
  const key = createPrivateKey(signer.authority.privateKey);
  const algorithm = signatureAlgorithm(key);
  const entries = revoked.map(({ certificateChain }) => {
    const { serialNumber } = new X509Certificate(certificateChain);
    return sequence([integer(Buffer.from(serialNumber, 'hex')), time(thisUpdate)]);
  });
  const body = sequence([
    integer(Buffer.from([1])),
    algorithm,
    subjectOf(new X509Certificate(ca.authority.certificate)),
    time(thisUpdate),
    time(nextUpdate),
    ...(entries.length === 0 ? [] : [sequence(entries)]),
  ]);
  return pem('X509 CRL', signed(body, algorithm, key));
}
