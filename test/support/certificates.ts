/** A CA for tests: good identities for everybody, and certificates that are wrong in exactly one way. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Identity } from '../../certs/identity.ts';
import { identityFromPem } from '../../certs/identity-pem.ts';
import {
  type Authority,
  createIntermediate,
  createRoot,
  DAY_MS,
  exportKey,
  freshKeys,
  issueLeaf,
  leafTemplate,
} from '../../certs/issue.ts';
import {
  type CertificateTemplate,
  commonName,
  type Extension,
  encodeCertificate,
  extensions,
  keyIdentifier,
  OID,
  subjectOf,
} from '../../certs/issue-der.ts';
import type { RefusalReason } from '../../certs/verify-reasons.ts';
import type { FailureName } from '../../shared/errors.ts';

export interface TestIdentityOptions {
  readonly dnsNames?: readonly string[];
  /** Wall clock milliseconds; the system's without it. */
  readonly now?: number;
  readonly lifetimeMs?: number;
  /** What the identity trusts, PEM; the CA's own bundle without it. */
  readonly trustBundle?: string;
}

/** One root, from which identities come. */
export class TestCa {
  readonly authority: Authority;

  constructor(name = 'test root', now: number = Date.now()) {
    this.authority = createRoot({ commonName: name, now });
  }

  get trustBundle(): string {
    return this.authority.trustBundle;
  }

  /** A CA below this one, with which `issue` and `identity` work too. */
  intermediate(name = 'test intermediate'): TestCa {
    const below = createIntermediate(this.authority, { commonName: name, now: Date.now() });
    return Object.assign(Object.create(TestCa.prototype) as TestCa, { authority: below });
  }

  /** A full SPIFFE ID, or `NAMESPACE/ACCOUNT` in `cluster.local`. Throws where weft itself would refuse it. */
  identity(name: string, options: TestIdentityOptions = {}): Identity {
    const spiffeId = spiffeIdOf(name);
    const leaf = issueLeaf(this.authority, {
      spiffeId,
      now: options.now ?? Date.now(),
      dnsNames: options.dnsNames ?? [],
      lifetimeMs: options.lifetimeMs ?? DAY_MS,
    });
    if (!leaf.ok) throw new Error(leaf.error);
    const { certificateChain: certificate, privateKey: key, trustBundle } = leaf.value;
    const identity = identityFromPem({ certificate, key, bundle: options.trustBundle ?? trustBundle });
    if (!identity.ok) throw new Error(identity.error.message);
    return identity.value;
  }

  /** A leaf with these URI names, whatever they are. */
  withUris(uris: readonly string[]): KeyedCertificate {
    return this.bent(withSan(uris, []));
  }

  x509WithUris(uris: readonly string[]): X509Certificate {
    return new X509Certificate(this.withUris(uris).certificate);
  }

  /** A leaf whose template was bent; with its key, PEM. */
  bent(bend: (template: CertificateTemplate) => CertificateTemplate, keys: KeyPair = freshKeys()): KeyedCertificate {
    const issuer = new X509Certificate(this.authority.certificate);
    const template = leafTemplate({ spiffeId: spiffeIdOf('shop/cart'), now: Date.now() }, issuer, keys.publicKey);
    const certificate = encodeCertificate(bend(template), createPrivateKey(this.authority.privateKey));
    return { certificate: certificate + this.authority.chain, key: exportKey(keys.privateKey) };
  }
}

export interface KeyedCertificate {
  /** PEM, leaf first. */
  readonly certificate: string;
  readonly key: string;
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export function spiffeIdOf(name: string): string {
  if (name.startsWith('spiffe://')) return name;
  const [namespace, account] = name.split('/');
  return `spiffe://cluster.local/ns/${namespace}/sa/${account}`;
}

/** Writes `tls.crt`, `tls.key` and `ca.crt`, each by rename, in that order. */
export function writeIdentity(dir: string, identity: Identity): void {
  mkdirSync(dir, { recursive: true });
  const files = {
    'tls.crt': identity.certificateChain,
    'tls.key': identity.privateKey,
    'ca.crt': identity.trustBundle,
  };
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(dir, `.${name}.new`), text, { mode: 0o600 });
    renameSync(join(dir, `.${name}.new`), join(dir, name));
  }
}

