/**
 * A certificate authority for workloads: a root, intermediates below it, and leaves with one SPIFFE ID each. P-256
 * throughout. Nothing here reads or writes files and nothing decides who may have which identity.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { err, ok, type Result } from '../shared/result.ts';
import { parseSpiffeId } from './identity.ts';
import { certificatesOf } from './identity-pem.ts';
import {
  type CertificateTemplate,
  commonName,
  emptyName,
  encodeCertificate,
  extensions,
  keyIdentifierOf,
  OID,
  pathLengthOf,
  randomSerial,
  subjectOf,
} from './issue-der.ts';

export const DAY_MS = 86_400_000;

/** Ten years: roots are replaced by hand, through a bundle of the old and the new one. */
const ROOT_LIFETIME_MS: number = 3650 * DAY_MS;

/** One year: an intermediate is renewed by the root's keeper, not by machines. */
const INTERMEDIATE_LIFETIME_MS: number = 365 * DAY_MS;

/** 24 hours, so that a stolen key is soon worthless and renewal is exercised every day. */
export const LEAF_LIFETIME_MS: number = DAY_MS;

/** Certificates begin two minutes back, so that a peer whose clock is behind accepts a fresh one. */
const BACKDATE_MS = 120_000;

/** A signing certificate with its key and the way up to the root. PEM throughout. */
export interface Authority {
  readonly certificate: string;
  readonly privateKey: string;
  /** What leaves carry after themselves: this certificate and the intermediates above it; empty for a root. */
  readonly chain: string;
  /** What the mesh must trust: the root, or several during a root rotation. */
  readonly trustBundle: string;
}

export interface AuthorityOptions {
  readonly commonName: string;
  /** Wall clock milliseconds. */
  readonly now: number;
  readonly lifetimeMs?: number;
  /** How many further CAs may follow below; without it any number. */
  readonly pathLength?: number;
}

export interface LeafOptions {
  readonly spiffeId: string;
  readonly dnsNames?: readonly string[];
  /** Wall clock milliseconds. */
  readonly now: number;
  readonly lifetimeMs?: number;
  /** The requester's key; a fresh P-256 pair is made without it. */
  readonly publicKey?: KeyObject;
}

export interface IssuedLeaf {
  /** Leaf first, then the intermediates up to but without the root. */
  readonly certificateChain: string;
  /** PKCS#8; empty where the requester holds it. */
  readonly privateKey: string;
  readonly trustBundle: string;
  readonly serialNumber: string;
  /** Wall clock milliseconds. */
  readonly notAfter: number;
}

/** A self-signed root. */
export function createRoot(options: AuthorityOptions): Authority {
  const pair = freshKeys();
  const name = commonName(options.commonName);
  const template = authorityTemplate(options, ROOT_LIFETIME_MS, pair.publicKey, name);
  const certificate = encodeCertificate({ ...template, issuer: name }, pair.privateKey);
  return { certificate, privateKey: exportKey(pair.privateKey), chain: '', trustBundle: certificate };
}

/**
 * May there be one more CA below this one? Its path length and those of all above it, up to the root, must leave room for
 * it (RFC 5280 section 4.2.1.9): otherwise every leaf that it signs is refused by every peer. The error is a sentence.
 */
export function mayHaveAuthorityBelow(authority: Authority): Result<null, string> {
  const path = certificatesOf(authority.chain) ?? [];
  if (path.length === 0) path.push(new X509Certificate(authority.certificate));
  const top = path.at(-1);
  // The chain of a foreign CA may end with the root. During a root rotation only the one that signed the chain counts.
  if (top?.checkIssued(top) === false) {
    const root = certificatesOf(authority.trustBundle)?.find((candidate) => top.checkIssued(candidate));
    if (root !== undefined) path.push(root);
  }
  for (const [below, certificate] of path.entries()) {
    const most = pathLengthOf(certificate);
    if (below < most) continue;
    const whose = below === 0 ? '' : ` of a CA above it, serial number ${certificate.serialNumber},`;
    return err(`a path length of ${most} (basicConstraints)${whose} forbids another CA below it`);
  }
  return ok(null);
}

/**
 * A CA below `parent`; by default it may sign leaves only. It never outlives its parent. Whether the parent may have one is
 * the caller's question (`mayHaveAuthorityBelow`).
 */
export function createIntermediate(parent: Authority, options: AuthorityOptions): Authority {
  const pair = freshKeys();
  const issuer = new X509Certificate(parent.certificate);
  const bounded = { pathLength: 0, ...options };
  const template = authorityTemplate(bounded, INTERMEDIATE_LIFETIME_MS, pair.publicKey, commonName(options.commonName));
  const certificate = encodeCertificate(
    {
      ...template,
      issuer: subjectOf(issuer),
      notAfter: Math.min(template.notAfter, issuer.validToDate.getTime()),
      extensions: [...template.extensions, extensions.authorityKeyIdentifier(keyIdentifierOf(issuer))],
    },
    createPrivateKey(parent.privateKey),
  );
  return {
    certificate,
    privateKey: exportKey(pair.privateKey),
    chain: certificate + parent.chain,
    trustBundle: parent.trustBundle,
  };
}

