/**
 * Identity from the SPIFFE Workload API, as SPIRE's agent serves it: one gRPC stream over a Unix socket, on which the agent
 * sends every new generation. It renews; weft listens, and asks again with backoff when the stream ends.
 *
 * Bundles of federated trust domains (field 3) are not taken: OpenSSL knows one pool of roots, in which a foreign root could
 * sign names of the own trust domain.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { parseHostPort } from '../../shared/address.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import type { Random } from '../../shared/random.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import type { CertificateProblem, Identity } from '../identity.ts';
import { identityFromPem } from '../identity-pem.ts';
import { DerReader } from '../verify-der.ts';
import { Backoff } from './backoff.ts';
import { type IdentitySource, sameIdentity, validityProblem } from './source.ts';
import { decodeX509SvidResponse, GrpcFrames, grpcFrame, type X509Svid } from './workload-proto.ts';

export interface WorkloadApiOptions {
  /** `unix:///PATH` or `tcp://IP:PORT` (SPIFFE Workload Endpoint, section 4), as `SPIFFE_ENDPOINT_SOCKET` gives it. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** SPIFFE Workload API, section 5.1; the header keeps requests out that somebody was tricked into sending. */
const PATH = '/SpiffeWorkloadAPI/FetchX509SVID';
const SECURITY_HEADER = 'workload.spiffe.io';

/** gRPC's usual limit; a bundle of 1000 roots has 1 MB. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** An agent that hangs looks like one with no news, so it is asked for a sign of life. */
const PING_MS = 30_000;
const PING_TIMEOUT_MS = 10_000;

const GRPC_OK = '0';
const GRPC_INVALID_ARGUMENT = '3';
const GRPC_PERMISSION_DENIED = '7';

export class WorkloadApiSource implements IdentitySource {
  private readonly options: WorkloadApiOptions;
  private readonly backoff: Backoff;
  private session: ClientHttp2Session | null = null;
  private timer: Timer | null = null;
  private ping: Timer | null = null;
  private current: Identity | null = null;
  private closed = false;
  private onIdentity: (identity: Identity) => void = () => {};
  private onProblem: (problem: CertificateProblem) => void = () => {};

  constructor(options: WorkloadApiOptions) {
    this.options = options;
    this.backoff = new Backoff(options.random);
  }

  start(onIdentity: (identity: Identity) => void, onProblem: (problem: CertificateProblem) => void): void {
    this.onIdentity = onIdentity;
    this.onProblem = onProblem;
    this.open();
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
    this.ping?.cancel();
    this.session?.destroy();
  }

