/**
 * What a leaf certificate may be used for, read from its KeyUsage and BasicConstraints extensions, which Node's
 * `X509Certificate` does not tell (its `ca` is false for a CA without keyCertSign).
 *
 * This only ever refuses more than OpenSSL did: OpenSSL lets a leaf through that is a CA or may sign certificates, which
 * an X.509-SVID must not (X509-SVID specification, sections 4.1 and 4.3), and one without digitalSignature where it has
 * keyAgreement. The walk goes over bytes that OpenSSL has parsed already; what it cannot follow it refuses.
 */

import { BIT_STRING, BOOLEAN, DerReader, OBJECT_ID, OCTET_STRING, SEQUENCE } from './verify-der.ts';

/** The explicit `[3]` that holds a certificate's extensions (RFC 5280 section 4.1). */
const EXTENSIONS = 0xa3;
/** 2.5.29.15 and 2.5.29.19 */
const KEY_USAGE_OID = Buffer.from([0x55, 0x1d, 0x0f]);
const BASIC_CONSTRAINTS_OID = Buffer.from([0x55, 0x1d, 0x13]);

const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;

export interface LeafUsage {
  /** BasicConstraints says CA:TRUE. */
  readonly ca: boolean;
  /** keyCertSign or cRLSign. */
  readonly signsCertificates: boolean;
  /** True without the extension: then every use is allowed (RFC 5280 section 4.2.1.3). */
  readonly digitalSignature: boolean;
}

/** The usage of a certificate in DER. Throws RangeError where the bytes are no certificate or an extension comes twice. */
export function leafUsage(der: Uint8Array): LeafUsage {
  let keyUsage: number | null = null;
  let ca: boolean | null = null;
  const tbs = new DerReader(der).enter(SEQUENCE).enter(SEQUENCE);
  while (!tbs.done()) {
    const field = tbs.next();
    if (field.tag !== EXTENSIONS) continue;
    const extensions = field.content.enter(SEQUENCE);
    while (!extensions.done()) {
      const extension = extensions.enter(SEQUENCE);
      const oid = extension.enter(OBJECT_ID);
      if (oid.holds(KEY_USAGE_OID)) {
        if (keyUsage !== null) throw new RangeError('two key usage extensions');
        keyUsage = valueOf(extension).enter(BIT_STRING).rest()[1] ?? 0;
      } else if (oid.holds(BASIC_CONSTRAINTS_OID)) {
        if (ca !== null) throw new RangeError('two basic constraints extensions');
        const constraints = valueOf(extension).enter(SEQUENCE);
        ca = !constraints.done() && saysTrue(constraints);
      }
    }
  }
  return {
    ca: ca === true,
    signsCertificates: keyUsage !== null && (keyUsage & (KEY_CERT_SIGN | CRL_SIGN)) !== 0,
    digitalSignature: keyUsage === null || (keyUsage & DIGITAL_SIGNATURE) !== 0,
  };
}

/** What stands in the OCTET STRING of an extension, after the optional `critical`. */
function valueOf(extension: DerReader): DerReader {
  let value = extension.next();
  if (value.tag === BOOLEAN) value = extension.next();
  if (value.tag !== OCTET_STRING) throw new RangeError('an extension without a value');
  return value.content;
}

function saysTrue(constraints: DerReader): boolean {
  const first = constraints.next();
  return first.tag === BOOLEAN && first.content.rest()[0] !== 0;
}
