/**
 * X.509 v3 certificates written field by field (RFC 5280 section 4), since node-forge's own builder knows only RSA. forge
 * does the ASN.1, node:crypto keys and signatures. For certificates that weft makes; peers' are read by OpenSSL alone.
 */
import { createHash, type KeyObject, randomBytes, sign, type X509Certificate } from 'node:crypto';
import forge from 'node-forge';

const { asn1 } = forge;
export type Asn1 = forge.asn1.Asn1;

/** Object identifiers in dotted form (RFC 5280 appendix A, RFC 5758 section 3.2). */
export const OID = {
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extKeyUsage: '2.5.29.37',
  subjectAltName: '2.5.29.17',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  extensionRequest: '1.2.840.113549.1.9.14',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  sha256WithRsa: '1.2.840.113549.1.1.11',
} as const;

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Asn1;
}

/** forge types every tag by its names of the universal ones; a context-specific tag only borrows the number. */
const CONTEXT_TAG: Readonly<Record<ContextTag, forge.asn1.Type>> = {
  0: asn1.Type.NONE,
  2: asn1.Type.INTEGER,
  3: asn1.Type.BITSTRING,
  6: asn1.Type.OID,
};
type ContextTag = 0 | 2 | 3 | 6;

/** Everything of a certificate that the signer decides. Times are wall clock milliseconds. */
export interface CertificateTemplate {
  readonly serial: Buffer;
  /** A Name (RFC 5280 section 4.1.2.4): made by `commonName`, or copied from the issuer by `subjectOf`. */
  readonly issuer: Asn1;
  readonly subject: Asn1;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Extension[];
}

/** Bits of KeyUsage in the order of RFC 5280 section 4.2.1.3. */
const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

/** The signed certificate as PEM. */
export function encodeCertificate(template: CertificateTemplate, signingKey: KeyObject): string {
  const algorithm = signatureAlgorithm(signingKey);
  const tbs = sequence([
    context(0, [integer(Buffer.from([2]))]),
    integer(template.serial),
    algorithm,
    template.issuer,
    sequence([time(template.notBefore), time(template.notAfter)]),
    template.subject,
    fromDer(template.publicKey.export({ type: 'spki', format: 'der' })),
    context(3, [sequence(template.extensions.map(extension))]),
  ]);
  return pem('CERTIFICATE', signed(tbs, algorithm, signingKey));
}

/** SEQUENCE { body, algorithm, BIT STRING signature }: the frame of certificates and of CSRs. */
export function signed(body: Asn1, algorithm: Asn1, key: KeyObject): Buffer {
  const signature = sign('sha256', toDer(body), key.asymmetricKeyType === 'ec' ? { key, dsaEncoding: 'der' } : { key });
  return toDer(sequence([body, algorithm, bitString(signature)]));
}

/** ECDSA or RSA with SHA-256. Throws for other keys: a CA key of another kind is refused where it is loaded. */
export function signatureAlgorithm(key: KeyObject): Asn1 {
  if (key.asymmetricKeyType === 'ec') return sequence([objectId(OID.ecdsaWithSha256)]);
  if (key.asymmetricKeyType === 'rsa') return sequence([objectId(OID.sha256WithRsa), primitive(asn1.Type.NULL, '')]);
  throw new Error(`no signature algorithm for a key of type ${key.asymmetricKeyType ?? 'secret'}`);
}

/** 128 random bits, positive and never zero (RFC 5280 section 4.1.2.2 wants at most 20 octets). */
export function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

export function commonName(name: string): Asn1 {
  const attribute = sequence([
    objectId(OID.commonName),
    primitive(asn1.Type.UTF8, Buffer.from(name).toString('latin1')),
  ]);
  return sequence([asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [attribute])]);
}

export function emptyName(): Asn1 {
  return sequence([]);
}

/** The subject of a CA certificate byte for byte, as its children must repeat it. */
export function subjectOf(certificate: X509Certificate): Asn1 {
  const subject = tbsFields(certificate)[5];
  if (subject === undefined) throw new Error('the CA certificate has no subject field');
  return subject;
}

/** The key identifier of a CA as its children must name it: its own extension, else the usual hash of its key. */
export function keyIdentifierOf(certificate: X509Certificate): Buffer {
  const identifier = extensionOf(certificate, OID.subjectKeyIdentifier)?.value;
  return typeof identifier === 'string' ? Buffer.from(identifier, 'latin1') : keyIdentifier(certificate.publicKey);
}

/** How many further CAs may follow below this one (RFC 5280 section 4.2.1.9); infinite where it does not say. */
export function pathLengthOf(certificate: X509Certificate): number {
  const last = children(extensionOf(certificate, OID.basicConstraints)).at(-1);
  if (last?.type !== asn1.Type.INTEGER || typeof last.value !== 'string') return Number.POSITIVE_INFINITY;
  return Number(`0x${Buffer.from(last.value, 'latin1').toString('hex')}`);
}