/** A peer that must be refused, with what it must be told. */
export interface BadPeer {
  /** What is wrong, as the end of "a peer …". */
  readonly name: string;
  /** Absent: it presents none. */
  readonly credentials: KeyedCertificate | null;
  readonly reason: RefusalReason;
  readonly failure: FailureName;
}

/** Every kind of bad peer, for a server that trusts `ca` with trust domain `cluster.local`. */
export function badPeers(ca: TestCa): BadPeer[] {
  const now = Date.now();
  const rsa1024 = (): KeyPair => generateKeyPairSync('rsa', { modulusLength: 1024 });
  const san = (...uris: string[]): KeyedCertificate => ca.withUris(uris);
  const peers: BadPeer[] = [];
  const add = (
    failure: FailureName,
    reason: RefusalReason,
    name: string,
    credentials: KeyedCertificate | null,
  ): number => peers.push({ name, credentials, reason, failure });

  add('peerNoCertificate', 'no_certificate', 'without a certificate', null);

  add('peerUntrusted', 'unknown_ca', 'of another CA', new TestCa('other root').bent(same));
  add('peerUntrusted', 'unknown_ca', 'of another CA that has the name of ours', new TestCa('test root').bent(same));
  add('peerUntrusted', 'self_signed', 'whose leaf is self-signed', selfSigned());
  add('peerUntrusted', 'unknown_ca', 'of an intermediate that it does not send', withoutIntermediate(ca));
  add('peerUntrusted', 'unknown_ca', 'that sends its own root along', withOwnRoot());
  add('peerUntrusted', 'bad_signature', 'whose certificate was tampered with', tampered(ca));
  add('peerUntrusted', 'unknown_ca', 'whose authority key identifier names another key', wrongKeyIdentifier(ca));

  add('peerExpired', 'expired', 'whose certificate has expired', ca.bent(valid(now - 2 * DAY_MS, now - DAY_MS)));
  add('peerExpired', 'expired', 'whose certificate has just expired', ca.bent(valid(now - DAY_MS, now - 5000)));
  add('peerExpired', 'chain_expired', 'whose intermediate has expired', expiredIntermediate(ca, now));
  add('peerNotYetValid', 'not_yet_valid', 'whose clock is ahead', ca.bent(valid(now + 60_000, now + DAY_MS)));
  add('peerNotYetValid', 'chain_not_yet_valid', 'whose intermediate is not valid yet', futureIntermediate(ca, now));

  add('peerBadCertificate', 'wrong_purpose', 'that may only be a server', ca.bent(withUsage([OID.serverAuth])));
  add('peerBadCertificate', 'wrong_purpose', 'that may only encipher keys', ca.bent(withBits(['keyEncipherment'])));
  add('peerBadCertificate', 'no_digital_signature', 'that may only agree on keys', ca.bent(withBits(['keyAgreement'])));
  add(
    'peerBadCertificate',
    'signs_certificates',
    'whose leaf may sign certificates',
    ca.bent(withBits(['digitalSignature', 'keyCertSign'])),
  );
  add('peerBadCertificate', 'is_a_ca', 'whose leaf is a CA', ca.bent(replace(extensions.basicConstraints(true))));
  add('peerBadCertificate', 'weak_key', 'with an RSA key of 1024 bits', ca.bent(same, rsa1024()));
  add('peerBadCertificate', 'chain_too_long', 'with five intermediates', longChain(ca, 5));
  add('peerBadCertificate', 'path_length', 'below an intermediate that may sign leaves only', pathLength(ca));
  add('peerBadCertificate', 'chain_refused', 'signed by a leaf', signedByLeaf(ca));
  add('peerBadCertificate', 'chain_refused', 'with an unknown critical extension', ca.bent(unknownCritical));

  add('peerBadIdentity', 'no_uri_san', 'without any SAN', ca.bent(without(OID.subjectAltName)));
  add('peerBadIdentity', 'no_uri_san', 'with a DNS name only', ca.bent(withSan([], ['cart.shop.svc.cluster.local'])));
  add(
    'peerBadIdentity',
    'several_uri_sans',
    'with two SPIFFE IDs',
    san('spiffe://cluster.local/ns/shop/sa/cart', 'spiffe://cluster.local/ns/shop/sa/pay'),
  );
  add(
    'peerBadIdentity',
    'several_uri_sans',
    'with a SPIFFE ID and another URI',
    san('https://example.com/', 'spiffe://cluster.local/ns/shop/sa/cart'),
  );
  for (const [name, uri] of BAD_NAMES) add('peerBadIdentity', 'no_spiffe_id', name, san(uri));
  add('peerBadIdentity', 'no_workload_path', 'named as the trust domain itself', san('spiffe://cluster.local'));
  add(
    'peerNotAllowed',
    'foreign_trust_domain',
    'of another trust domain',
    san('spiffe://other.example/ns/shop/sa/cart'),
  );
  return peers;
}

