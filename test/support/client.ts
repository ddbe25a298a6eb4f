/** A caller that sends exact bytes and sees exact bytes, over TCP or TLS. */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';

export interface Answer {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  /** Names lower case; values of a repeated name in order. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: Buffer;
  /** Names and values of the trailer section, as `name: value` lines. */
  readonly trailers: readonly string[];
  /** Where the next answer begins in `received`. */
  readonly end: number;
}

/** How the connection was ended by the far side. */
export type End = 'fin' | 'reset';

/** Longer than a name takes that no DNS server answers for. */
const TIMEOUT_MS = 10_000;

/** One connection. Whoever opened it closes it. */
export class RawClient implements Disposable {
  received: Buffer = Buffer.alloc(0);
  /** Resolves when the far side has ended the connection. */
  readonly ended: Promise<End>;
  readonly socket: Socket | TLSSocket;
  private readonly arrivals = new EventTarget();
  private consumed = 0;
  private isOver = false;

  constructor(socket: Socket | TLSSocket) {
    this.socket = socket;
    socket.setNoDelay(true);
    const { promise, resolve } = Promise.withResolvers<End>();
    this.ended = promise;
    const over = (how: End): void => {
      this.isOver = true;
      resolve(how);
      this.arrivals.dispatchEvent(new Event('change'));
    };
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.arrivals.dispatchEvent(new Event('change'));
    });
    socket.once('end', () => over('fin'));
    socket.once('error', () => over('reset'));
    socket.once('close', () => over('fin'));
  }

  get text(): string {
    return this.received.toString('latin1');
  }

  /** Resolves when the kernel (or TLS) has taken the bytes. */
  write(bytes: string | Buffer): Promise<void> {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    return new Promise((resolve) => {
      this.socket.write(buffer, () => resolve());
    });
  }

  /** Writes the bytes one by one, each handed to the kernel before the next. */
  async writeBytewise(bytes: string | Buffer): Promise<void> {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    for (let at = 0; at < buffer.length; at += 1) await this.write(buffer.subarray(at, at + 1));
  }

  /** Waits until `found`, asked at every arrival, answers something; rejects at the end of the connection. */
  async until<T>(found: () => T | undefined, timeoutMs: number = TIMEOUT_MS): Promise<T> {
    const expired = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const answer = found();
      if (answer !== undefined) return answer;
      if (this.isOver) throw new Error(`the connection ended after: ${JSON.stringify(this.text)}`);
      await once(this.arrivals, 'change', { signal: expired }).catch(() => {
        throw new Error(`not within ${timeoutMs} ms; received: ${JSON.stringify(this.text.slice(0, 2_000))}`);
      });
    }
  }

  /** The next answer, whole. `method` is the request's, for HEAD has no body. */
  async answer(method = 'GET', timeoutMs: number = TIMEOUT_MS): Promise<Answer> {
    const answer = await this.until(() => this.parse(method), timeoutMs);
    this.consumed = answer.end;
    return answer;
  }

  async exchange(request: string | Buffer, method?: string): Promise<Answer> {
    await this.write(request);
    return this.answer(method);
  }

  finish(): void {
    this.socket.end();
  }

  reset(): void {
    if ('resetAndDestroy' in this.socket) this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private parse(method: string): Answer | undefined {
    return parseAnswer(this.received, this.consumed, method, this.isOver);
  }
}

export async function openClient(port: number, host = '127.0.0.1'): Promise<RawClient> {
  const socket = connectTcp({ port, host, allowHalfOpen: true });
  await once(socket, 'connect');
  return new RawClient(socket);
}

/** Rejects where the handshake fails; with TLS 1.3 a server's refusal of our certificate shows only later, as `ended`. */
export async function openTlsClient(port: number, options: ConnectionOptions): Promise<RawClient> {
  const socket = connectTls({ port, host: '127.0.0.1', ...options });
  await once(socket, 'secureConnect');
  return new RawClient(socket);
}

/**
 * Parses one HTTP/1.1 answer at `from`; undefined while it is not whole. `over`: nothing follows, so that a body
 * without a length is complete. Knows only well-formed answers.
 */
export function parseAnswer(bytes: Buffer, from: number, method: string, over: boolean): Answer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n', from, 'latin1');
  if (headEnd < 0) return undefined;
  const [statusLine = '', ...lines] = bytes.toString('latin1', from, headEnd).split('\r\n');
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()]);
  }
  const [version = '', code = '', ...reason] = statusLine.split(' ');
  const status = Number(code);
  const rest = readBody(bytes, headEnd + 4, { method, status, headers, over });
  return rest && { version, status, reason: reason.join(' '), headers, ...rest };
}

interface BodyContext {
  readonly method: string;
  readonly status: number;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly over: boolean;
}

type ReadBody = Pick<Answer, 'body' | 'trailers' | 'end'>;

function readBody(bytes: Buffer, from: number, context: BodyContext): ReadBody | undefined {
  const { method, status, headers } = context;
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  if (bodiless || (method === 'CONNECT' && status < 300)) return { body: Buffer.alloc(0), trailers: [], end: from };
  if (headers.get('transfer-encoding')?.at(-1) === 'chunked') return readChunks(bytes, from);
  const length = headers.get('content-length')?.[0];
  if (length === undefined) {
    return context.over ? { body: bytes.subarray(from), trailers: [], end: bytes.length } : undefined;
  }
  const end = from + Number(length);
  return bytes.length < end ? undefined : { body: bytes.subarray(from, end), trailers: [], end };
}

function readChunks(bytes: Buffer, from: number): ReadBody | undefined {
  const parts: Buffer[] = [];
  let at = from;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at, 'latin1');
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    at = lineEnd + 2;
    if (size === 0) return readTrailers(bytes, at, Buffer.concat(parts));
    if (bytes.length < at + size + 2) return undefined;
    parts.push(bytes.subarray(at, at + size));
    at += size + 2;
  }
}

function readTrailers(bytes: Buffer, from: number, body: Buffer): ReadBody | undefined {
  const trailers: string[] = [];
  let at = from;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at, 'latin1');
    if (lineEnd < 0) return undefined;
    const line = bytes.toString('latin1', at, lineEnd);
    at = lineEnd + 2;
    if (line === '') return { body, trailers, end: at };
    trailers.push(line);
  }
}
