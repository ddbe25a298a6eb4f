/**
 * Decoded fields to messages, by the rules of RFC 9113 section 8: what is malformed here must never reach the next hop,
 * where it might be read as something else.
 */

import { FAILURES } from '../../shared/errors.ts';
import { canonicalAuthority } from './authority.ts';
import { isTargetText, isToken } from './chars.ts';
import { BAD_EXPECT, BAD_PATH, type H2Fault, malformed, WRONG_LENGTH } from './h2-faults.ts';
import {
  AUTHORITY,
  CONNECTION,
  COOKIE,
  EXPECT,
  type FieldName,
  HOST,
  INVALID,
  LAST_PSEUDO,
  LENGTH,
  METHOD,
  ORDINARY,
  PATH,
  PROTOCOL,
  SCHEME,
  STATUS,
  TE,
} from './h2-names.ts';
import { Fields, RequestHead, ResponseHead, UNKNOWN_LENGTH } from './message.ts';
import { normalizePath, type PathNormalization } from './path.ts';

const BAD_NAME = malformed('a field name is not a lower-case token');
const BAD_PSEUDO = malformed('a pseudo-header field is unknown, repeated, misplaced or not for this message');
const MISSING_PSEUDO = malformed('a pseudo-header field is missing');
const CONNECTION_FIELD = malformed('a field is specific to HTTP/1 connections');
const BAD_TE = malformed('TE says more than trailers');
const BAD_METHOD = malformed(':method is not a token', FAILURES.malformedRequestLine);
const BAD_SCHEME = malformed(':scheme is neither http nor https', FAILURES.badTarget);
const BAD_TARGET = malformed(':path is not of the form that the method needs', FAILURES.badTarget);
const BAD_HOST = malformed(':authority is no valid host', FAILURES.badHost);
const TWO_HOSTS = malformed('Host and :authority differ', FAILURES.badHost);
const BAD_STATUS = malformed(':status is not three digits from 100, or is 101', FAILURES.malformedRequestLine);

/** What a header section says, gathered field by field. One is reused for every block of a connection. */
export class HeadReader {
  private readonly normalization: PathNormalization;
  private readonly pseudo: (string | null)[] = [null, null, null, null, null, null, null, null];
  private names: string[] = [];
  private values: string[] = [];
  private host: string | null = null;
  private length: number = UNKNOWN_LENGTH;
  private expect: string | null = null;
  private te = false;
  private cookieAt = -1;
  private lastAuthority = '';
  private lastCanonical: string | null = null;

  constructor(normalization: PathNormalization) {
    this.normalization = normalization;
  }

  /** A request of `count` fields. `length` of the head is UNKNOWN_LENGTH where nothing is stated and a body may follow. */
  request(
    names: readonly FieldName[],
    values: readonly string[],
    count: number,
    endStream: boolean,
  ): RequestHead | H2Fault {
    const wrong = this.gather(names, values, count, true) ?? this.pseudoFault();
    if (wrong !== null) return wrong;
    const method = this.pseudo[METHOD] as string;
    const raw = this.pseudo[AUTHORITY] ?? this.host;
    const authority = raw === null || raw === undefined ? null : this.authority(raw);
    if (authority === null) return BAD_HOST;
    if (this.host !== null && this.host !== raw && canonicalAuthority(this.host) !== authority) return TWO_HOSTS;
    if (this.expect !== null && this.expect.toLowerCase() !== '100-continue') return BAD_EXPECT;
    const path = this.path(method);
    if (typeof path !== 'string') return path;
    if (endStream && this.length > 0) return WRONG_LENGTH;
    this.values[0] = authority;
    const head = new RequestHead(
      method,
      this.pseudo[SCHEME] === 'https' ? 'https' : 'http',
      authority,
      path,
      new Fields(this.names, this.values),
      endStream ? 0 : this.length,
      20,
      false,
      this.expect !== null,
      this.te,
      this.pseudo[PROTOCOL] as string | null,
    );
    head.trailersMayFollow = !endStream && this.length === 0;
    return head;
  }

  /**
   * A response to a request of `method`, final or interim. The head of an answer without a body of its own (HEAD, 304)
   * keeps its Content-Length in `statedLength`.
   */
  response(
    names: readonly FieldName[],
    values: readonly string[],
    count: number,
    endStream: boolean,
    method: string,
  ): ResponseHead | H2Fault {
    const wrong = this.gather(names, values, count, false);
    if (wrong !== null) return wrong;
    const status = statusOf(this.pseudo[STATUS] as string | null);
    if (status === 0) return BAD_STATUS;
    const bodiless = status < 200 || status === 204 || status === 304 || method === 'HEAD';
    if (endStream && this.length > 0 && !bodiless) return WRONG_LENGTH;
    const stated = bodiless ? this.length : -1;
    const length = bodiless || endStream ? 0 : this.length;
    const fields = new Fields(this.names, this.values);
    const head = new ResponseHead(status, '', fields, length, stated, 20, false, -1, null);
    head.trailersMayFollow = !endStream && !bodiless && length === 0;
    return head;
  }

