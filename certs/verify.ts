/**
 * May this certificate stand for this peer? OpenSSL has judged signatures, chain and purpose during the handshake; here its
 * word and our own checks become one answer: a SPIFFE ID, or a row of the failure table with a reason. Our checks only
 * ever refuse more. Names are compared byte for byte and never become expressions.
 */
import type { X509Certificate } from 'node:crypto';
import type { Failure } from '../shared/errors.ts';
import { err, ok, type Result } from '../shared/result.ts';
import type { SpiffeId } from './identity.ts';
import { type Leaf, type LeafFault, leafOf, printable } from './verify-leaf.ts';
import { failureOf, type PeerRole, REASON_OF_OPENSSL, type RefusalReason } from './verify-reasons.ts';

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

/**
 * Judges the peer of a finished handshake by its leaf. `opensslError` is `tlsSocket.authorizationError`: null only if
 * OpenSSL accepted the chain. Never throws.
 */
export function verifyPeer(
  certificate: X509Certificate | undefined,
  opensslError: string | null,
  trust: TrustSettings,
  role: PeerRole,
): Result<SpiffeId, PeerRefusal> {
  if (certificate === undefined) return refuse(role, 'no_certificate', 'no certificate was presented');
  return verifyLeaf(leafOf(certificate), certificate, opensslError, trust, role);
}

/** The same for whoever has read the leaf already. */
export function verifyLeaf(
  leaf: Leaf,
  certificate: X509Certificate,
  opensslError: string | null,
  trust: TrustSettings,
  role: PeerRole,
): Result<SpiffeId, PeerRefusal> {
  const validity = judgeValidity(leaf, trust.now ?? Date.now());
  if (opensslError !== null) {
    const reason = REASON_OF_OPENSSL.get(opensslError);
    if ((reason === 'chain_expired' || reason === 'chain_not_yet_valid') && validity !== null) {
      return refuse(role, validity.reason, validity.detail);
    }
    if (reason === undefined && leaf.weakness !== null) return refuse(role, 'weak_key', leaf.weakness);
    return refuse(role, reason ?? 'chain_refused', `OpenSSL refuses the certificate chain: ${printable(opensslError)}`);
  }
  if (validity !== null) return refuse(role, validity.reason, validity.detail);
  if (leaf.weakness !== null) return refuse(role, 'weak_key', leaf.weakness);
  if (leaf.misuse !== null) return refuse(role, leaf.misuse.reason, leaf.misuse.detail);
  if (tooManyIntermediates(certificate)) {
    return refuse(role, 'chain_too_long', `there are more than ${MAX_INTERMEDIATES} intermediates`);
  }
  if (!leaf.name.ok) return refuse(role, leaf.name.error.reason, leaf.name.error.detail);
  const id = leaf.name.value;
  if (!isOurs(id.trustDomain, trust)) {
    return refuse(role, 'foreign_trust_domain', `"${printable(id.uri)}" is not of trust domain ${trust.trustDomain}`);
  }
  return ok(id);
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

/** Is this trust domain the own one, by its name or by an alias? */
export function isOurs(trustDomain: string, ours: Pick<TrustSettings, 'trustDomain' | 'aliases'>): boolean {
  return trustDomain === ours.trustDomain || ours.aliases.includes(trustDomain);
}

/** Again by our own clock: resumption skips OpenSSL's check, and the clocks of both ends may differ. */
function judgeValidity({ notBefore, notAfter }: Leaf, now: number): LeafFault | null {
  const early = notBefore - now;
  if (early > 0) {
    const skew = `their clock is ${duration(early)} ahead of ours, or more`;
    return { reason: 'not_yet_valid', detail: `the certificate becomes valid in ${duration(early)}: ${skew}` };
  }
  const late = now - notAfter;
  if (late > 0) {
    const skew = `it was not renewed, or our clock is ${duration(late)} ahead`;
    return { reason: 'expired', detail: `the certificate expired ${duration(late)} ago: ${skew}` };
  }
  // A date that does not parse compares false both times.
  if (Number.isNaN(early) || Number.isNaN(late)) return { reason: 'expired', detail: 'the validity cannot be read' };
  return null;
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

/** The largest whole unit that keeps at least two of it: "37 s", "12 min", "3 days". */
function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
