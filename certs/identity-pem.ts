/** Our own identity from PEM text, checked so that whatever is handed on can be used for a handshake. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { err, ok, type Result } from '../shared/result.ts';
import type { CertificateProblem, Identity } from './identity.ts';
import { judgeUsage, nameOf, weaknessOf } from './verify-leaf.ts';
import { Revocations } from './verify-revocation.ts';

export interface IdentityPem {
  /** Leaf first, then intermediates. */
  readonly certificate: string;
  readonly key: string;
  /** The CAs to trust. */
  readonly bundle: string;
  /** Certificate revocation lists; without them revocation is not checked. */
  readonly revocation?: string;
}

/** More than any mesh has CAs; bounds the work on a wrong file. */
const MAX_BLOCKS = 512;

/** RFC 5280 section 4.2.1.12. */
const PURPOSES: readonly (readonly [oid: string, name: string])[] = [
  ['1.3.6.1.5.5.7.3.2', 'clientAuth'],
  ['1.3.6.1.5.5.7.3.1', 'serverAuth'],
];

/**
 * Checks and joins one generation: the key fits the leaf, peers would take the leaf from a client and from a server, the
 * bundle holds CAs only, and one of them is at the end of the leaf's chain. Whether it is valid now is the caller's
 * question. PEM is written anew, so text around the blocks (a key pasted into `ca.crt`) goes nowhere.
 */
export function identityFromPem(pem: IdentityPem): Result<Identity, CertificateProblem> {
  const chain = certificatesOf(pem.certificate);
  const [leaf] = chain ?? [];
  if (chain === null || leaf === undefined)
    return problem('certificate', 'is no PEM certificate', 'write the leaf, then its intermediates');
  const key = privateKeyOf(pem.key);
  if (key === null) return problem('key', 'is no unencrypted PEM private key', 'write it as PKCS#8, PKCS#1 or SEC1');
  if (!leaf.checkPrivateKey(key)) return problem('key', 'does not belong to the certificate', 'replace both together');
  const bundle = certificatesOf(pem.bundle);
  if (bundle === null || bundle.length === 0)
    return problem('bundle', 'is no PEM bundle of CA certificates', 'write the root of every CA in use');
  const stranger = bundle.find((certificate) => !certificate.ca);
  if (stranger !== undefined) {
    return problem('bundle', `holds a certificate that is not a CA's (${serialOf(stranger)})`, 'leave only CAs in it');
  }
  const name = nameOf(leaf);
  if (!name.ok) return refusedByPeers(name.error.detail, 'it needs exactly one URI SAN with a SPIFFE ID');
  const weakness = weaknessOf(leaf.publicKey);
  if (weakness !== null) return refusedByPeers(weakness, 'issue it for a P-256 key');
  const misuse = judgeUsage(leaf)?.detail ?? missingPurpose(leaf);
  if (misuse !== null)
    return refusedByPeers(misuse, 'issue it for digitalSignature, serverAuth and clientAuth, CA:FALSE');
  if (!leadsToBundle(chain, bundle)) {
    return problem('bundle', 'does not hold the CA that the certificate comes from', 'add that root to it');
  }
  const revocationLists = pem.revocation === undefined ? [] : revocationListsOf(pem.revocation);
  if (revocationLists === null) {
    return problem('revocation', 'file (ca.crl) is no PEM of X.509 CRLs', 'write one of each CA, or remove it');
  }
  return ok({
    spiffeId: name.value.uri,
    certificateChain: chain.map((certificate) => certificate.toString()).join(''),
    privateKey: key.export({ type: 'pkcs8', format: 'pem' }),
    trustBundle: bundle.map((certificate) => certificate.toString()).join(''),
    revocationLists,
    bundleHash: hashOfTrust(bundle, revocationLists),
    fingerprint: createHash('sha256').update(leaf.raw).digest('hex'),
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
    serialNumber: leaf.serialNumber,
  });
}

