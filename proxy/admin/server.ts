/**
 * The small HTTP server that admin, metrics and readiness share: a table of endpoints, nothing that a GET can change,
 * and limits, since it may be reached by anybody in the pod's network.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isLoopback, isOwnHost, isOwnOrigin } from './origin.ts';

/** Not imported: making the module's namespace reads every export, and some of them load 11 MB of a bundled undici. */
const { createServer } = process.getBuiltinModule('node:http');

export interface Call {
  readonly query: URLSearchParams;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  /** Runs once the answer has left, or the caller has gone. */
  readonly after?: () => void;
}

export interface Endpoint {
  /** GET endpoints answer HEAD too and change nothing. */
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** One line for the index page. */
  readonly about: string;
  /**
   * `anyone`; `own host`: only with a Host (and Origin, if any) that names this machine, so that no web page can reach
   * it through a name it controls; `loopback`: that, and only from this machine.
   */
  readonly admits: 'anyone' | 'own host' | 'loopback';
  answer(call: Call): Answer | Promise<Answer>;
}

const MAX_CONNECTIONS = 64;
/** Bytes of a request's header section; nothing here needs more than a path. */
const MAX_HEADER = 8192;
/** Milliseconds for the header section, for the whole request, and between two requests on a connection. */
const HEADERS_TIME = 5000;
const REQUEST_TIME = 10_000;
const IDLE_TIME = 5000;

export function text(status: number, body: string, after?: () => void): Answer {
  const answer = { status, type: 'text/plain; charset=utf-8', body };
  return after === undefined ? answer : { ...answer, after };
}

export function json(status: number, body: string): Answer {
  return { status, type: 'application/json; charset=utf-8', body: `${body}\n` };
}

/** The server, not yet listening. Whoever calls this closes it: `close()`, then `closeAllConnections()`. */
export function createEndpointServer(endpoints: readonly Endpoint[], onError: (error: unknown) => void): Server {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER,
      headersTimeout: HEADERS_TIME,
      requestTimeout: REQUEST_TIME,
      keepAliveTimeout: IDLE_TIME,
      connectionsCheckingInterval: 1000,
    },
    (request, response) => {
      void serve(endpoints, onError, request, response);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

async function serve(
  endpoints: readonly Endpoint[],
  onError: (error: unknown) => void,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    send(request, response, await answerTo(endpoints, request, response));
  } catch (error) {
    onError(error);
    send(request, response, text(500, 'internal error: the log says more\n'));
  }
}

function answerTo(
  endpoints: readonly Endpoint[],
  request: IncomingMessage,
  response: ServerResponse,
): Answer | Promise<Answer> {
  const url = URL.parse(request.url ?? '', 'http://weft.invalid');
  if (url === null) return text(400, 'not a path\n');
  const here = endpoints.filter((endpoint) => endpoint.path === url.pathname);
  if (here.length === 0) return text(404, `no ${url.pathname} here\n`);
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const endpoint = here.find((candidate) => candidate.method === method);
  if (endpoint === undefined) {
    response.setHeader('allow', here.flatMap(allowedMethods).join(', '));
    return text(405, `${request.method} is not for ${url.pathname}\n`);
  }
  const refusal = refusalOf(endpoint, request);
  return refusal === '' ? endpoint.answer({ query: url.searchParams }) : text(403, `${refusal}\n`);
}

function allowedMethods(endpoint: Endpoint): string[] {
  return endpoint.method === 'GET' ? ['GET', 'HEAD'] : [endpoint.method];
}

/** Why this caller may not; empty where it may. */
function refusalOf(endpoint: Endpoint, request: IncomingMessage): string {
  if (endpoint.admits === 'anyone') return '';
  const { socket, headers } = request;
  if (endpoint.admits === 'loopback' && !isLoopback(socket.remoteAddress ?? '')) return 'only from this machine';
  if (!isOwnHost(headers.host ?? '', socket.localAddress ?? ''))
    return 'Host must be localhost or the address of this port';
  const foreign = headers.origin !== undefined && !isOwnOrigin(headers.origin, socket.localAddress ?? '');
  return foreign || headers['sec-fetch-site'] === 'cross-site' ? 'not for pages of other origins' : '';
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  if (answer.after !== undefined) response.once('close', answer.after);
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(request.method === 'HEAD' ? undefined : answer.body);
}
