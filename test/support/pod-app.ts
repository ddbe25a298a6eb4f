/**
 * What runs in a pod under test besides a sidecar: an application that knows nothing of a mesh. It serves and calls as it is
 * told over the channel to the test that started it (test/support/pods.ts), which is not in the pod's network.
 */
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { closedLoop } from './load.ts';

export interface Serve {
  readonly kind: 'http' | 'https' | 'echo' | 'banner' | 'udp' | 'dns';
  readonly port: number;
  readonly host?: string;
  /** PEM, for https. */
  readonly key?: string;
  readonly cert?: string;
}

export interface Call {
  readonly host: string;
  readonly port: number;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the HTTP server answers: who served, and how the request looked to it. */
export interface Seen {
  readonly pod: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly remoteAddress: string;
  readonly localAddress: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

export interface LoadResult {
  readonly sent: number;
  readonly failures: readonly (readonly [string, number])[];
  /** Milliseconds, sorted. */
  readonly latencies: readonly number[];
}

export interface Operations {
  serve(options: Serve): Promise<null>;
  get(call: Call): Promise<Answer>;
  /** Sends, ends its side unless `open`, and answers what came until the end. */
  tcp(call: Call & { readonly send: string; readonly open?: boolean }): Promise<string>;
  /** Sends nothing first, and answers the first bytes that come. */
  listenFirst(call: Call): Promise<string>;
  /** A request over the application's own TLS; answers the subject of the server's certificate and the body. */
  tls(call: Call): Promise<{ readonly subject: string; readonly text: string }>;
  udp(call: Call & { readonly send: string }): Promise<string>;
  resolve(call: Call & { readonly name: string }): Promise<string[]>;
  /** Until `stopLoad`, or `requests` are sent. */
  load(call: Call & { readonly connections: number; readonly requests?: number }): Promise<LoadResult>;
  stopLoad(): Promise<null>;
}

const TIMEOUT_MS = 5_000;
const POD = process.env['POD'] ?? '';

let stop = new AbortController();

const answerHttp: RequestListener = (request, response) => {
  const { method = '', url = '', headers, socket } = request;
  const { remoteAddress = '', localAddress = '' } = socket;
  const seen = { pod: POD, method, url, headers, remoteAddress, localAddress };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(seen));
};

const onTcp: Readonly<Record<'echo' | 'banner', (socket: Socket) => void>> = {
  echo: (socket) => void socket.pipe(socket),
  banner: (socket) => void socket.end(`220 ${POD} ${socket.localPort}\r\n`).resume(),
};

function serverOf({ kind, key = '', cert = '' }: Serve): Server {
  if (kind === 'http') return createHttpServer({ keepAliveTimeout: 60_000 }, answerHttp);
  if (kind === 'https') return createHttpsServer({ key, cert }, answerHttp);
  const server = createTcpServer({ allowHalfOpen: true }, onTcp[kind as 'echo' | 'banner']);
  return server.on('connection', (socket: Socket) => socket.on('error', () => socket.destroy()));
}

/** Answers every question for an address with 10.96.0.99. */
function dnsAnswer(query: Buffer): Buffer {
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 96, 0, 99]);
  const head = Buffer.from(query.subarray(0, 12));
  head.writeUInt16BE(0x8180, 2);
  head.set([0, 1, 0, 1, 0, 0, 0, 0], 4);
  const questionEnd = query.indexOf(0, 12) + 5;
  return Buffer.concat([head, query.subarray(12, questionEnd), answer]);
}

async function body(stream: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString('latin1');
}

function dial({ host, port }: Call): Socket {
  const socket = connect({ host, port, allowHalfOpen: true });
  return socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('timeout')));
}

const operations: Operations = {
  async serve(options) {
    const { kind, port, host = '::' } = options;
    if (kind === 'udp' || kind === 'dns') {
      const socket = createSocket('udp6');
      socket.on('message', (message, from) =>
        socket.send(kind === 'dns' ? dnsAnswer(message) : `${POD} got ${message.toString()}`, from.port, from.address),
      );
      socket.bind(port, host);
      await once(socket, 'listening');
      return null;
    }
    const server = serverOf(options).listen(port, host);
    await once(server, 'listening');
    return null;
  },

  async get({ host, port, path = '/', headers = {} }) {
    const request = httpRequest({ host, port, path, headers, agent: false, timeout: TIMEOUT_MS }).end();
    request.on('timeout', () => request.destroy(new Error('timeout')));
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    const text = await body(answer);
    return { status: answer.statusCode ?? 0, headers: answer.headers as Record<string, string>, text };
  },

  async tcp({ send, open = false, ...call }) {
    const socket = dial(call);
    if (open) socket.write(send);
    else socket.end(send);
    return body(socket);
  },

  async listenFirst(call) {
    const socket = dial(call);
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return bytes.toString('latin1');
  },

  async tls({ host, port, path = '/' }) {
    const socket = connectTls({ host, port, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('timeout')));
    await once(socket, 'secureConnect');
    const subject = socket.getPeerX509Certificate()?.subject ?? '';
    socket.write(`GET ${path} HTTP/1.1\r\nHost: tls\r\nConnection: close\r\n\r\n`);
    return { subject, text: await body(socket) };
  },

  async udp({ host, port, send }) {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const timer = setTimeout(() => socket.emit('error', new Error('timeout')), TIMEOUT_MS);
    socket.send(send, port, host);
    try {
      const [message] = (await once(socket, 'message')) as [Buffer];
      return message.toString();
    } finally {
      clearTimeout(timer);
      socket.close();
    }
  },

  resolve({ host, port, name }) {
    const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: 1 });
    resolver.setServers([`${host}:${port}`]);
    return resolver.resolve4(name);
  },

  async load({ host, port, path = '/', headers = {}, connections, requests }) {
    stop = new AbortController();
    const most = requests === undefined ? {} : { requests };
    const options = { host, port, path, headers, connections, signal: stop.signal, ...most };
    const { sent, failures, latencies } = await closedLoop(options);
    return { sent, failures: [...failures], latencies };
  },

  stopLoad() {
    stop.abort();
    return Promise.resolve(null);
  },
};

export interface Order {
  readonly id: number;
  readonly name: keyof Operations;
  readonly options: never;
}

/** `error` is the code or message where the operation failed. */
export interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

process.on('disconnect', () => process.exit());
process.on('message', ({ id, name, options }: Order) => {
  void operations[name](options).then(
    (value) => process.send?.({ id, value } satisfies Reply),
    (error: NodeJS.ErrnoException) => process.send?.({ id, error: error.code ?? error.message } satisfies Reply),
  );
});
process.send?.({ id: 0 } satisfies Reply);
