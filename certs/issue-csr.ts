/**
 * Certificate signing requests (PKCS #10, RFC 2986): made by a sidecar, read by the CA. The CA takes nothing from one but the
 * public key and the proof that its sender holds the private one; names in it are wishes and are not read.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { err, ok, type Result } from '../shared/result.ts';
import { context, emptyName, fromDer, integer, pem, sequence, signatureAlgorithm, signed } from './issue-der.ts';
import { BIT_STRING, DerReader, INTEGER, OBJECT_ID, SEQUENCE } from './verify-der.ts';
import { weaknessOf } from './verify-leaf.ts';

/** Where a CA takes requests by POST. */
export const CA_PATH = '/v1/certificates';

/** A request for an RSA-8192 key with attributes stays below. */
const MAX_CSR_CHARS = 16_384;

/** Signature algorithms by the hex of their identifiers (RFC 5758 section 3.2, RFC 8017 appendix A.2.4). */
const DIGEST_OF_ALGORITHM: ReadonlyMap<string, string> = new Map([
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
]);

/** A request without a name for a key pair, PEM. */
export function createCsr(keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }): string {
  const body = sequence([
    integer(Buffer.from([0])),
    emptyName(),
    fromDer(keys.publicKey.export({ type: 'spki', format: 'der' })),
    context(0, []),
  ]);
  return pem('CERTIFICATE REQUEST', signed(body, signatureAlgorithm(keys.privateKey), keys.privateKey));
}

/** The public key of a request whose signature proves the private one. The error is a sentence. Never throws. */
export function readCsr(text: string): Result<KeyObject, string> {
  if (text.length > MAX_CSR_CHARS) return err('the certificate request is too long');
  const body = /-----BEGIN CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----/.exec(
    text,
  )?.[1];
  if (body === undefined) return err('there is no PEM certificate request');
  try {
    return keyOf(Buffer.from(body, 'base64'));
  } catch {
    return err('the certificate request cannot be read');
  }
}

function keyOf(der: Buffer): Result<KeyObject, string> {
  const request = new DerReader(der).enter(SEQUENCE);
  const signedBytes = request.raw();
  const algorithm = Buffer.from(request.enter(SEQUENCE).enter(OBJECT_ID).rest()).toString('hex');
  const signature = request.enter(BIT_STRING).rest().subarray(1);

  const fields = new DerReader(signedBytes).enter(SEQUENCE);
  fields.enter(INTEGER);
  fields.enter(SEQUENCE);
  const key = createPublicKey({ key: Buffer.from(fields.raw()), type: 'spki', format: 'der' });

  const digest = DIGEST_OF_ALGORITHM.get(algorithm);
  if (digest === undefined) return err('the certificate request is signed with an algorithm that is not accepted');
  const weakness = weaknessOf(key);
  if (weakness !== null) return err(weakness);
  if (!verify(digest, signedBytes, key, signature))
    return err('the certificate request is not signed with its own key');
  return ok(key);
}