/**
 * What its extended key usage lacks for OpenSSL to take it from a client and from a server, since a sidecar is both; null
 * where nothing is lacking or there is no such extension. `anyExtendedKeyUsage` does not count to OpenSSL either.
 */
function missingPurpose(leaf: X509Certificate): string | null {
  // Node's name for it: `keyUsage` are the OIDs of the extended one.
  const purposes: readonly string[] | undefined = leaf.keyUsage;
  if (purposes === undefined) return null;
  const missing = PURPOSES.filter(([oid]) => !purposes.includes(oid)).map(([, name]) => name);
  return missing.length === 0 ? null : `the extended key usage lacks ${missing.join(' and ')}`;
}

/** The certificates of a PEM text in its order; null where a block cannot be read or there are too many. */
export function certificatesOf(pem: string): X509Certificate[] | null {
  try {
    return blocksOf(pem, 'CERTIFICATE')?.map((block) => new X509Certificate(block)) ?? null;
  } catch {
    return null;
  }
}

/** The lists of a PEM text; null where there is none, or one that OpenSSL or weft cannot read. */
function revocationListsOf(pem: string): string[] | null {
  const lists = blocksOf(pem, 'X509 CRL');
  if (lists === null || lists.length === 0) return null;
  try {
    createSecureContext({ crl: lists });
    new Revocations(lists);
    return lists;
  } catch {
    return null;
  }
}

/** PEM blocks with this label in their order; null where one is cut short or there are too many. */
function blocksOf(pem: string, label: string): string[] | null {
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const found: string[] = [];
  for (let at = pem.indexOf(begin); at !== -1; at = pem.indexOf(begin, at + 1)) {
    const stop = pem.indexOf(end, at);
    if (stop === -1 || found.length === MAX_BLOCKS) return null;
    found.push(`${pem.slice(at, stop + end.length)}\n`);
  }
  // Half a file may end within the next block's first line: without it the file would seem whole.
  const lastLine = pem.slice(pem.lastIndexOf('\n') + 1);
  return lastLine.startsWith('-') && !/^-----END [^-]+-----\s*$/.test(lastLine) ? null : found;
}

/** SHA-256 over certificates and lists, each in the order of their bytes: neither order nor repetition matters. */
function hashOfTrust(bundle: readonly X509Certificate[], revocationLists: readonly string[]): string {
  const sorted = bundle.map((certificate) => certificate.raw).sort((a, b) => a.compare(b));
  const hash = createHash('sha256');
  sorted.forEach((der, index) => {
    const before = sorted[index - 1];
    if (before === undefined || !before.equals(der)) hash.update(der);
  });
  for (const list of [...new Set(revocationLists)].sort()) hash.update(list);
  return hash.digest('hex');
}

/** Follows issuers from the leaf through the chain into the bundle; OpenSSL checks every signature. */
function leadsToBundle(chain: readonly X509Certificate[], bundle: readonly X509Certificate[]): boolean {
  let at = chain[0];
  for (let steps = 0; at !== undefined && steps < chain.length; steps++) {
    const child = at;
    if (bundle.some((authority) => signedBy(child, authority))) return true;
    at = chain.find((candidate) => candidate !== child && signedBy(child, candidate));
  }
  return false;
}

function signedBy(child: X509Certificate, authority: X509Certificate): boolean {
  return child.checkIssued(authority) && child.verify(authority.publicKey);
}

function privateKeyOf(pem: string): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    return null;
  }
}

function serialOf(certificate: X509Certificate): string {
  return `serial number ${certificate.serialNumber}`;
}

/** To use it would be an outage that readiness does not show; refused, the last good one stays in use. */
function refusedByPeers(detail: string, advice: string): Result<Identity, CertificateProblem> {
  return problem('certificate', `would be refused by peers: ${detail}`, advice);
}

function problem(
  part: CertificateProblem['part'],
  message: string,
  advice: string,
): Result<Identity, CertificateProblem> {
  return err({ part, message: `the ${part} ${message}`, advice });
}
