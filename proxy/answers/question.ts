/** A request as somebody describes it, read by the very parser that reads requests from the network. */
import type { Failure } from '../../shared/errors.ts';
import { type RequestEvents, RequestParser } from '../http/h1-parser.ts';
import { DEFAULT_LIMITS } from '../http/limits.ts';
import type { RequestHead } from '../http/message.ts';
import type { PathNormalization } from '../http/path.ts';
import type { HeaderField } from './explanation.ts';

export interface Question {
  readonly method: string;
  /** `http://HOST[:PORT]/PATH`, the same without the scheme, or `/PATH` beside a Host header. */
  readonly url: string;
  readonly headers: readonly HeaderField[];
  /** SPIFFE ID of the caller; without it AuthorizationPolicies are not asked. */
  readonly from?: string;
  /** Server name of the ClientHello that a CONNECT is followed by; without it, no TLS follows. */
  readonly serverName?: string;
}

/** Why a request ends before any policy sees it; `detail` may be empty. */
export interface Unread {
  readonly failure: Failure;
  readonly detail: string;
}

/** What a data thread would hand to routing, or why it would not. */
export function readQuestion(question: Question, normalization: PathNormalization): RequestHead | Unread {
  const reading = new Reading();
  const parser = new RequestParser(reading, { limits: DEFAULT_LIMITS, scheme: 'http', normalization });
  const bytes = Buffer.from(requestText(question));
  for (let at = 0; reading.answer === null && at < bytes.length; ) at = parser.feed(bytes, at, bytes.length);
  if (reading.answer === null) throw new Error('the head of a question has no end');
  return reading.answer;
}

/** Keeps the first thing that the parser says. */
class Reading implements RequestEvents {
  answer: RequestHead | Unread | null = null;

  onRequest(head: RequestHead): void {
    this.answer ??= head;
  }

  onRequestError(failure: Failure, detail: string): void {
    this.answer ??= { failure, detail };
  }

  onData(): void {}

  onEnd(): void {}
}

/** `name: value` each; a sentence where one is not. */
export function readHeaders(lines: readonly string[]): HeaderField[] | string {
  const headers: HeaderField[] = [];
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) return `a header must be 'name: value', not '${line}'`;
    headers.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
  }
  return headers;
}

/** Without a fragment, which no client sends. */
function requestText({ method, url, headers }: Question): string {
  const [plain = ''] = url.split('#', 1);
  const [, scheme, authority = '', rest = ''] = /^(?:(https?:)?\/\/)?([^/?]*)(.*)$/is.exec(plain) ?? [];
  const path = rest.startsWith('/') ? rest : `/${rest}`;
  const target = method === 'CONNECT' ? authority : scheme === undefined ? path : `${scheme}//${authority}${path}`;
  const named = headers.some(([name]) => name.toLowerCase() === 'host');
  const host = named || authority === '' ? '' : `Host: ${authority}\r\n`;
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `${method} ${target} HTTP/1.1\r\n${host}${lines}\r\n`;
}
