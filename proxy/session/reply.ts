/**
 * Local answers: what weft says in its own name. A refusal is one line of text and a `Proxy-Status` that names the row
 * of the error table (RFC 9209; CONTRACT, "What a caller sees").
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Fields, ResponseHead } from '../http/message.ts';
import type { LocalAnswer } from '../policy/policy.ts';

const REASONS: ReadonlyMap<number, string> = new Map([
  [200, 'OK'],
  [204, 'No Content'],
  [301, 'Moved Permanently'],
  [302, 'Found'],
  [303, 'See Other'],
  [307, 'Temporary Redirect'],
  [308, 'Permanent Redirect'],
  [400, 'Bad Request'],
  [401, 'Unauthorized'],
  [403, 'Forbidden'],
  [404, 'Not Found'],
  [408, 'Request Timeout'],
  [413, 'Content Too Large'],
  [414, 'URI Too Long'],
  [417, 'Expectation Failed'],
  [429, 'Too Many Requests'],
  [431, 'Request Header Fields Too Large'],
  [500, 'Internal Server Error'],
  [502, 'Bad Gateway'],
  [503, 'Service Unavailable'],
  [504, 'Gateway Timeout'],
  [505, 'HTTP Version Not Supported'],
]);

/** A quoted string of RFC 9651 holds printable ASCII; quotes and backslashes are escaped away. */
const UNQUOTABLE = /[^\x20-\x7e]|["\\]/g;
const MAX_DETAIL = 300;

export interface Reply {
  readonly head: ResponseHead;
  readonly body: Buffer;
}

/** Envoy's text, which scripts look for. */
const ACCESS_DENIED = 'RBAC: access denied';

export function refusal(failure: Failure, detail: string): Reply {
  const body = failure === FAILURES.denied ? ACCESS_DENIED : '';
  return answer({ status: failure.status, failure, detail, headers: [], body });
}

export function answer(local: LocalAnswer): Reply {
  const { failure } = local;
  const fields = new Fields();
  for (const [name, value] of local.headers) fields.append(name, value);
  let text = local.body;
  if (failure !== null) {
    const why = local.detail === '' ? failure.advice : local.detail;
    const quoted = why.replaceAll(UNQUOTABLE, "'").slice(0, MAX_DETAIL);
    fields.append('proxy-status', `weft; error=${failure.token}; details="${failure.word}: ${quoted}"`);
    // Who says what an RPC is told has no content to send (trailers-only).
    if (text === '' && !fields.has('grpc-status')) text = `${failure.word}: ${quoted}\n`;
  }
  const body = Buffer.from(text);
  if (body.length > 0 && !fields.has('content-type')) fields.append('content-type', 'text/plain; charset=utf-8');
  const reason = REASONS.get(local.status) ?? '';
  return { head: new ResponseHead(local.status, reason, fields, body.length, -1, 11, false, -1, null), body };
}

/**
 * Takes out of an application's answer what only a sidecar may say: its caller's would send the request again. It need not
 * be malice, an application may pass on what its own outbound was told.
 */
export function dropForgedRefusal(fields: Fields): void {
  if (fields.getAll('proxy-status').some((said) => said.includes('weft;'))) fields.remove('proxy-status');
}
