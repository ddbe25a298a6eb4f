/**
 * What a peer's leaf certificate says, read once: callers come with the same one until it is rotated, and reading it is
 * two thirds of what judging costs (5 % of a resumed handshake). Time and trust are judged anew with every handshake (certs/verify).
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { readLatin1 } from '../shared/latin1.ts';
import { err, ok, type Result } from '../shared/result.ts';
import { parseSpiffeId, type SpiffeId, uriSans } from './identity.ts';
import type { RefusalReason } from './verify-reasons.ts';
import { leafUsage } from './verify-usage.ts';

/** NIST SP 800-131A: below 112 bits of strength is disallowed, and that is RSA-2048. */
const MIN_RSA_BITS = 2048;
const STRONG_CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** Leaves that are kept; a peer that makes up more of them only makes us read them. */
const MOST_KEPT = 1024;
/** Bytes of a certificate that is kept; others are read anew. */
const MOST_BYTES = 4096;

export interface Leaf {
  /** Wall clock milliseconds; NaN where they cannot be read. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Why its key is too weak to prove anything, or null. */
  readonly weakness: string | null;
  /** Why it must not be used as a leaf, or null. */
  readonly misuse: LeafFault | null;
  readonly name: Result<SpiffeId, LeafFault>;
  /** SHA-256 of the certificate, hex. */
  readonly hash: string;
}

/** By the bytes of the certificate. */
const kept = new Map<string, Leaf>();

export function leafOf(certificate: X509Certificate): Leaf {
  const der = certificate.raw;
  if (der.length > MOST_BYTES) return read(certificate);
  const bytes = readLatin1(der, 0, der.length);
  let leaf = kept.get(bytes);
  if (leaf === undefined) {
    leaf = read(certificate);
    if (kept.size === MOST_KEPT) kept.clear();
    kept.set(bytes, leaf);
  }
  return leaf;
}

function read(certificate: X509Certificate): Leaf {
  return {
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    weakness: weaknessOf(certificate.publicKey),
    misuse: judgeUsage(certificate),
    name: nameOf(certificate),
    hash: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

export interface LeafFault {
  readonly reason: RefusalReason;
  readonly detail: string;
}

/** The one SPIFFE ID of a leaf (X509-SVID specification, section 2: exactly one URI SAN, with a path). */
export function nameOf(certificate: Pick<X509Certificate, 'subjectAltName'>): Result<SpiffeId, LeafFault> {
  const uris = uriSans(certificate);
  if (uris === null) return err({ reason: 'unreadable_san', detail: 'the subjectAltName cannot be read' });
  const [uri] = uris;
  if (uri === undefined) return err({ reason: 'no_uri_san', detail: 'the certificate has no URI SAN' });
  if (uris.length > 1)
    return err({ reason: 'several_uri_sans', detail: `the certificate has ${uris.length} URI SANs` });
  const id = parseSpiffeId(uri);
  if (id === null) return err({ reason: 'no_spiffe_id', detail: `"${printable(uri)}" is no SPIFFE ID` });
  if (id.path === '') {
    return err({ reason: 'no_workload_path', detail: `"${printable(uri)}" names a trust domain and no workload` });
  }
  return ok(id);
}

/** Why a public key is too weak to prove anything, or null. */
export function weaknessOf(key: KeyObject): string | null {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'ec': {
      const curve = details?.namedCurve ?? 'of unknown parameters';
      return STRONG_CURVES.has(curve) ? null : `the key is on curve ${printable(curve)}, not on P-256, P-384 or P-521`;
    }
    case 'rsa':
    case 'rsa-pss': {
      const bits = details?.modulusLength ?? 0;
      return bits >= MIN_RSA_BITS ? null : `the key is RSA with ${bits} bits, fewer than ${MIN_RSA_BITS}`;
    }
    case 'ed25519':
    case 'ed448':
      return null;
    default:
      return `a key of type ${key.asymmetricKeyType ?? 'unknown'} is not accepted`;
  }
}

/** X509-SVID specification, sections 4.1 and 4.3; of a peer OpenSSL has checked the extended key usage against its role. */
export function judgeUsage(certificate: X509Certificate): LeafFault | null {
  try {
    const usage = leafUsage(certificate.raw);
    if (usage.ca) return { reason: 'is_a_ca', detail: 'a CA certificate was presented as the leaf' };
    if (usage.signsCertificates)
      return { reason: 'signs_certificates', detail: 'the leaf may sign certificates or CRLs' };
    if (!usage.digitalSignature)
      return { reason: 'no_digital_signature', detail: 'the key usage lacks digitalSignature' };
    return null;
  } catch {
    return { reason: 'unreadable_extensions', detail: 'the extensions cannot be read' };
  }
}

const MAX_QUOTED = 200;

/** Text of the peer's making on its way to a log: printable ASCII, bounded. */
export function printable(text: string): string {
  let safe = '';
  for (let i = 0; i < text.length && i < MAX_QUOTED; i++) {
    const code = text.charCodeAt(i);
    safe += code >= 0x20 && code < 0x7f && code !== 0x22 && code !== 0x5c ? text.charAt(i) : '?';
  }
  return text.length > MAX_QUOTED ? `${safe}…` : safe;
}
