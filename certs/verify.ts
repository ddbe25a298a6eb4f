/**
 * May this certificate stand for this peer? OpenSSL has judged signatures, chain and purpose during the handshake; here its
 * word and our own checks become one answer: a SPIFFE ID, or a row of the failure table with a reason. Our checks only
 * ever refuse more. Names are compared byte for byte and never become expressions.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import type { Failure } from '../shared/errors.ts';
import { err, ok, type Result } from '../shared/result.ts';
import { parseSpiffeId, type SpiffeId, uriSans } from './identity.ts';
import { failureOf, type PeerRole, REASON_OF_OPENSSL, type RefusalReason } from './verify-reasons.ts';
import { leafUsage } from './verify-usage.ts';

/** Whose identities are ours. */
export interface TrustSettings {
  readonly trustDomain: string;
  readonly aliases: readonly string[];
  /** Wall clock milliseconds; without it the system's. */
  readonly now?: number;
}

export interface PeerRefusal {
  readonly failure: Failure;
  readonly reason: RefusalReason;
  /** One sentence for the log; names are quoted from the certificate in printable ASCII, at most 200 characters. */
  readonly detail: string;
}

/** Below the root: more is nobody's set-up and costs a signature check each. */
const MAX_INTERMEDIATES = 4;

/** NIST SP 800-131A: below 112 bits of strength is disallowed, and that is RSA-2048. */
const MIN_RSA_BITS = 2048;
const STRONG_CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/**
 * Judges the peer of a finished handshake. `opensslError` is `tlsSocket.authorizationError`: null only if OpenSSL accepted the
 * chain. Costs about 40 µs, once per full handshake. Never throws.
 */
export function verifyPeer(
  certificate: X509Certificate | undefined,
  opensslError: string | null,
  trust: TrustSettings,
  role: PeerRole,
): Result<SpiffeId, PeerRefusal> {
  if (certificate === undefined) return refuse(role, 'no_certificate', 'no certificate was presented');
  const validity = judgeValidity(certificate, trust.now ?? Date.now());
  const key = weaknessOf(certificate.publicKey);
  if (opensslError !== null) {
    const reason = REASON_OF_OPENSSL.get(opensslError);
    if ((reason === 'chain_expired' || reason === 'chain_not_yet_valid') && validity !== null) {
      return refuse(role, validity.reason, validity.detail);
    }
    if (reason === undefined && key !== null) return refuse(role, 'weak_key', key);
    return refuse(role, reason ?? 'chain_refused', `OpenSSL refuses the certificate chain: ${printable(opensslError)}`);
  }
  if (validity !== null) return refuse(role, validity.reason, validity.detail);
  if (key !== null) return refuse(role, 'weak_key', key);
  const usage = judgeUsage(certificate);
  if (usage !== null) return refuse(role, usage.reason, usage.detail);
  if (tooManyIntermediates(certificate)) {
    return refuse(role, 'chain_too_long', `there are more than ${MAX_INTERMEDIATES} intermediates`);
  }
  const name = nameOf(certificate);
  if (!name.ok) return refuse(role, name.error.reason, name.error.detail);
  const id = name.value;
  if (!isOurs(id.trustDomain, trust)) {
    return refuse(role, 'foreign_trust_domain', `"${printable(id.uri)}" is not of trust domain ${trust.trustDomain}`);
  }
  return ok(id);
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

/** What a Service's endpoints may be called. */
export interface AllowedServers {
  /** Of the Service; any service account of it may serve while `identities` is empty. */
  readonly namespace: string;
  /** Full SPIFFE IDs (`weft.dev/identities`); if there are any, only these. */
  readonly identities: readonly string[];
  readonly trustDomain: string;
  readonly aliases: readonly string[];
}

/** Secure naming: may the workload with this (verified) ID answer for the Service? */
export function mayServe(id: SpiffeId, allowed: AllowedServers): boolean {
  if (!isOurs(id.trustDomain, allowed)) return false;
  if (allowed.identities.length === 0) return id.namespace !== '' && id.namespace === allowed.namespace;
  if (allowed.identities.includes(id.uri)) return true;
  // An alias is another spelling of the own trust domain: a name written under one admits the other.
  return [allowed.trustDomain, ...allowed.aliases].some((domain) =>
    allowed.identities.includes(`spiffe://${domain}${id.path}`),
  );
}

function isOurs(
  trustDomain: string,
  ours: { readonly trustDomain: string; readonly aliases: readonly string[] },
): boolean {
  return trustDomain === ours.trustDomain || ours.aliases.includes(trustDomain);
}

/** Again by our own clock: resumption skips OpenSSL's check, and the clocks of both ends may differ. */
function judgeValidity(certificate: X509Certificate, now: number): LeafFault | null {
  const early = certificate.validFromDate.getTime() - now;
  if (early > 0) {
    const skew = `their clock is ${duration(early)} ahead of ours, or more`;
    return { reason: 'not_yet_valid', detail: `the certificate becomes valid in ${duration(early)}: ${skew}` };
  }
  const late = now - certificate.validToDate.getTime();
  if (late > 0) {
    const skew = `it was not renewed, or our clock is ${duration(late)} ahead`;
    return { reason: 'expired', detail: `the certificate expired ${duration(late)} ago: ${skew}` };
  }
  // A date that does not parse compares false both times.
  if (Number.isNaN(early) || Number.isNaN(late)) return { reason: 'expired', detail: 'the validity cannot be read' };
  return null;
}

/** X509-SVID specification, sections 4.1 and 4.3; OpenSSL has checked the extended key usage against the role. */
function judgeUsage(certificate: X509Certificate): LeafFault | null {
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

/** Node gives the certificates that the peer sent, with or without the root: what is self-issued does not count. */
function tooManyIntermediates(leaf: X509Certificate): boolean {
  let intermediates = 0;
  for (let at = leaf.issuerCertificate; at !== undefined && !at.checkIssued(at); at = at.issuerCertificate) {
    intermediates++;
    if (intermediates > MAX_INTERMEDIATES) return true;
  }
  return false;
}

function refuse(role: PeerRole, reason: RefusalReason, detail: string): Result<SpiffeId, PeerRefusal> {
  return err({ failure: failureOf(role, reason), reason, detail });
}

const MAX_QUOTED = 200;

/** Text of the peer's making on its way to a log: printable ASCII, bounded. */
function printable(text: string): string {
  let safe = '';
  for (let i = 0; i < text.length && i < MAX_QUOTED; i++) {
    const code = text.charCodeAt(i);
    safe += code >= 0x20 && code < 0x7f && code !== 0x22 && code !== 0x5c ? text.charAt(i) : '?';
  }
  return text.length > MAX_QUOTED ? `${safe}…` : safe;
}

/** The largest whole unit that keeps at least two of it: "37 s", "12 min", "3 days". */
function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