/**
 * A workload certificate: empty subject, one URI name, usable as TLS server and client. It never outlives its issuer.
 * The error is a sentence about what was asked for.
 */
export function issueLeaf(authority: Authority, options: LeafOptions): Result<IssuedLeaf, string> {
  const id = parseSpiffeId(options.spiffeId);
  if (id === null || id.path === '') {
    return err(`"${options.spiffeId}" is no workload's SPIFFE ID (spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT)`);
  }
  const badName = options.dnsNames?.find((name) => !isDnsName(name));
  if (badName !== undefined) return err(`"${badName}" is no DNS name`);
  const issuer = new X509Certificate(authority.certificate);
  if (issuer.validToDate.getTime() <= options.now) {
    return err(`the CA certificate expired at ${issuer.validToDate.toISOString()}`);
  }
  const pair = options.publicKey === undefined ? freshKeys() : { publicKey: options.publicKey, privateKey: null };
  const template = leafTemplate(options, issuer, pair.publicKey);
  const certificate = encodeCertificate(template, createPrivateKey(authority.privateKey));
  return ok({
    certificateChain: certificate + authority.chain,
    privateKey: pair.privateKey === null ? '' : exportKey(pair.privateKey),
    trustBundle: authority.trustBundle,
    serialNumber: template.serial.toString('hex').toUpperCase(),
    notAfter: template.notAfter,
  });
}

/** What `issueLeaf` signs; exported so that tests can bend single fields of it. */
export function leafTemplate(options: LeafOptions, issuer: X509Certificate, publicKey: KeyObject): CertificateTemplate {
  const notAfter = Math.min(options.now + (options.lifetimeMs ?? LEAF_LIFETIME_MS), issuer.validToDate.getTime());
  return {
    serial: randomSerial(),
    issuer: subjectOf(issuer),
    subject: emptyName(),
    notBefore: options.now - BACKDATE_MS,
    notAfter: wholeSecond(notAfter),
    publicKey,
    extensions: [
      extensions.basicConstraints(false),
      extensions.keyUsage(['digitalSignature']),
      extensions.extKeyUsage([OID.serverAuth, OID.clientAuth]),
      extensions.subjectKeyIdentifier(publicKey),
      extensions.authorityKeyIdentifier(keyIdentifierOf(issuer)),
      // Critical, as RFC 5280 section 4.2.1.6 wants it where the subject is empty.
      extensions.subjectAltName([options.spiffeId], options.dnsNames ?? [], true),
    ],
  };
}

/**
 * Puts an authority together from PEM, a foreign one too: `chain` is its certificate and the intermediates above it (a
 * lone root counts as both). The error is a sentence.
 */
export function loadAuthority(chain: string, privateKey: string, trustBundle: string): Result<Authority, string> {
  try {
    const certificate = new X509Certificate(chain);
    const key = createPrivateKey(privateKey);
    if (!certificate.ca) return err('the certificate is not one of a CA (basicConstraints CA:TRUE)');
    if (!certificate.checkPrivateKey(key)) return err('the private key does not belong to the CA certificate');
    if (key.asymmetricKeyType !== 'ec' && key.asymmetricKeyType !== 'rsa')
      return err('the CA key is neither EC nor RSA');
    const selfSigned = certificate.checkIssued(certificate);
    return ok({
      certificate: certificate.toString(),
      privateKey: exportKey(key),
      chain: selfSigned ? '' : chain,
      trustBundle,
    });
  } catch {
    return err('the CA certificate or key is no readable PEM');
  }
}

export function freshKeys(): { publicKey: KeyObject; privateKey: KeyObject } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { publicKey: createPublicKey(privateKey), privateKey };
}

export function exportKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' });
}

/** Host names of RFC 1123, a wildcard as first label allowed. */
function isDnsName(name: string): boolean {
  return (
    name.length <= 253 &&
    /^(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(name)
  );
}

function authorityTemplate(
  options: AuthorityOptions,
  lifetimeMs: number,
  publicKey: KeyObject,
  subject: CertificateTemplate['subject'],
): CertificateTemplate {
  return {
    serial: randomSerial(),
    issuer: subject,
    subject,
    notBefore: options.now - BACKDATE_MS,
    notAfter: wholeSecond(options.now + (options.lifetimeMs ?? lifetimeMs)),
    publicKey,
    extensions: [
      extensions.basicConstraints(true, options.pathLength),
      extensions.keyUsage(['keyCertSign', 'cRLSign']),
      extensions.subjectKeyIdentifier(publicKey),
    ],
  };
}

/** Certificates count whole seconds; what is told about one must be what is in it. */
function wholeSecond(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) * 1000;
}
