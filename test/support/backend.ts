/** Applications to put behind a sidecar: HTTP servers that answer in a set way and remember what they were asked. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';

export interface RecordedRequest {
  readonly method: string;
  readonly target: string;
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly trailers: Readonly<Record<string, string | undefined>>;
  /** The first `KEPT_BODY` bytes. */
  readonly body: Buffer;
  readonly bodyBytes: number;
  /** False where the connection ended in mid-body. */
  readonly complete: boolean;
}

/** Bytes of a request body that are kept; the rest is only counted. */
const KEPT_BODY = 1 << 20;

/** How an application answers, once the request has been read to its end. */
export type Behaviour = (request: RecordedRequest, response: ServerResponse) => void;

/** The request's body back, with its content type. */
export const echo: Behaviour = (request, response) => {
  response.setHeader('content-type', request.headers['content-type'] ?? 'application/octet-stream');
  response.setHeader('content-length', request.body.length);
  response.end(request.body);
};

/** What arrived, as JSON: method, target, headers, body. */
export const mirror: Behaviour = (request, response) => {
  const { method, target, headers, trailers } = request;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ method, target, headers, trailers, body: request.body.toString('latin1') }));
};

export function fixed(bytes: number): Behaviour {
  const body = Buffer.alloc(bytes, 'x');
  return (_request, response) => {
    response.writeHead(200, { 'content-length': bytes });
    response.end(body);
  };
}

export function text(body: string, code = 200): Behaviour {
  return (_request, response) => {
    response.writeHead(code, { 'content-length': Buffer.byteLength(body) });
    response.end(body);
  };
}

export function status(code: number): Behaviour {
  return text('', code);
}

/** Chunked, a chunk for each part, then the trailers. */
export function chunked(parts: readonly string[], trailers: Readonly<Record<string, string>> = {}): Behaviour {
  return (_request, response) => {
    const names = Object.keys(trailers);
    if (names.length > 0) response.setHeader('trailer', names.join(', '));
    response.writeHead(200);
    for (const part of parts) response.write(part);
    response.addTrailers(trailers);
    response.end();
  };
}

/** Answers when `wait` resolves, which the test decides. */
export function after(wait: Promise<unknown>, then: Behaviour): Behaviour {
  return (request, response) => void wait.then(() => then(request, response));
}

export function slow(ms: number, then: Behaviour): Behaviour {
  return (request, response) => void setTimeout(() => then(request, response), ms);
}

/** RST instead of an answer. */
export const reset: Behaviour = (_request, response) => {
  response.socket?.resetAndDestroy();
};

/** FIN instead of an answer. */
export const close: Behaviour = (_request, response) => {
  response.socket?.destroy();
};

/** A head that promises `promised` bytes, `sent` of them, and the end. */
export function cut(promised: number, sent: number): Behaviour {
  return (_request, response) => {
    response.writeHead(200, { 'content-length': promised });
    response.write(Buffer.alloc(sent, 'x'), () => response.socket?.destroy());
    if (sent === 0) response.flushHeaders();
  };
}

/** A listening application. Whoever started it stops it. */
export class Backend implements AsyncDisposable {
  readonly port: number;
  /** Requests in order of arrival of their end. */
  readonly requests: RecordedRequest[] = [];
  /** Connections accepted so far. */
  connections = 0;
  behaviour: Behaviour;
  private readonly server: Server;

  constructor(server: Server, behaviour: Behaviour) {
    this.server = server;
    this.port = (server.address() as AddressInfo).port;
    this.behaviour = behaviour;
    server.on('connection', () => {
      this.connections += 1;
    });
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.serve(request, response));
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Ends every connection too. */
  async stop(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    if (this.server.listening) await once(this.server, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const recorded = await record(request);
    this.requests.push(recorded);
    if (recorded.complete) this.behaviour(recorded, response);
  }
}

export async function startBackend(behaviour: Behaviour = echo, port = 0): Promise<Backend> {
  // A test client may send what node:http alone would refuse for its size or time.
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0, maxHeaderSize: 1 << 20 });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return new Backend(server, behaviour);
}

async function record(request: IncomingMessage): Promise<RecordedRequest> {
  const parts: Buffer[] = [];
  let bodyBytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (bodyBytes < KEPT_BODY) parts.push(chunk);
      bodyBytes += chunk.length;
    }
  } catch {
    // The connection ended in mid-body: `complete` says so.
  }
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    rawHeaders: request.rawHeaders,
    headers: request.headers,
    trailers: request.trailers,
    body: Buffer.concat(parts).subarray(0, KEPT_BODY),
    bodyBytes,
    complete: request.complete,
  };
}

/** A TCP server for exact bytes: what each connection received, and what it is answered. */
export class RawBackend implements AsyncDisposable {
  readonly port: number;
  /** Bytes received on each connection, in order of accepting. */
  readonly received: Buffer[] = [];
  readonly sockets: Socket[] = [];
  private readonly server: TcpServer;

  constructor(server: TcpServer, answer: (socket: Socket, received: Buffer) => void) {
    this.server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => {
      const index = this.sockets.push(socket) - 1;
      this.received[index] = Buffer.alloc(0);
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk: Buffer) => {
        const all = Buffer.concat([this.received[index] ?? Buffer.alloc(0), chunk]);
        this.received[index] = all;
        answer(socket, all);
      });
    });
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    if (this.server.listening) await once(this.server, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** `answer` is called at each chunk with all that the connection has received so far. */
export async function startRawBackend(
  answer: (socket: Socket, received: Buffer) => void,
  port = 0,
): Promise<RawBackend> {
  const server = createTcpServer({ allowHalfOpen: true }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  return new RawBackend(server, answer);
}
