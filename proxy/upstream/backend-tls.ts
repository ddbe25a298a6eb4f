/**
 * Ordinary TLS to a Service's endpoints (BackendTLSPolicy): OpenSSL judges the chain by the policy's CAs, and one of the
 * policy's names must be in the certificate. Made once per cluster and policy; contexts are built at the first dial.
 */
import { createHash, type X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, getCACertificates, type SecureContext, type TLSSocket } from 'node:tls';
import { uriSans } from '../../certs/identity.ts';
import { failureOf, REASON_OF_OPENSSL } from '../../certs/verify-reasons.ts';
import type { Clock } from '../../shared/clock.ts';
import { FAILURES } from '../../shared/errors.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { detailOf, type MeshPeer } from '../net/mesh-tls.ts';
import type { SessionTicket } from './endpoint.ts';
import { resumed } from './mesh-dial.ts';
import type { Refusal, SecureDial } from './secure-dial.ts';
import type { AppProtocol, BackendTlsSpec } from './spec.ts';

/** How often the files of a client certificate are looked at again, milliseconds: a rotated one is used that soon. */
const LOOK_AGAIN_MS = 10_000;

interface Material {
  readonly context: SecureContext;
  /** Of what is trusted, and of the client certificate. */
  readonly trustHash: string;
  readonly ownFingerprint: string;
  /** State of the client certificate's files. */
  readonly files: string;
}

export class BackendTls {
  private readonly spec: BackendTlsSpec;
  private readonly clock: Clock;
  private material: Material | null = null;
  private lookedAt = Number.NEGATIVE_INFINITY;

  constructor(spec: BackendTlsSpec, clock: Clock) {
    this.spec = spec;
    this.clock = clock;
  }

  /** A dial that offers these tokens; why there is none where the client certificate cannot be used. */
  dial(alpn: readonly string[]): SecureDial | Refusal {
    try {
      return new BackendDial(this.spec, this.current(), alpn);
    } catch (error) {
      const detail = error instanceof Error ? detailOf(error) : String(error);
      return { failure: FAILURES.clientCertificate, detail: `${this.spec.source.name}: ${detail}` };
    }
  }

  /** A certificate that was replaced by half of one, or by none, leaves the last good one in use. */
  private current(): Material {
    const { material, clock, spec } = this;
    const now = clock.now();
    if (material !== null && (spec.clientCertificate === null || now - this.lookedAt < LOOK_AGAIN_MS)) return material;
    this.lookedAt = now;
    try {
      const files = stateOf(spec.clientCertificate);
      if (material?.files !== files) this.material = load(spec, files);
    } catch (error) {
      if (material === null) throw error;
    }
    return this.material as Material;
  }
}

/** The tokens to offer a port of this protocol for a request of a caller that speaks HTTP/1 or HTTP/2. */
export function backendAlpn(protocol: AppProtocol, lane: 'h1' | 'h2'): readonly string[] {
  if (protocol === 'http2' || protocol === 'grpc') return H2;
  return protocol === 'http' || lane === 'h1' ? H1 : EITHER;
}

const H1: readonly string[] = ['http/1.1'];
const H2: readonly string[] = ['h2'];
const EITHER: readonly string[] = ['h2', 'http/1.1'];

function load(spec: BackendTlsSpec, files: string): Material {
  const { certificates, clientCertificate, serverName, names } = spec;
  const own =
    clientCertificate === null
      ? {}
      : { cert: readFileSync(clientCertificate.certificate), key: readFileSync(clientCertificate.privateKey) };
  const ca = certificates === '' ? systemCertificates() : [certificates];
  return {
    context: createSecureContext({ ca, minVersion: 'TLSv1.2', ...own }),
    trustHash: hash(JSON.stringify([serverName, names, ca])),
    ownFingerprint: own.cert === undefined ? '' : hash(own.cert),
    files,
  };
}

/** What the host trusts; where it says nothing, as in a small image, the list that Node brings. */
function systemCertificates(): string[] {
  const system = getCACertificates('system');
  return system.length > 0 ? system : getCACertificates('default');
}

function stateOf(files: BackendTlsSpec['clientCertificate']): string {
  if (files === null) return '';
  return [files.certificate, files.privateKey]
    .map((path) => statSync(path))
    .map(({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`)
    .join(', ');
}

function hash(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

class BackendDial implements SecureDial {
  readonly secureContext: SecureContext;
  readonly serverName: string;
  readonly alpn: readonly string[];
  readonly trustHash: string;
  readonly ownFingerprint: string;
  readonly ofMesh = false;
  private readonly spec: BackendTlsSpec;

  constructor(spec: BackendTlsSpec, { context, trustHash, ownFingerprint }: Material, alpn: readonly string[]) {
    this.secureContext = context;
    this.serverName = spec.serverName;
    this.alpn = alpn;
    this.trustHash = trustHash;
    this.ownFingerprint = ownFingerprint;
    this.spec = spec;
  }

  identify(socket: TLSSocket, ticket: SessionTicket | null): Result<MeshPeer, Refusal> {
    if (ticket !== null) return ok(resumed(socket, ticket));
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return this.refuse('upstreamBadCertificate', 'no certificate was presented');
    // A code such as CERT_HAS_EXPIRED, whatever the typings say.
    const word: unknown = socket.authorizationError;
    if (typeof word === 'string') {
      const failure = failureOf('server', REASON_OF_OPENSSL.get(word) ?? 'chain_refused');
      return err({ failure, detail: `${this.spec.source.name}: OpenSSL refuses the certificate chain: ${word}` });
    }
    if (!this.spec.names.some((name) => hasName(certificate, name))) {
      const wanted = this.spec.names.map(({ value }) => value).join(' or ');
      return this.refuse('upstreamWrongName', `the certificate has not the name ${wanted}`);
    }
    const notAfter = certificate.validToDate.getTime();
    return ok({
      spiffeId: '',
      certificateHash: '',
      notAfter,
      bundleHash: this.trustHash,
      alpn: socket.alpnProtocol || '',
    });
  }

  private refuse(row: 'upstreamBadCertificate' | 'upstreamWrongName', text: string): Result<MeshPeer, Refusal> {
    return err({ failure: FAILURES[row], detail: `${this.spec.source.name}: ${text}` });
  }
}

/**
 * Host names by OpenSSL's rules (X509_check_host): subjectAltName alone, a certificate's own `*.` for one label. A policy's
 * `*.` stands for one label too, which OpenSSL asks for by a leading dot. URIs byte for byte.
 */
function hasName(certificate: X509Certificate, { type, value }: BackendTlsSpec['names'][number]): boolean {
  if (type === 'URI') return uriSans(certificate)?.includes(value) === true;
  const name = value.startsWith('*.') ? value.slice(1) : value;
  const options = { subject: 'never', partialWildcards: false, singleLabelSubdomains: true } as const;
  return certificate.checkHost(name, options) !== undefined;
}
