/**
 * What a workload is: its SPIFFE ID, its certificate and key, and whom it trusts. Plain data, fit for postMessage.
 */
import type { X509Certificate } from 'node:crypto';

/** One generation of certificate, key and bundle; never mixed from two. PEM throughout. */
export interface Identity {
  readonly spiffeId: string;
  /** Leaf first, then intermediates. */
  readonly certificateChain: string;
  readonly privateKey: string;
  readonly trustBundle: string;
  /** PEM, one list each; empty where revocation is not checked. */
  readonly revocationLists: readonly string[];
  /** SHA-256 of the bundle's certificates and the revocation lists, hex: resumption is keyed by it. */
  readonly bundleHash: string;
  /** SHA-256 of the leaf, hex. */
  readonly fingerprint: string;
  /** Wall clock milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serialNumber: string;
}

/** `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`; namespace and account empty for another path shape. */
export interface SpiffeId {
  readonly uri: string;
  readonly trustDomain: string;
  readonly path: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Why weft has no usable identity of its own. Never holds key material: it goes to logs and `/certs`. */
export interface CertificateProblem {
  /** Which part is wrong; `source` where nothing could be fetched at all. */
  readonly part: 'certificate' | 'key' | 'bundle' | 'revocation' | 'source';
  readonly message: string;
  /** What to do about it; empty where the message says it. */
  readonly advice: string;
}

/** SPIFFE ID specification, section 2.3: at most 2048 bytes in all, 255 in the trust domain (section 2.1). */
const maxUriLength = 2048;
const maxTrustDomainLength = 255;
const scheme = 'spiffe://';

/**
 * Reads a SPIFFE ID (SPIFFE-ID specification, section 2), or null where it is none. Nothing is repaired or folded: upper
 * case in scheme or trust domain, ports, user names, queries, fragments, escapes, empty and dot segments are refused,
 * so two IDs are equal exactly if their bytes are.
 */
export function parseSpiffeId(uri: string): SpiffeId | null {
  if (uri.length > maxUriLength || !uri.startsWith(scheme)) return null;
  const slash = uri.indexOf('/', scheme.length);
  const trustDomain = slash === -1 ? uri.slice(scheme.length) : uri.slice(scheme.length, slash);
  const path = slash === -1 ? '' : uri.slice(slash);
  if (!isTrustDomain(trustDomain)) return null;
  const segments = path === '' ? [] : path.slice(1).split('/');
  if (!segments.every(isPathSegment)) return null;
  const [ns, namespace, sa, serviceAccount] = segments;
  const workload = segments.length === 4 && ns === 'ns' && sa === 'sa';
  return {
    uri,
    trustDomain,
    path,
    namespace: workload ? (namespace ?? '') : '',
    serviceAccount: workload ? (serviceAccount ?? '') : '',
  };
}

/** Lower-case letters, digits, `.`, `-` and `_`, 1 to 255 of them (SPIFFE-ID specification, section 2.1). */
export function isTrustDomain(name: string): boolean {
  if (name.length === 0 || name.length > maxTrustDomainLength) return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (!isLowerDigitOrMark(code)) return false;
  }
  return true;
}

/** Letters, digits, `.`, `-` and `_`; neither empty nor a dot segment (SPIFFE-ID specification, section 2.2). */
function isPathSegment(segment: string): boolean {
  if (segment === '' || segment === '.' || segment === '..') return false;
  for (let i = 0; i < segment.length; i++) {
    const code = segment.charCodeAt(i);
    const upper = code >= 0x41 && code <= 0x5a;
    if (!upper && !isLowerDigitOrMark(code)) return false;
  }
  return true;
}

function isLowerDigitOrMark(code: number): boolean {
  const lower = code >= 0x61 && code <= 0x7a;
  const digit = code >= 0x30 && code <= 0x39;
  return lower || digit || code === 0x2d || code === 0x2e || code === 0x5f;
}

/**
 * The URI names of a certificate's subjectAltName in its order, unescaped. Null where the text cannot be read without
 * doubt, which a caller treats as a refusal.
 *
 * Node writes `TYPE:value` joined by `, ` and puts a value that holds a comma, a quote or an unprintable byte in a JSON
 * string (Node API, `x509.subjectAltName`), so a quoted value is read to its closing quote before any comma counts.
 */
export function uriSans(certificate: Pick<X509Certificate, 'subjectAltName'>): readonly string[] | null {
  const text = certificate.subjectAltName;
  const found: string[] = [];
  if (text === undefined) return found;
  for (let at = 0; at < text.length; ) {
    const end = entryEnd(text, at);
    if (end === -1) return null;
    if (text.startsWith('URI:', at)) {
      const uri = unquote(text.slice(at + 'URI:'.length, end));
      if (uri === null) return null;
      found.push(uri);
    }
    at = end + ', '.length;
  }
  return found;
}

/** Where the entry that begins at `at` ends: at `, ` or the end of the text; -1 for an unclosed quote. */
function entryEnd(text: string, at: number): number {
  let quoted = false;
  for (let i = at; i < text.length; i++) {
    const char = text[i];
    if (quoted && char === '\\') i++;
    else if (char === '"') quoted = !quoted;
    else if (!quoted && char === ',') return text[i + 1] === ' ' ? i : -1;
  }
  return quoted ? -1 : text.length;
}

function unquote(value: string): string | null {
  if (!value.startsWith('"')) return value;
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'string' ? parsed : null;
  } catch {
    return null;
  }
}
