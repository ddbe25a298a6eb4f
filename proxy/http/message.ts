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
 * The HTTP/1 parser hands them over as one text, since the common message is forwarded as it came: they are taken apart
 * only when somebody looks at one that may be there, which the initials of the names tell. What is added stands beside
 * that text; a removal drops it, and the next reader spells the fields anew.
 * Names are compared without regard to ASCII case; callers pass lower case.
 */
export class Fields {
  private nameList: string[] | null;
  private valueList: string[] | null;
  private arrivedText: string | null;
  private addedText = '';
  /** A bit for each letter that a name begins with. */
  private initials: number;

  constructor(names: string[] = [], values: string[] = []) {
    this.nameList = names;
    this.valueList = values;
    this.arrivedText = names.length === 0 ? '' : null;
    this.initials = names.length === 0 ? 0 : ANY_INITIAL;
  }

  /** Of `wire`, each field as `Name: value\r\n` exactly; `initials` has the `initialOf` of each name. */
  static spelled(wire: string, initials: number): Fields {
    const fields = new Fields();
    fields.arrivedText = wire;
    fields.initials = initials;
    if (wire !== '') {
      fields.nameList = null;
      fields.valueList = null;
    }
    return fields;
  }

  get names(): readonly string[] {
    return this.nameList ?? this.takeApart();
  }

  get values(): readonly string[] {
    if (this.valueList === null) this.takeApart();
    return this.valueList as string[];
  }

  get size(): number {
    return this.names.length;
  }

  /** Each field as `Name: value\r\n`. */
  get wire(): string {
    if (this.arrivedText === null) this.spell();
    return this.addedText === '' ? (this.arrivedText as string) : this.arrivedText + this.addedText;
  }

  /** The part of `wire` that repeats from message to message, where it is ready made; `added` follows it. */
  get arrived(): string | null {
    return this.arrivedText;
  }

  /** What was appended to `arrived`, spelled like it. */
  get added(): string {
    return this.addedText;
  }

  /** May one of the names begin with one of these letters (`initialOf`)? */
  mayHold(initials: number): boolean {
    return (this.initials & initials) !== 0;
  }

  /** The first value of `name` (lower case), or undefined. */
  get(name: string): string | undefined {
    if (this.nameList === null) return this.mayHold(initialOf(name.charCodeAt(0))) ? this.search(name) : undefined;
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
    this.initials |= initialOf(name.charCodeAt(0));
    if (this.nameList !== null) {
      this.nameList.push(name);
      (this.valueList as string[]).push(value);
    }
    if (this.arrivedText !== null) this.addedText += `${name}: ${value}\r\n`;
  }

  /** Replaces every field of this name by one, at the place of the first (or at the end). */
  set(name: string, value: string): void {
    const lower = name.toLowerCase();
    const at = this.indexOf(lower, 0);
    if (at < 0) {
      this.append(name, value);
      return;
    }
    if (this.values[at] === value && this.indexOf(lower, at + 1) < 0) return;
    (this.valueList as string[])[at] = value;
    this.forgetText();
    this.removeFrom(lower, at + 1);
  }

  /** Removes every field of this name (lower case). */
  remove(name: string): void {
    this.removeFrom(name, 0);
  }

  /** Removes the field at this place of `names`. */
  removeAt(place: number): void {
    const names = this.names as string[];
    const values = this.valueList as string[];
    this.forgetText();
    takeOut(names, place);
    takeOut(values, place);
  }

  /** Fields of their own that hold the same. */
  copy(): Fields {
    return this.arrivedText === null
      ? new Fields([...this.names], [...this.values])
      : Fields.spelled(this.wire, this.initials);
  }

  private removeFrom(name: string, start: number): void {
    let at = this.indexOf(name, start);
    if (at < 0) return;
    this.forgetText();
    for (; at >= 0; at = this.indexOf(name, at)) {
      takeOut(this.nameList as string[], at);
      takeOut(this.valueList as string[], at);
    }
  }

