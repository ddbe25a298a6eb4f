/** The webhook's HTTPS side: `POST /inject` for API servers, `GET /healthz` for kubelet. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { InjectDefaults } from '../inject/settings.ts';
import type { ServingCertificate } from './certificate.ts';
import { review } from './review.ts';

/** An object in etcd has at most 1.5 MiB, and a review may hold it twice. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** Of all reviews that are being read together; a usual one has 20 KB. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;
/** An API server waits 10 s by default. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 256;

export type InjectorLog = (line: Readonly<Record<string, string>>) => void;

/** Whoever makes it closes it. */
export class InjectorServer {
  private readonly server: Server;
  private readonly defaults: () => InjectDefaults;
  private readonly log: InjectorLog;
  /** Bytes of bodies that are not whole yet. */
  private held = 0;

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
    const body = await this.read(request);
    if (body === 413) return refuse(response, 413, `reviews have at most ${MAX_BODY_BYTES} bytes`);
    if (body === 503) return refuse(response, 503, 'too many reviews are being sent at once');
    const reviewed = review(body, this.defaults());
    if (!reviewed.ok) return refuse(response, 400, reviewed.error);
    const { pod, outcome, detail, answer } = reviewed.value;
    this.log({ message: 'reviewed', pod, outcome, detail });
    return reply(response, 200, 'application/json', JSON.stringify(answer));
  }

  /** The body, or the status that refuses it; the rest is not kept then. */
  private async read(request: IncomingMessage): Promise<string | 413 | 503> {
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return 413;
    const { promise, resolve } = Promise.withResolvers<string | 413 | 503>();
    const chunks: Buffer[] = [];
    let length = 0;
    const take = (chunk: Buffer): void => {
      length += chunk.length;
      this.held += chunk.length;
      if (length > MAX_BODY_BYTES) resolve(413);
      else if (this.held > MAX_HELD_BYTES) resolve(503);
      else chunks.push(chunk);
    };
    request.on('data', take);
    request.once('end', () => resolve(Buffer.concat(chunks).toString()));
    request.once('close', () => resolve(413));
    try {
      return await promise;
    } finally {
      request.off('data', take).resume();
      this.held -= length;
    }
  }
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