/** Names that look like a SPIFFE ID of `cluster.local` to a careless reader. */
export const BAD_NAMES: readonly (readonly [string, string])[] = [
  ['with a NUL in its name', 'spiffe://cluster.local/ns/shop/sa/cart\0.evil'],
  ['with a Unicode dot in its name', 'spiffe://cluster\u00b7local/ns/shop/sa/cart'],
  ['with a port in its name', 'spiffe://cluster.local:443/ns/shop/sa/cart'],
  ['with a query in its name', 'spiffe://cluster.local/ns/shop/sa/cart?x=1'],
  ['with a fragment in its name', 'spiffe://cluster.local/ns/shop/sa/cart#x'],
  ['with a user in its name', 'spiffe://admin@cluster.local/ns/shop/sa/cart'],
  ['with a percent escape in its name', 'spiffe://cluster.local/ns/shop/sa/c%61rt'],
  ['with a dot segment in its name', 'spiffe://cluster.local/ns/shop/../pay/sa/cart'],
  ['with an empty segment in its name', 'spiffe://cluster.local//ns/shop/sa/cart'],
  ['with a slash at the end of its name', 'spiffe://cluster.local/ns/shop/sa/cart/'],
  ['with capitals in its trust domain', 'spiffe://Cluster.Local/ns/shop/sa/cart'],
  ['with a comma and a second name in its name', 'spiffe://cluster.local/a, URI:spiffe://cluster.local/b'],
  ['with a quote in its name', 'spiffe://cluster.local/ns/shop/sa/"cart"'],
  ['with another scheme', 'https://cluster.local/ns/shop/sa/cart'],
];

function same(template: CertificateTemplate): CertificateTemplate {
  return template;
}

type Bend = (template: CertificateTemplate) => CertificateTemplate;

function replace(extension: Extension): Bend {
  return (template) => ({
    ...template,
    extensions: template.extensions.map((old) => (old.oid === extension.oid ? extension : old)),
  });
}

function without(oid: string): Bend {
  return (template) => ({ ...template, extensions: template.extensions.filter((old) => old.oid !== oid) });
}

function withSan(uris: readonly string[], dnsNames: readonly string[]): Bend {
  return replace(extensions.subjectAltName(uris, dnsNames, true));
}

function withUsage(oids: readonly string[]): Bend {
  return replace(extensions.extKeyUsage(oids));
}

function withBits(usages: Parameters<typeof extensions.keyUsage>[0]): Bend {
  return replace(extensions.keyUsage(usages));
}

function valid(notBefore: number, notAfter: number): Bend {
  return (template) => ({ ...template, notBefore, notAfter });
}

function unknownCritical(template: CertificateTemplate): CertificateTemplate {
  const unknown = { ...extensions.extKeyUsage([OID.clientAuth]), oid: '1.2.3.4.5', critical: true };
  return { ...template, extensions: [...template.extensions, unknown] };
}