  /** Both lists are there when it is called. */
  private forgetText(): void {
    this.arrivedText = null;
    this.addedText = '';
  }

  private spell(): void {
    const { names, values } = this;
    let wire = '';
    for (let i = 0; i < names.length; i++) wire += `${names[i]}: ${values[i]}\r\n`;
    this.arrivedText = wire;
  }

  private takeApart(): string[] {
    const { wire } = this;
    const names: string[] = [];
    const values: string[] = [];
    for (let at = 0; at < wire.length; ) {
      const colon = wire.indexOf(':', at);
      const end = wire.indexOf('\r\n', colon);
      names.push(wire.slice(at, colon));
      values.push(wire.slice(colon + 2, end));
      at = end + 2;
    }
    this.nameList = names;
    this.valueList = values;
    return names;
  }

  /** To look for one field is no reason to take all of them apart, which costs four times as much. */
  private search(name: string): string | undefined {
    return searchIn(this.arrivedText as string, name) ?? searchIn(this.addedText, name);
  }

  private indexOf(name: string, start: number): number {
    if (!this.mayHold(initialOf(name.charCodeAt(0)))) return -1;
    const { names } = this;
    for (let i = start; i < names.length; i++) {
      const candidate = names[i] as string;
      if (candidate.length === name.length && (candidate === name || candidate.toLowerCase() === name)) return i;
    }
    return -1;
  }
}

const ANY_INITIAL = -1;
const COLON = 0x3a;

/** What `splice(place, 1)` does without the array that it makes: every request of the mesh hop loses a field or two. */
function takeOut(list: string[], place: number): void {
  for (let i = place + 1; i < list.length; i++) list[i - 1] = list[i] as string;
  list.pop();
}

/** The first value of `name` (lower case) among lines as `spelled` takes them. */
function searchIn(lines: string, name: string): string | undefined {
  const { length } = name;
  for (let at = 0; at < lines.length; ) {
    const end = lines.indexOf('\r\n', at);
    if (lines.charCodeAt(at + length) === COLON && lines.slice(at, at + length).toLowerCase() === name) {
      return lines.slice(at + length + 2, end);
    }
    at = end + 2;
  }
  return undefined;
}

/** The bit of names that begin with this character, in either case. */
export function initialOf(character: number): number {
  return 1 << (character & 31);
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
  /** The target came in absolute form, and goes on so (RFC 9112 section 3.2.2): for a proxy behind us, no one else. */
  absolute: boolean;
  /** The version the first caller spoke, which a sidecar in between may have changed; as `version` until told. */
  origin: HttpVersion;
  /** Milliseconds that the caller's sidecar leaves for this request, -1 if it says nothing. */
  leftMs: number;
  /** Which attempt of the caller's sidecar this is, from 1. */
  attempt: number;
  /** `length` is 0, and yet the head has not ended its HTTP/2 stream: there may be trailers (RFC 9113 section 8.1). */
  trailersMayFollow: boolean;

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
    this.absolute = false;
    this.origin = version;
    this.leftMs = -1;
    this.attempt = 1;
    this.trailersMayFollow = false;
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
  /** As in RequestHead. */
  trailersMayFollow: boolean;

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
    this.trailersMayFollow = false;
  }
}

const GRPC_TYPE = 'application/grpc';

/**
 * gRPC requests are POSTs with this content type, or one of its formats and parameters. gRPC-Web, which begins like it, is
 * ordinary HTTP: its codes travel in its content.
 */
export function isGrpc(head: RequestHead): boolean {
  const type = head.method === 'POST' ? head.fields.get('content-type') : undefined;
  return type !== undefined && isGrpcType(type);
}

export function isGrpcType(type: string): boolean {
  if (!type.startsWith(GRPC_TYPE)) return false;
  const next = type[GRPC_TYPE.length];
  return next === undefined || next === '+' || next === ';' || next === ' ';
}

/** Has the message neither body nor trailers? */
export function endsWithHead({ length, trailersMayFollow }: RequestHead | ResponseHead): boolean {
  return length === 0 && !trailersMayFollow;
}
