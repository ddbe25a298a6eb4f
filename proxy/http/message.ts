/**
 * HTTP messages as the data path holds them, of whatever version they came in: a head, and fields in the order and
 * spelling they arrived in. Codecs make and read these; nothing here does I/O.
 */

/** Body length that is not known ahead: chunked in HTTP/1.1, DATA until END_STREAM in HTTP/2. */
export const UNKNOWN_LENGTH = -1;
/** Body that ends when the upstream closes its connection (HTTP/1 responses only, RFC 9112 section 6.3 item 8). */
export const UNTIL_CLOSE = -2;

/** The version a message came in: 10, 11 or 20. */
export type HttpVersion = 10 | 11 | 20;

/**
 * End-to-end fields, in order, names in the case they arrived in; a name may stand more than once.
 *
 * `wire` is their HTTP/1.1 spelling (`Name: value\r\n` each). The HTTP/1 parser hands it over ready made, since the
 * common request is forwarded as it came; additions extend it, a removal drops it and the next reader rebuilds it.
 * Names are compared without regard to ASCII case; callers pass lower case.
 */
export class Fields {
  readonly names: string[];
  readonly values: string[];
  private spelled: string | null;

  constructor(names: string[] = [], values: string[] = [], wire: string | null = names.length === 0 ? '' : null) {
    this.names = names;
    this.values = values;
    this.spelled = wire;
  }

  get size(): number {
    return this.names.length;
  }

  /** Each field as `Name: value\r\n`. */
  get wire(): string {
    if (this.spelled !== null) return this.spelled;
    let wire = '';
    for (let i = 0; i < this.names.length; i++) wire += `${this.names[i]}: ${this.values[i]}\r\n`;
    this.spelled = wire;
    return wire;
  }

  /** `wire` where it is ready made, else null: for who can do without. */
  get readyWire(): string | null {
    return this.spelled;
  }

  /** The first value of `name` (lower case), or undefined. */
  get(name: string): string | undefined {
    const at = this.indexOf(name, 0);
    return at < 0 ? undefined : this.values[at];
  }

  /** Every value of `name` (lower case), in order. */
  getAll(name: string): string[] {
    const all: string[] = [];
    for (let at = this.indexOf(name, 0); at >= 0; at = this.indexOf(name, at + 1)) all.push(this.values[at] as string);
    return all;
  }

  has(name: string): boolean {
    return this.indexOf(name, 0) >= 0;
  }

  /** Appends a field, keeping those of the same name. */
  append(name: string, value: string): void {
    this.names.push(name);
    this.values.push(value);
    if (this.spelled !== null) this.spelled += `${name}: ${value}\r\n`;
  }

  /** Replaces every field of this name by one, at the place of the first (or at the end). */
  set(name: string, value: string): void {
    const at = this.indexOf(name.toLowerCase(), 0);
    if (at < 0) {
      this.append(name, value);
      return;
    }
    if (this.values[at] === value && this.indexOf(name.toLowerCase(), at + 1) < 0) return;
    this.values[at] = value;
    this.spelled = null;
    this.removeFrom(name.toLowerCase(), at + 1);
  }

  /** Removes every field of this name (lower case). */
  remove(name: string): void {
    this.removeFrom(name, 0);
  }

  private removeFrom(name: string, start: number): void {
    let at = this.indexOf(name, start);
    if (at < 0) return;
    this.spelled = null;
    for (; at >= 0; at = this.indexOf(name, at)) {
      this.names.splice(at, 1);
      this.values.splice(at, 1);
    }
  }

  private indexOf(name: string, start: number): number {
    const { names } = this;
    for (let i = start; i < names.length; i++) {
      const candidate = names[i] as string;
      if (candidate.length === name.length && (candidate === name || candidate.toLowerCase() === name)) return i;
    }
    return -1;
  }
}

/**
 * The head of a request, framing and hop-by-hop fields already taken out of `fields` (RFC 9110 section 7.6.1) and into
 * the properties below. `Host` stays in `fields`, canonical.
 */
export class RequestHead {
  method: string;
  /** The scheme the caller used, as far as known: of an absolute-form target or `:scheme`, else of the connection. */
  scheme: 'http' | 'https';
  /** Canonical `host` or `host:port`: lower case, no userinfo, no trailing dot. Empty only for HTTP/1.0 without Host. */
  authority: string;
  /** Path and query as they will be forwarded, normalised once; `*` for OPTIONS *; empty for CONNECT. */
  path: string;
  readonly fields: Fields;
  /** Body length in bytes, or UNKNOWN_LENGTH. 0 means no body. */
  length: number;
  readonly version: HttpVersion;
  /** The caller asked to end the connection after this exchange (`Connection: close`, or HTTP/1.0 without keep-alive). */
  readonly close: boolean;
  /** `Expect: 100-continue` was sent. */
  readonly expectContinue: boolean;
  /** `TE: trailers` was sent. */
  readonly acceptsTrailers: boolean;
  /** The one protocol of `Upgrade`, nominated by `Connection`, as sent; null without. */
  upgrade: string | null;
  /** The version the first caller spoke, which a sidecar in between may have changed; as `version` until told. */
  origin: HttpVersion;
  /** Milliseconds that the caller's sidecar leaves for this request, -1 if it says nothing. */
  leftMs: number;
  /** Which attempt of the caller's sidecar this is, from 1. */
  attempt: number;

  constructor(
    method: string,
    scheme: 'http' | 'https',
    authority: string,
    path: string,
    fields: Fields,
    length: number,
    version: HttpVersion,
    close: boolean,
    expectContinue: boolean,
    acceptsTrailers: boolean,
    upgrade: string | null,
  ) {
    this.method = method;
    this.scheme = scheme;
    this.authority = authority;
    this.path = path;
    this.fields = fields;
    this.length = length;
    this.version = version;
    this.close = close;
    this.expectContinue = expectContinue;
    this.acceptsTrailers = acceptsTrailers;
    this.upgrade = upgrade;
    this.origin = version;
    this.leftMs = -1;
    this.attempt = 1;
  }
}

/** The head of a final or interim (1xx) response, hop-by-hop and framing fields taken out as in RequestHead. */
export class ResponseHead {
  status: number;
  reason: string;
  readonly fields: Fields;
  /** Body length in bytes, UNKNOWN_LENGTH or UNTIL_CLOSE; 0 means none. */
  length: number;
  /** `Content-Length` of an answer that has no body of its own (HEAD, 304): passed on, frames nothing. -1 without. */
  statedLength: number;
  readonly version: HttpVersion;
  /** The far side ends its connection after this answer. */
  readonly close: boolean;
  /** Seconds of `Keep-Alive: timeout=`, -1 without. */
  readonly keepAliveSeconds: number;
  /** The protocol of a 101, null otherwise. */
  readonly upgrade: string | null;

  constructor(
    status: number,
    reason: string,
    fields: Fields,
    length: number,
    statedLength: number,
    version: HttpVersion,
    close: boolean,
    keepAliveSeconds: number,
    upgrade: string | null,
  ) {
    this.status = status;
    this.reason = reason;
    this.fields = fields;
    this.length = length;
    this.statedLength = statedLength;
    this.version = version;
    this.close = close;
    this.keepAliveSeconds = keepAliveSeconds;
    this.upgrade = upgrade;
  }
}