function selfSigned(): KeyedCertificate {
  const keys = freshKeys();
  const issuer = new X509Certificate(new TestCa().authority.certificate);
  const template = leafTemplate({ spiffeId: spiffeIdOf('shop/cart'), now: Date.now() }, issuer, keys.publicKey);
  const name = commonName('nobody but me');
  const identifier = extensions.authorityKeyIdentifier(keyIdentifier(keys.publicKey));
  const certificate = encodeCertificate(
    replace(identifier)({ ...template, issuer: name, subject: name }),
    keys.privateKey,
  );
  return { certificate, key: exportKey(keys.privateKey) };
}

function withoutIntermediate(ca: TestCa): KeyedCertificate {
  const peer = ca.intermediate().bent(same);
  return { ...peer, certificate: new X509Certificate(peer.certificate).toString() };
}

function withOwnRoot(): KeyedCertificate {
  const stranger = new TestCa('own root');
  const peer = stranger.bent(same);
  return { ...peer, certificate: peer.certificate + stranger.trustBundle };
}

/** One letter of the SPIFFE ID is another one than was signed. */
function tampered(ca: TestCa): KeyedCertificate {
  const peer = ca.bent(same);
  const der = Buffer.from(new X509Certificate(peer.certificate).raw);
  der.write('b', der.indexOf('sa/cart') + 'sa/'.length);
  const certificate = new X509Certificate(der).toString();
  return { ...peer, certificate };
}

function wrongKeyIdentifier(ca: TestCa): KeyedCertificate {
  return ca.bent(replace(extensions.authorityKeyIdentifier(keyIdentifier(freshKeys().publicKey))));
}

function expiredIntermediate(ca: TestCa, now: number): KeyedCertificate {
  return belowBent(ca, valid(now - 2 * DAY_MS, now - DAY_MS));
}

function futureIntermediate(ca: TestCa, now: number): KeyedCertificate {
  return belowBent(ca, valid(now + DAY_MS / 2, now + DAY_MS));
}

/** A good leaf below an intermediate that was bent. */
function belowBent(ca: TestCa, bend: Bend): KeyedCertificate {
  const keys = freshKeys();
  const intermediate = ca.bent(
    (template) =>
      bend({
        ...template,
        subject: commonName('bent intermediate'),
        extensions: [
          extensions.basicConstraints(true),
          extensions.keyUsage(['keyCertSign']),
          extensions.subjectKeyIdentifier(keys.publicKey),
        ],
      }),
    keys,
  );
  return signedBy(intermediate);
}

function signedByLeaf(ca: TestCa): KeyedCertificate {
  return signedBy(ca.bent((template) => ({ ...template, subject: commonName('a leaf with a name') })));
}

function signedBy(issuer: KeyedCertificate): KeyedCertificate {
  const keys = freshKeys();
  const certificate = new X509Certificate(issuer.certificate);
  const template = leafTemplate({ spiffeId: spiffeIdOf('shop/cart'), now: Date.now() }, certificate, keys.publicKey);
  const leaf = encodeCertificate(
    { ...template, issuer: subjectOf(certificate), notAfter: Date.now() + DAY_MS },
    createPrivateKey(issuer.key),
  );
  return { certificate: leaf + issuer.certificate, key: exportKey(keys.privateKey) };
}

function longChain(ca: TestCa, intermediates: number): KeyedCertificate {
  let { authority } = ca;
  for (let i = 0; i < intermediates; i++) {
    const pathLength = intermediates - i;
    authority = createIntermediate(authority, { commonName: `intermediate ${i}`, now: Date.now(), pathLength });
  }
  return leafOf(authority);
}

function pathLength(ca: TestCa): KeyedCertificate {
  const now = Date.now();
  const first = createIntermediate(ca.authority, { commonName: 'leaves only', now, pathLength: 0 });
  return leafOf(createIntermediate(first, { commonName: 'one too many', now, pathLength: 0 }));
}

function leafOf(authority: Authority): KeyedCertificate {
  const leaf = issueLeaf(authority, { spiffeId: spiffeIdOf('shop/cart'), now: Date.now() });
  if (!leaf.ok) throw new Error(leaf.error);
  return { certificate: leaf.value.certificateChain, key: leaf.value.privateKey };
}