  /** A trailer section: no pseudo-header fields; framing, routing and credentials are left out (RFC 9110 section 6.5.1). */
  trailers(names: readonly FieldName[], values: readonly string[], count: number): Fields | H2Fault {
    const fields = new Fields();
    for (let i = 0; i < count; i++) {
      const name = names[i] as FieldName;
      if (name.kind <= LAST_PSEUDO && name.kind !== ORDINARY) return BAD_PSEUDO;
      if (name.kind === INVALID) return BAD_NAME;
      if (name.kind === CONNECTION) return CONNECTION_FIELD;
      if (name.kind === ORDINARY && !NOT_IN_TRAILERS.has(name.text)) fields.append(name.text, values[i] as string);
    }
    return fields;
  }

  private gather(
    names: readonly FieldName[],
    values: readonly string[],
    count: number,
    isRequest: boolean,
  ): H2Fault | null {
    const { pseudo } = this;
    // By hand: `fill` leaves compiled code, twice per request of the mesh hop.
    for (let kind = 0; kind < pseudo.length; kind++) pseudo[kind] = null;
    this.names = isRequest ? ['host'] : [];
    // Place of `Host`, which leads the fields as it does in HTTP/1; its value is known at the end.
    this.values = isRequest ? [''] : [];
    this.host = null;
    this.length = UNKNOWN_LENGTH;
    this.expect = null;
    this.te = false;
    this.cookieAt = -1;
    let regular = false;
    for (let i = 0; i < count; i++) {
      const { kind, text } = names[i] as FieldName;
      const value = values[i] as string;
      if (kind === ORDINARY) {
        regular = true;
        this.names.push(text);
        this.values.push(value);
      } else if (kind <= LAST_PSEUDO) {
        if (regular || (kind === STATUS) === isRequest || pseudo[kind] !== null) return BAD_PSEUDO;
        if (kind > STATUS) return BAD_PSEUDO;
        pseudo[kind] = value;
      } else {
        regular = true;
        const wrong = this.special(kind, text, value, isRequest);
        if (wrong !== null) return wrong;
      }
    }
    return null;
  }

  /** A field that means something to the codec itself. */
  private special(kind: number, text: string, value: string, isRequest: boolean): H2Fault | null {
    switch (kind) {
      case HOST:
        if (this.host !== null) return TWO_HOSTS;
        this.host = value;
        return null;
      case LENGTH: {
        if (this.length !== UNKNOWN_LENGTH) return WRONG_LENGTH;
        this.length = lengthOf(value);
        return this.length < 0 ? WRONG_LENGTH : null;
      }
      case TE:
        if (value !== 'trailers') return BAD_TE;
        this.te = true;
        return null;
      case EXPECT:
        if (this.expect !== null) return BAD_EXPECT;
        this.expect = value;
        return null;
      case COOKIE:
        if (isRequest && this.cookieAt >= 0) {
          // Crumbs become one field again (section 8.2.3).
          this.values[this.cookieAt] += `; ${value}`;
          return null;
        }
        this.cookieAt = this.names.length;
        this.names.push(text);
        this.values.push(value);
        return null;
      case CONNECTION:
        return CONNECTION_FIELD;
      default:
        return kind === INVALID ? BAD_NAME : BAD_PSEUDO;
    }
  }

  /** Which pseudo-header fields a request must and must not have (section 8.3.1, 8.5; RFC 8441 section 4). */
  private pseudoFault(): H2Fault | null {
    const { pseudo } = this;
    const method = pseudo[METHOD];
    if (method === null || method === undefined) return MISSING_PSEUDO;
    if (!isToken(method)) return BAD_METHOD;
    const tunnel = method === 'CONNECT' && pseudo[PROTOCOL] === null;
    if (tunnel) return pseudo[SCHEME] === null && pseudo[PATH] === null ? null : BAD_PSEUDO;
    if (pseudo[SCHEME] === null || pseudo[PATH] === null) return MISSING_PSEUDO;
    if (pseudo[SCHEME] !== 'http' && pseudo[SCHEME] !== 'https') return BAD_SCHEME;
    if (pseudo[PROTOCOL] !== null && (method !== 'CONNECT' || !isToken(pseudo[PROTOCOL] as string))) return BAD_PSEUDO;
    return null;
  }

  /** Most requests of a connection name the authority that the one before named. */
  private authority(raw: string): string | null {
    if (raw === this.lastAuthority) return this.lastCanonical;
    this.lastCanonical = canonicalAuthority(raw);
    this.lastAuthority = raw;
    return this.lastCanonical;
  }

  private path(method: string): string | H2Fault {
    const path = this.pseudo[PATH] as string | null;
    if (path === null) return '';
    if (path === '*') return method === 'OPTIONS' ? path : BAD_TARGET;
    if (path.charCodeAt(0) !== 0x2f || !isTargetText(path)) return BAD_TARGET;
    return normalizePath(path, this.normalization) ?? BAD_PATH;
  }
}

/** Fields that would change how the message was framed, routed or authorized after the fact. */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'proxy-authenticate',
  'www-authenticate',
  'set-cookie',
  'content-encoding',
  'content-type',
  'content-range',
  'trailer',
  'cache-control',
  'max-forwards',
  'range',
]);

function lengthOf(value: string): number {
  if (value.length === 0 || value.length > 16) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length <= Number.MAX_SAFE_INTEGER ? length : -1;
}

/** 0 for anything but 100 to 599 (999 is digits too, but no status); 101 has no meaning in HTTP/2 (section 8.6). */
function statusOf(text: string | null): number {
  if (text === null || text.length !== 3) return 0;
  const status = lengthOf(text);
  return status >= 100 && status <= 999 && status !== 101 ? status : 0;
}
