/**
 * The CA's HTTPS side: `POST /v1/certificates` with a certificate request in PEM as body gives `{certificateChain,
 * trustBundle}`. The caller proves who it is with a token (`Authorization: Bearer`), or renews with the certificate it has; the
 * SPIFFE ID comes from that proof alone.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../shared/clock.ts';
import { err, ok, type Result } from '../shared/result.ts';
import { type Authority, issueLeaf } from './issue.ts';
import { CA_PATH, readCsr } from './issue-csr.ts';
import { verifyPeer } from './verify.ts';

const MAX_BODY_BYTES = 32_768;
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 512;

/** How a caller may prove itself; gives its SPIFFE ID, or a sentence about the proof. Never throws. */
export type TokenJudge = (token: string) => Promise<Result<string, string>>;

export interface CaServerOptions {
  readonly authority: Authority;
  readonly trustDomain: string;
  /** Names under which callers reach this server. */
  readonly dnsNames: readonly string[];
  readonly lifetimeMs: number;
  readonly judgeToken: TokenJudge;
  readonly clock: Clock;
  /** One line for each certificate that was issued or refused. */
  readonly log: (line: CaLogLine) => void;
}

export interface CaLogLine {
  readonly message: 'issued' | 'refused';
  readonly remote: string;
  readonly proof: 'token' | 'certificate' | 'none';
  readonly spiffeId: string;
  readonly serialNumber: string;
  readonly reason: string;
}

/** The constructor throws where the CA cannot issue the server's own certificate (bad DNS name, expired CA). */
export class CaServer {
  private readonly options: CaServerOptions;
  private readonly server: Server;
  private renewal: Timer | null = null;

  constructor(options: CaServerOptions) {
    this.options = options;
    const own = this.ownCertificate();
    if (!own.ok) throw new Error(own.error);
    this.server = createServer(
      {
        ...own.value,
        minVersion: 'TLSv1.3',
        requestCert: true,
        rejectUnauthorized: false,
        sessionIdContext: createHash('sha256').update(options.authority.trustBundle).digest('hex').slice(0, 32),
        requestTimeout: REQUEST_TIMEOUT_MS,
        headersTimeout: REQUEST_TIMEOUT_MS,
        handshakeTimeout: REQUEST_TIMEOUT_MS,
      },
      (request, response) => void this.answer(request, response),
    );
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Resolves with the port; rejects where it cannot listen. */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    this.renewLater();
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.renewal?.cancel();
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }

  /** The server's own certificate, from its own CA. */
  private ownCertificate(): Result<{ cert: string; key: string; ca: string }, string> {
    const { authority, trustDomain, dnsNames, lifetimeMs, clock } = this.options;
    const spiffeId = `spiffe://${trustDomain}/weft/ca`;
    const leaf = issueLeaf(authority, { spiffeId, dnsNames, lifetimeMs, now: clock.wall() });
    if (!leaf.ok) return leaf;
    return ok({ cert: leaf.value.certificateChain, key: leaf.value.privateKey, ca: authority.trustBundle });
  }

  private renewLater(): void {
    this.renewal = this.options.clock.after(this.options.lifetimeMs / 2, () => {
      const own = this.ownCertificate();
      // Only a CA that expired refuses, and then every request is refused and logged too.
      if (own.ok) this.server.setSecureContext({ ...own.value, minVersion: 'TLSv1.3' });
      this.renewLater();
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => request.destroy());
    if (request.url !== CA_PATH) return reply(response, 404, { error: `only POST ${CA_PATH} is served` });
    if (request.method !== 'POST') return reply(response, 405, { error: 'use POST' });
    const proof = proofOf(request);
    const remote = request.socket.remoteAddress ?? '';
    const identity = await this.identify(request, proof);
    if (!identity.ok) {
      this.log({ message: 'refused', remote, proof, reason: identity.error });
      return reply(response, 401, { error: identity.error });
    }
    const spiffeId = identity.value;
    const csr = await readBody(request);
    const key = csr === null ? err('the certificate request is too long') : readCsr(csr);
    if (!key.ok) {
      this.log({ message: 'refused', remote, proof, spiffeId, reason: key.error });
      return reply(response, 400, { error: key.error });
    }
    const { authority, lifetimeMs, clock } = this.options;
    const leaf = issueLeaf(authority, { spiffeId, publicKey: key.value, lifetimeMs, now: clock.wall() });
    if (!leaf.ok) {
      this.log({ message: 'refused', remote, proof, spiffeId, reason: leaf.error });
      return reply(response, 500, { error: leaf.error });
    }
    this.log({ message: 'issued', remote, proof, spiffeId, serialNumber: leaf.value.serialNumber });
    const { certificateChain, trustBundle } = leaf.value;
    return reply(response, 200, { certificateChain, trustBundle });
  }

  private async identify(request: IncomingMessage, proof: CaLogLine['proof']): Promise<Result<string, string>> {
    if (proof === 'none') return err('there is neither a token nor a client certificate');
    if (proof === 'token') {
      const token = (request.headers.authorization ?? '').slice('Bearer '.length);
      const judged = await this.options.judgeToken(token);
      return judged.ok ? judged : err(`the token ${judged.error}`);
    }
    const socket = request.socket as TLSSocket;
    const said = socket.authorizationError as Error | string | null | undefined;
    const openssl = said === null || said === undefined ? null : String(said);
    const trust = { trustDomain: this.options.trustDomain, aliases: [], now: this.options.clock.wall() };
    const verdict = verifyPeer(socket.getPeerX509Certificate(), openssl, trust, 'client');
    return verdict.ok ? ok(verdict.value.uri) : err(verdict.error.detail);
  }

  private log(line: Partial<CaLogLine> & Pick<CaLogLine, 'message' | 'remote' | 'proof'>): void {
    this.options.log({ spiffeId: '', serialNumber: '', reason: '', ...line });
  }
}

function proofOf(request: IncomingMessage): CaLogLine['proof'] {
  if (request.headers.authorization?.startsWith('Bearer ') === true) return 'token';
  return (request.socket as TLSSocket).getPeerX509Certificate() === undefined ? 'none' : 'certificate';
}

/** The body, or null where it is too long or breaks off. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) return null;
      chunks.push(chunk);
    }
  } catch {
    return null;
  }
  return Buffer.concat(chunks).toString('latin1');
}

function reply(response: ServerResponse, status: number, body: Readonly<Record<string, string>>): void {
  const text = JSON.stringify(body);
  // One request a day and caller: no connection is kept, and an unread body goes with it.
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    connection: 'close',
  };
  response.writeHead(status, headers).end(text);
}
