/**
 * HTTP/1.1 messages as bytes: heads as Latin-1 strings, made to leave in one write with the first bytes of the body.
 * Pure. Framing and hop-by-hop fields come from the head's properties alone; `fields` must hold none.
 */
import { type Fields, type HttpVersion, type RequestHead, type ResponseHead, UNKNOWN_LENGTH } from './message.ts';

/** What is known of the caller when its response is framed. */
export interface ResponseFraming {
  /** The version the request came in. */
  readonly version: HttpVersion;
  /** We end the connection after this response. */
  readonly close: boolean;
  /** An HTTP/1.0 caller asked for keep-alive. */
  readonly keepAlive10: boolean;
  readonly requestMethod: string;
}

/**
 * How the body goes out. `none`: there is none, whatever the head says (HEAD, 1xx, 204, 304, tunnels). `close`: it ends with
 * the connection, since an HTTP/1.0 caller knows no chunks.
 */
export type BodyFraming = 'none' | 'length' | 'chunked' | 'close';

/** Ends a chunked body without trailers. */
export const LAST_CHUNK = '0\r\n\r\n';
/** Ends the bytes of a chunk. */
export const CHUNK_END = '\r\n';

/**
 * Always HTTP/1.1, in origin form (CONNECT in authority form; for a proxy in absolute form).
 * `length` in bytes, UNKNOWN_LENGTH, or 0 for none. `extra` is ready-made field lines, `name: value\r\n` each, or ''.
 */
export function requestHead(head: RequestHead, length: number, extra: string): string {
  const { method, fields } = head;
  const target = head.absolute ? absoluteForm(head) : method === 'CONNECT' ? head.authority : head.path;
  let text = `${method} ${target} HTTP/1.1\r\n`;
  // HTTP/1.0 and HTTP/2 callers may have sent none; HTTP/1.1 needs one, be it empty (RFC 9112 section 3.2).
  if (!leadsWithHost(fields.arrived) && !fields.has('host')) text += `Host: ${head.authority}\r\n`;
  text += fields.wire;
  if (length > 0) text += `Content-Length: ${length}\r\n`;
  else if (length === UNKNOWN_LENGTH) text += 'Transfer-Encoding: chunked\r\n';
  else if (expectsBody(method)) text += 'Content-Length: 0\r\n';
  if (head.expectContinue) text += 'Expect: 100-continue\r\n';
  if (head.acceptsTrailers) text += 'TE: trailers\r\n';
  if (head.upgrade !== null) text += `Upgrade: ${head.upgrade}\r\n`;
  return `${text}${connectionLine(head)}${extra}\r\n`;
}

/** `*` was read from a target without path; only the last proxy may write it (RFC 9112 section 3.2.4). */
function absoluteForm({ scheme, authority, path }: RequestHead): string {
  return `${scheme}://${authority}${path === '*' ? '' : path}`;
}

/** Most do; to know it the fields need neither be taken apart nor put together. */
function leadsWithHost(arrived: string | null): boolean {
  return arrived !== null && (arrived.startsWith('Host:') || arrived.startsWith('host:'));
}

function connectionLine(head: RequestHead): string {
  if (head.upgrade !== null) return head.acceptsTrailers ? 'Connection: Upgrade, TE\r\n' : 'Connection: Upgrade\r\n';
  return head.acceptsTrailers ? 'Connection: TE\r\n' : '';
}

/** RFC 9110 section 8.6: methods that give content a meaning say so even when there is none. */
function expectsBody(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH';
}

/** How the body of `length` (as in message.ts) goes to this caller. */
export function bodyFraming(status: number, length: number, options: ResponseFraming): BodyFraming {
  if (status < 200 || status === 204 || status === 304 || options.requestMethod === 'HEAD') return 'none';
  if (options.requestMethod === 'CONNECT' && status < 300) return 'none';
  if (length >= 0) return 'length';
  return options.version === 10 ? 'close' : 'chunked';
}

/** A final head, or a 101. `length` is of the body that will be sent; a HEAD's is in `statedLength`. */
export function responseHead(head: ResponseHead, length: number, options: ResponseFraming): string {
  const { status } = head;
  const framing = bodyFraming(status, length, options);
  let text = `HTTP/1.1 ${status} ${head.reason}\r\n${head.fields.wire}`;
  if (framing === 'length') text += `Content-Length: ${length}\r\n`;
  else if (framing === 'chunked') text += 'Transfer-Encoding: chunked\r\n';
  else if (framing === 'none') text += statedLength(head, options.requestMethod);
  if (head.upgrade !== null) return `${text}Upgrade: ${head.upgrade}\r\nConnection: Upgrade\r\n\r\n`;
  if (options.close || framing === 'close') return `${text}Connection: close\r\n\r\n`;
  return options.version === 10 && options.keepAlive10 ? `${text}Connection: keep-alive\r\n\r\n` : `${text}\r\n`;
}

/** Only HEAD and 304 may state the length of a body that does not follow (RFC 9110 section 8.6). */
function statedLength(head: ResponseHead, method: string): string {
  const allowed = head.status === 304 || (method === 'HEAD' && head.status >= 200 && head.status !== 204);
  return allowed && head.statedLength >= 0 ? `Content-Length: ${head.statedLength}\r\n` : '';
}

/** A 1xx other than 101. */
export function interimHead(head: ResponseHead): string {
  return `HTTP/1.1 ${head.status} ${head.reason}\r\n${head.fields.wire}\r\n`;
}

/** The line before a chunk of `length` bytes, which must not be 0: that would end the body. */
export function chunkLine(length: number): string {
  return `${length.toString(16)}\r\n`;
}

export function lastChunk(trailers: Fields | null): string {
  return trailers === null ? LAST_CHUNK : `0\r\n${trailers.wire}\r\n`;
}
