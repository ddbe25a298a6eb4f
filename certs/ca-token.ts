/**
 * Who asks the CA for a certificate: a Kubernetes service-account token, a JWT (RFC 7519) that is checked against the
 * cluster's JWKS (RFC 7517). The key decides which algorithm is allowed; what the token's header says of keys (`jku`, `jwk`,
 * `x5u`, `x5c`) is ignored, and a critical extension (`crit`) refuses it.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { isObject, type JsonObject, parseObject } from '../shared/json.ts';
import { err, ok, type Result } from '../shared/result.ts';
import { parseSpiffeId } from './identity.ts';
import { weaknessOf } from './verify-leaf.ts';

export interface TokenKey {
  readonly kid: string | null;
  readonly algorithm: 'RS256' | 'ES256';
  readonly key: KeyObject;
}

export interface TokenRules {
  /** One of the token's audiences must be this. */
  readonly audience: string;
  /** The issuer it must name; null where any may that the keys belong to. */
  readonly issuer: string | null;
  /** Of the SPIFFE IDs that come out. */
  readonly trustDomain: string;
}

/** A projected token has about 1 KB. */
const MAX_TOKEN_CHARS = 16_384;
const MAX_KEYS = 64;
/** Clocks of the cluster and of the CA may differ by this much. */
const SKEW_S = 30;
const BASE64URL = /^[A-Za-z0-9_-]+$/;
const SERVICE_ACCOUNT = /^system:serviceaccount:([a-z0-9.-]{1,253}):([a-z0-9.-]{1,253})$/;

/** The signing keys of a JWKS that weft can use; others are passed over. The error is a sentence. */
export function readJwks(text: string): Result<TokenKey[], string> {
  const set = parseObject(text);
  if (set === null || !Array.isArray(set['keys'])) return err('the JWKS is no JSON object with "keys"');
  const keys: TokenKey[] = [];
  for (const entry of set['keys'].slice(0, MAX_KEYS)) {
    const key = readKey(entry);
    if (key !== null) keys.push(key);
  }
  return keys.length === 0 ? err('the JWKS holds no RSA key for RS256 and no P-256 key for ES256') : ok(keys);
}

function readKey(entry: unknown): TokenKey | null {
  if (!isObject(entry)) return null;
  const { kty, crv, use, alg, kid } = entry;
  const algorithm = kty === 'RSA' ? 'RS256' : kty === 'EC' && crv === 'P-256' ? 'ES256' : null;
  if (algorithm === null || (use !== undefined && use !== 'sig') || (alg !== undefined && alg !== algorithm))
    return null;
  try {
    const key = createPublicKey({ key: entry, format: 'jwk' });
    return weaknessOf(key) === null ? { algorithm, key, kid: typeof kid === 'string' ? kid : null } : null;
  } catch {
    return null;
  }
}

/**
 * The SPIFFE ID of a token's service account. `now` is wall clock milliseconds. The error is a sentence for the log that repeats
 * nothing of the token. Never throws.
 */
export function identityOfToken(
  token: string,
  keys: readonly TokenKey[],
  rules: TokenRules,
  now: number,
): Result<string, string> {
  const parts = token.length > MAX_TOKEN_CHARS ? [] : token.split('.');
  const [head, body, signature] = parts;
  if (head === undefined || body === undefined || signature === undefined || parts.length !== 3)
    return err('is no JWT');
  if (!parts.every((part) => BASE64URL.test(part) && isCanonical(part))) return err('is not base64url');
  const header = parseObject(Buffer.from(head, 'base64url').toString());
  if (header === null || header['crit'] !== undefined) return err('has a header that is not understood');
  const signed = Buffer.from(`${head}.${body}`);
  const candidates = keys.filter(
    ({ algorithm, kid }) => algorithm === header['alg'] && (header['kid'] === undefined || kid === header['kid']),
  );
  if (!candidates.some((candidate) => isSigned(candidate, signed, Buffer.from(signature, 'base64url')))) {
    return err('is signed by no key of the JWKS');
  }
  const claims = parseObject(Buffer.from(body, 'base64url').toString());
  return claims === null
    ? err('has claims that are no JSON object')
    : judgeClaims(claims, rules, Math.floor(now / 1000));
}

function judgeClaims(claims: JsonObject, rules: TokenRules, now: number): Result<string, string> {
  const { aud, exp, nbf, iss, sub } = claims;
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud];
  if (!audiences.includes(rules.audience)) return err('is for another audience');
  if (rules.issuer !== null && iss !== rules.issuer) return err('is of another issuer');
  if (typeof exp !== 'number' || !Number.isSafeInteger(exp)) return err('has no expiry');
  if (exp + SKEW_S <= now) return err(`expired ${now - exp} s ago`);
  if (nbf !== undefined && !(typeof nbf === 'number' && Number.isSafeInteger(nbf) && nbf - SKEW_S <= now)) {
    return err('is not valid yet');
  }
  const account = typeof sub === 'string' ? SERVICE_ACCOUNT.exec(sub) : null;
  if (account === null) return err('is not of a service account');
  const id = parseSpiffeId(`spiffe://${rules.trustDomain}/ns/${account[1]}/sa/${account[2]}`);
  return id === null ? err('names a service account that makes no SPIFFE ID') : ok(id.uri);
}

function isSigned(candidate: TokenKey, data: Buffer, signature: Buffer): boolean {
  const { key } = candidate;
  return verify('sha256', data, candidate.algorithm === 'ES256' ? { key, dsaEncoding: 'ieee-p1363' } : key, signature);
}

/** One text for one byte string: no stray bits in the last character. */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}
