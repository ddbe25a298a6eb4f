/** Callers and applications of HTTP/2 by Node's own implementation, which shares nothing with weft's. */
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';

export interface H2Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: IncomingHttpHeaders;
  /** Interim responses in order. */
  readonly interim: readonly IncomingHttpHeaders[];
  /** Error code of RST_STREAM; 0 where the stream ended in order, or was reset with NO_ERROR after the answer. */
  readonly reset: number;
}

export interface H2Ask {
  readonly body?: string | Buffer;
  readonly trailers?: OutgoingHttpHeaders;
}

/** One connection. Whoever opened it closes it. */
export class H2Caller implements Disposable {
  readonly session: ClientHttp2Session;

  constructor(port: number) {
    this.session = connect(`http://127.0.0.1:${port}`);
    this.session.on('error', () => undefined);
  }

  /** A stream that is the test's own to write, read and reset. */
  open(headers: OutgoingHttpHeaders, endStream = false): ClientHttp2Stream {
    const stream = this.session.request({ ':scheme': 'http', ':path': '/', ...headers }, { endStream });
    stream.on('error', () => undefined);
    return stream;
  }

  async ask(headers: OutgoingHttpHeaders, { body, trailers }: H2Ask = {}): Promise<H2Answer> {
    const bodiless = body === undefined && trailers === undefined;
    const stream = this.session.request(
      { ':scheme': 'http', ':path': '/', ...headers },
      { endStream: bodiless, waitForTrailers: trailers !== undefined },
    );
    const answer = answerOf(stream);
    if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    if (!bodiless) stream.end(body ?? '');
    return answer;
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

/** Resolves when the stream is over, however. */
export async function answerOf(stream: ClientHttp2Stream): Promise<H2Answer> {
  const interim: IncomingHttpHeaders[] = [];
  const parts: Buffer[] = [];
  let head: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  stream.on('error', () => undefined);
  stream.on('headers', (headers) => interim.push(headers));
  stream.on('response', (headers) => {
    head = headers;
  });
  stream.on('trailers', (headers) => {
    trailers = headers;
  });
  stream.on('data', (chunk: Buffer) => parts.push(chunk));
  await new Promise((resolve) => {
    stream.on('close', resolve);
  });
  const { ':status': status = 0, ...headers } = head;
  return { status: Number(status), headers, body: Buffer.concat(parts), trailers, interim, reset: stream.rstCode ?? 0 };
}

export interface H2Seen {
  readonly headers: IncomingHttpHeaders;
  /** Resolve at the end of the request. */
  readonly body: Promise<Buffer>;
  readonly trailers: IncomingHttpHeaders;
}

export type H2Behaviour = (stream: ServerHttp2Stream, seen: H2Seen) => void;

/** What arrived, as JSON, with a trailer. */
export const mirror: H2Behaviour = (stream, seen) => {
  void seen.body.then((body) => {
    if (stream.destroyed) return;
    const { headers, trailers } = seen;
    stream.respond({ ':status': 200, 'content-type': 'application/json' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'here' }));
    stream.end(JSON.stringify({ headers, trailers, body: body.toString('latin1') }));
  });
};

/** A clear-text application of HTTP/2. Whoever started it stops it. */
export class H2App implements AsyncDisposable {
  behaviour: H2Behaviour = mirror;
  requests = 0;
  /** RST_STREAM codes received, in order. */
  readonly resets: number[] = [];
  readonly sessions: Set<ServerHttp2Session> = new Set<ServerHttp2Session>();
  /** Connections accepted so far. */
  connections = 0;
  private readonly server: Http2Server = createServer();

  constructor() {
    this.server.on('session', (session) => {
      this.connections++;
      this.sessions.add(session);
      session.on('error', () => undefined);
      session.on('close', () => this.sessions.delete(session));
    });
    this.server.on('stream', (stream, headers) => this.take(stream as ServerHttp2Stream, headers));
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    for (const session of this.sessions) session.destroy();
  }

  private take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    this.requests++;
    const parts: Buffer[] = [];
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    const seen = { headers, body: promise, trailers: {} as IncomingHttpHeaders };
    stream.on('error', () => undefined);
    stream.on('aborted', () => this.resets.push(stream.rstCode ?? -1));
    stream.on('trailers', (trailers) => Object.assign(seen.trailers, trailers));
    this.behaviour(stream, seen);
    stream.on('data', (chunk: Buffer) => parts.push(chunk));
    stream.on('end', () => resolve(Buffer.concat(parts)));
  }
}
