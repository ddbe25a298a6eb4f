/** Real TLS 1.3 handshakes over loopback, shaped as the data path makes them. */
import { type AddressInfo, createServer, type Server } from 'node:net';
import { connect, createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import type { Identity, SpiffeId } from '../../certs/identity.ts';
import { type PeerRefusal, type TrustSettings, verifyPeer } from '../../certs/verify.ts';
import type { PeerRole } from '../../certs/verify-reasons.ts';
import type { Result } from '../../shared/result.ts';
import type { KeyedCertificate } from './certificates.ts';

export type Verdict = Result<SpiffeId, PeerRefusal>;

/** Judges callers as a sidecar's inbound side does: a `tls.Server` that never listens, fed with sniffed sockets. */
export class HandshakeServer {
  private readonly acceptor: Server;
  private readonly tls: TlsServer;
  private readonly trust: TrustSettings;
  private readonly ca: string;
  private judged: (verdict: Verdict) => void = () => {};

  constructor(identity: Identity, trust: TrustSettings) {
    this.trust = trust;
    this.ca = identity.trustBundle;
    this.tls = createTlsServer({
      cert: identity.certificateChain,
      key: identity.privateKey,
      ca: identity.trustBundle,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false,
      sessionIdContext: identity.bundleHash.slice(0, 32),
    });
    this.tls.on('tlsClientError', (_error, socket) => socket.destroy());
    this.tls.on('secureConnection', (socket) => {
      socket.on('error', () => socket.destroy());
      this.judged(judge(socket, this.trust, 'client'));
      socket.end();
    });
    this.acceptor = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', (chunk) => {
        socket.pause();
        socket.unshift(chunk);
        this.tls.emit('connection', socket);
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.acceptor.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.acceptor.close(() => resolve()));
  }

  /** What this server says of a caller with these credentials. Rejects if no handshake is completed. */
  async judgeCaller(credentials: KeyedCertificate | null): Promise<Verdict> {
    const { port } = this.acceptor.address() as AddressInfo;
    return new Promise((resolve, reject) => {
      this.judged = resolve;
      const socket = connect({
        port,
        host: '127.0.0.1',
        ca: this.ca,
        checkServerIdentity: () => undefined,
        // A bad peer may hold a key that OpenSSL would not let an honest one use.
        ciphers: 'DEFAULT@SECLEVEL=0',
        ...(credentials === null ? {} : { cert: credentials.certificate, key: credentials.key }),
      });
      socket.on('error', (error) => reject(error));
      socket.on('close', () => reject(new Error('the connection was closed before a verdict')));
      socket.resume();
    });
  }
}

/** What a caller with `identity` says of a server with these credentials. */
export async function judgeServer(
  identity: Identity,
  credentials: KeyedCertificate,
  trust: TrustSettings,
): Promise<Verdict> {
  const server = createTlsServer({
    cert: credentials.certificate,
    key: credentials.key,
    minVersion: 'TLSv1.3',
    ciphers: 'DEFAULT@SECLEVEL=0',
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('secureConnection', (socket) => socket.on('error', () => socket.destroy()).resume());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await new Promise<Verdict>((resolve, reject) => {
      const socket = connect(
        {
          port,
          host: '127.0.0.1',
          cert: identity.certificateChain,
          key: identity.privateKey,
          ca: identity.trustBundle,
          minVersion: 'TLSv1.3',
          rejectUnauthorized: false,
          checkServerIdentity: () => undefined,
        },
        () => {
          resolve(judge(socket, trust, 'server'));
          socket.destroy();
        },
      );
      socket.on('error', reject);
    });
  } finally {
    server.close();
  }
}

function judge(socket: TLSSocket, trust: TrustSettings, role: PeerRole): Verdict {
  const said = socket.authorizationError as Error | string | null | undefined;
  const code = said === null || said === undefined ? null : String(said);
  return verifyPeer(socket.getPeerX509Certificate(), code, trust, role);
}
