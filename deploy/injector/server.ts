/** The webhook's HTTPS side: `POST /inject` for API servers, `GET /healthz` for kubelet. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { InjectDefaults } from '../inject/settings.ts';
import type { ServingCertificate } from './certificate.ts';
import { review } from './review.ts';

/** An object in etcd has at most 1.5 MiB, and a review may hold it twice. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** An API server waits 10 s by default. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 256;

export type InjectorLog = (line: Readonly<Record<string, string>>) => void;

/** Whoever makes it closes it. */
export class InjectorServer {
  private readonly server: Server;
  private readonly defaults: () => InjectDefaults;
  private readonly log: InjectorLog;

  /** `defaults` is asked for every review; `log` gets one line for each pod. Throws where the certificate is none. */
  constructor(certificate: ServingCertificate, defaults: () => InjectDefaults, log: InjectorLog) {
    this.defaults = defaults;
    this.log = log;
    this.server = createServer(
      {
        cert: certificate.cert,
        key: certificate.key,
        minVersion: 'TLSv1.3',
        requestTimeout: REQUEST_TIMEOUT_MS,
        headersTimeout: REQUEST_TIMEOUT_MS,
        handshakeTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: 1000,
      },
      (request, response) =>
        void this.answer(request, response).catch((error: unknown) => {
          this.log({ message: 'cannot review', error: String(error) });
          if (!response.headersSent) refuse(response, 500, 'this review cannot be answered');
        }),
    );
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Resolves with the port; rejects where it cannot listen. */
  async listen(host: string, port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.server.once('error', reject).listen(port, host, resolve);
    await promise;
    this.server.off('error', reject);
    return (this.server.address() as AddressInfo).port;
  }

  /** For new handshakes; open connections live on. */
  renew({ cert, key }: ServingCertificate): void {
    this.server.setSecureContext({ cert, key, minVersion: 'TLSv1.3' });
  }

  /** Requests under way are answered first. */
  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.server.close(() => resolve());
    this.server.closeIdleConnections();
    await promise;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => request.destroy());
    // An API server asks with `?timeout=10s`.
    const path = (request.url ?? '').split('?', 1)[0];
    if (path === '/healthz') return reply(response, request.method === 'GET' ? 200 : 405, 'text/plain', 'ok\n');
    if (path !== '/inject') return refuse(response, 404, 'only POST /inject and GET /healthz are served');
    if (request.method !== 'POST') return refuse(response, 405, 'use POST');
    if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
      return refuse(response, 415, 'reviews are application/json');
    const body = await readBody(request);
    if (body === null) return refuse(response, 413, `reviews have at most ${MAX_BODY_BYTES} bytes`);
    const reviewed = review(body, this.defaults());
    if (!reviewed.ok) return refuse(response, 400, reviewed.error);
    const { pod, outcome, detail, answer } = reviewed.value;
    this.log({ message: 'reviewed', pod, outcome, detail });
    return reply(response, 200, 'application/json', JSON.stringify(answer));
  }
}

/** null where it is too long; the rest is not read. */
function readBody(request: IncomingMessage): Promise<string | null> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return Promise.resolve(null);
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const chunks: Buffer[] = [];
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
    else resolve(null);
  });
  request.on('end', () => resolve(Buffer.concat(chunks).toString()));
  request.on('close', () => resolve(null));
  return promise;
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  // What is left of the body is not worth reading.
  response.shouldKeepAlive = false;
  reply(response, status, 'text/plain', `${reason}\n`);
}

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