  private open(): void {
    const { endpoint } = this.options;
    const target = dialer(endpoint);
    if (target === null) {
      // Told after `start` has returned, as every problem is.
      this.timer = this.options.clock.after(0, () => {
        this.tell(`"${endpoint}" is neither unix:///PATH nor tcp://IP:PORT`, 'correct SPIFFE_ENDPOINT_SOCKET');
      });
      return;
    }
    const session = connect('http://localhost', { createConnection: target });
    this.session = session;
    let reason = 'ended the stream';
    session.on('error', (error: NodeJS.ErrnoException) => {
      reason = `cannot be reached (${error.code ?? error.message})`;
    });
    session.on('close', () => this.again(session, reason));
    const stream = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
      [SECURITY_HEADER]: 'true',
    });
    const ended = (said: string): void => {
      reason = said;
      session.destroy();
    };
    this.listen(stream, ended);
    stream.end(grpcFrame(new Uint8Array(0)));
    this.pingLater(session, () => ended('hangs: it answers no ping'));
  }

  private listen(stream: ClientHttp2Stream, ended: (reason: string) => void): void {
    const frames = new GrpcFrames(MAX_MESSAGE_BYTES);
    const status = (headers: Readonly<Record<string, unknown>>): void => {
      const code = headers['grpc-status'];
      if (typeof code === 'string' && code !== GRPC_OK) ended(meaningOf(code));
    };
    // An answer of trailers only carries its status as headers.
    stream.on('response', status);
    stream.on('trailers', status);
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const message of frames.push(chunk)) this.take(decodeX509SvidResponse(message));
      } catch (error) {
        ended(`sends ${error instanceof Error ? error.message : 'no protobuf'}`);
      }
    });
    // The session's own error says why.
    stream.on('error', () => {});
    stream.on('close', () => stream.session?.destroy());
  }

  /** The first SVID is the default one (SPIFFE Workload API, section 5.3). */
  private take(svids: readonly X509Svid[]): void {
    if (this.closed) return;
    const [svid] = svids;
    if (svid === undefined) return this.tell('the Workload API sends no identity', 'is the workload registered?');
    const identity = identityOf(svid);
    if (!identity.ok) return this.onProblem(identity.error);
    const invalid = validityProblem(identity.value, this.options.clock.wall());
    if (invalid !== null) return this.onProblem(invalid);
    this.backoff.reset();
    if (this.current !== null && sameIdentity(this.current, identity.value)) return;
    this.current = identity.value;
    this.onIdentity(identity.value);
  }

  private pingLater(session: ClientHttp2Session, dead: () => void): void {
    this.ping?.cancel();
    this.ping = this.options.clock.after(PING_MS, () => {
      if (session.destroyed) return;
      this.ping = this.options.clock.after(PING_TIMEOUT_MS, dead);
      session.ping((error) => {
        if (error === null && !session.destroyed) this.pingLater(session, dead);
      });
    });
  }

  private again(session: ClientHttp2Session, reason: string): void {
    if (this.closed || this.session !== session) return;
    this.session = null;
    this.ping?.cancel();
    this.timer = this.options.clock.after(this.backoff.next(), () => this.open());
    this.tell(
      `the Workload API at ${this.options.endpoint} ${reason}`,
      'is the SPIRE agent up and its socket mounted?',
    );
  }

  private tell(message: string, advice: string): void {
    this.onProblem({ part: 'source', message, advice });
  }
}

/** How to connect to an endpoint; null where its text is none. */
function dialer(endpoint: string): (() => Socket) | null {
  const path = /^unix:(?:\/\/)?(\/.+)$/.exec(endpoint)?.[1];
  if (path !== undefined) return () => connectSocket(path);
  const address = endpoint.startsWith('tcp://') ? parseHostPort(endpoint.slice('tcp://'.length)) : null;
  return address === null ? null : () => connectSocket(address.port, address.host);
}

function meaningOf(status: string): string {
  if (status === GRPC_PERMISSION_DENIED) return 'has no identity for this workload';
  if (status === GRPC_INVALID_ARGUMENT) return 'does not understand the request';
  return `refuses with gRPC status ${status.slice(0, 3)}`;
}

function identityOf(svid: X509Svid): Result<Identity, CertificateProblem> {
  let pem: { certificate: string; key: string; bundle: string };
  try {
    const key = createPrivateKey({ key: Buffer.from(svid.key), format: 'der', type: 'pkcs8' });
    pem = {
      certificate: pemOf(svid.certificates),
      key: key.export({ type: 'pkcs8', format: 'pem' }),
      bundle: pemOf(svid.bundle),
    };
  } catch {
    return err({
      part: 'source',
      message: 'the Workload API sends a certificate or key that cannot be read',
      advice: '',
    });
  }
  const identity = identityFromPem(pem);
  if (!identity.ok) return identity;
  if (identity.value.spiffeId !== svid.spiffeId) {
    return err({
      part: 'certificate',
      message: 'the certificate names another SPIFFE ID than the message',
      advice: '',
    });
  }
  return ok(identity.value);
}

/** Certificates in DER that follow each other, as PEM. Throws where they cannot be told apart. */
function pemOf(der: Uint8Array): string {
  const reader = new DerReader(der);
  let pem = '';
  while (!reader.done()) pem += new X509Certificate(reader.raw()).toString();
  return pem;
}