/** What an extension of a certificate says; undefined where it has none of this kind. */
function extensionOf(certificate: X509Certificate, wanted: string): Asn1 | undefined {
  for (const field of tbsFields(certificate)) {
    if (field.tagClass !== asn1.Class.CONTEXT_SPECIFIC || field.type !== CONTEXT_TAG[3]) continue;
    for (const entry of children(children(field)[0])) {
      const parts = children(entry);
      const oid = parts[0]?.value;
      const value = parts.at(-1)?.value;
      if (typeof oid === 'string' && asn1.derToOid(oid) === wanted && typeof value === 'string')
        return fromDer(Buffer.from(value, 'latin1'));
    }
  }
  return undefined;
}

/** A name for a key, not a security measure: hash over the SubjectPublicKeyInfo (RFC 7093 section 2, method 4), 160 bits. */
export function keyIdentifier(key: KeyObject): Buffer {
  const spki = key.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}

export const extensions = {
  basicConstraints(ca: boolean, pathLength?: number): Extension {
    const fields = ca ? [primitive(asn1.Type.BOOLEAN, '\xff')] : [];
    if (pathLength !== undefined) fields.push(integer(Buffer.from([pathLength])));
    return { oid: OID.basicConstraints, critical: true, value: sequence(fields) };
  },

  keyUsage(usages: readonly KeyUsage[]): Extension {
    let bits = 0;
    for (const usage of usages) bits |= 0x80 >> KEY_USAGES.indexOf(usage);
    const unused = bits === 0 ? 0 : 31 - Math.clz32(bits & -bits);
    const value = primitive(asn1.Type.BITSTRING, String.fromCharCode(unused, bits));
    return { oid: OID.keyUsage, critical: true, value };
  },

  extKeyUsage(oids: readonly string[]): Extension {
    return { oid: OID.extKeyUsage, critical: false, value: sequence(oids.map(objectId)) };
  },

  subjectKeyIdentifier(key: KeyObject): Extension {
    const value = octetString(keyIdentifier(key));
    return { oid: OID.subjectKeyIdentifier, critical: false, value };
  },

  authorityKeyIdentifier(identifier: Buffer): Extension {
    const value = sequence([contextPrimitive(0, identifier.toString('latin1'))]);
    return { oid: OID.authorityKeyIdentifier, critical: false, value };
  },

  /** Names as Latin-1 text, byte for byte: what is legal in them is the caller's affair. */
  subjectAltName(uris: readonly string[], dnsNames: readonly string[], critical: boolean): Extension {
    const names = [
      ...uris.map((uri) => contextPrimitive(6, uri)),
      ...dnsNames.map((name) => contextPrimitive(2, name)),
    ];
    return { oid: OID.subjectAltName, critical, value: sequence(names) };
  },
};

export function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').replace(/(.{64})(?!$)/g, '$1\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** Throws for what is not DER. */
export function fromDer(der: Buffer): Asn1 {
  return asn1.fromDer(der.toString('latin1'));
}

function toDer(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1');
}

export function sequence(values: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, values);
}

export function set(values: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, values);
}

/** A constructed context-specific value, as the explicit tags `[0]` and `[3]` of a certificate. */
export function context(tag: ContextTag, values: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, CONTEXT_TAG[tag], true, values);
}

export function integer(value: Buffer): Asn1 {
  return primitive(asn1.Type.INTEGER, value.toString('latin1'));
}

function objectId(oid: string): Asn1 {
  return primitive(asn1.Type.OID, asn1.oidToDer(oid).getBytes());
}

/** The values inside a constructed one; empty for a primitive one. */
export function children(value: Asn1 | undefined): Asn1[] {
  return value !== undefined && Array.isArray(value.value) ? value.value : [];
}

/** SEQUENCE { oid, critical?, OCTET STRING { value } } (RFC 5280 section 4.2). */
export function extension(from: Extension): Asn1 {
  const critical = from.critical ? [primitive(asn1.Type.BOOLEAN, '\xff')] : [];
  return sequence([objectId(from.oid), ...critical, octetString(toDer(from.value))]);
}

function primitive(type: forge.asn1.Type, value: string): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, value);
}

function contextPrimitive(tag: ContextTag, value: string): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, CONTEXT_TAG[tag], false, value);
}

function octetString(value: Buffer): Asn1 {
  return primitive(asn1.Type.OCTETSTRING, value.toString('latin1'));
}

function bitString(value: Buffer): Asn1 {
  return primitive(asn1.Type.BITSTRING, `\0${value.toString('latin1')}`);
}

/** UTCTime until 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5); whole seconds. */
export function time(milliseconds: number): Asn1 {
  const date = new Date(milliseconds);
  if (date.getUTCFullYear() < 2050) return primitive(asn1.Type.UTCTIME, asn1.dateToUtcTime(date));
  return primitive(asn1.Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date));
}

function tbsFields(certificate: X509Certificate): Asn1[] {
  return children(children(fromDer(certificate.raw))[0]);
}
