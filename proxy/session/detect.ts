/**
 * What protocol a connection speaks, told from its first bytes: pure, and content with as few as decide.
 *
 * A PROXY protocol header is told by its signature (session/proxy-header reads it). TLS is a handshake record with a
 * ClientHello (RFC 8446 section 4.1.2), of which the ALPN and server name are read; HTTP/2 is its preface (RFC 9113 section
 * 3.4); HTTP/1 a method and a space, a line that names the protocol, and whatever else a lenient server might take for a
 * request: opaque bytes pass unjudged, so odd requests must not. Everything else is opaque.
 */
import { proxySignature } from './proxy-header.ts';

export type Detected =
  | { readonly protocol: 'tls'; readonly serverName: string; readonly alpn: readonly string[] }
  | { readonly protocol: 'proxy' | 'h1' | 'h2' | 'opaque' | 'more' };

const MORE: Detected = Object.freeze({ protocol: 'more' });
export const OPAQUE: Detected = Object.freeze({ protocol: 'opaque' });
const PROXY: Detected = Object.freeze({ protocol: 'proxy' });
const H1: Detected = Object.freeze({ protocol: 'h1' });
const H2: Detected = Object.freeze({ protocol: 'h2' });

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const ANSWER = Buffer.from('HTTP/', 'latin1');
const ANY_BYTE = -1;
/** Of a SETTINGS frame that acknowledges none: length, type 4, no flags, stream 0. Settings fill less than 64 KB. */
const SETTINGS_HEADER: readonly number[] = [0, ANY_BYTE, ANY_BYTE, 4, 0, 0, 0, 0, 0];
/** Text without a line end for longer than this is a request line that its parser refuses as too long. */
const MAX_LINE = 8192;
const LF = 0x0a;
const SP = 0x20;
/**
 * Methods that need no protocol's name behind them: a server may take `GET /` for HTTP/0.9. Other words begin the lines
 * of many protocols (`get key` is memcached's), and are a request's where the line says HTTP.
 */
const METHODS: ReadonlySet<string> = new Set('GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH'.split(' '));
const LONGEST_METHOD = 'CONNECT'.length;
/** In a first line that may be a request's, whatever stands around it. */
const HTTP_VERSION = /http\//i;
const TLS_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER = 5;
/** RFC 8446 section 5.1: 2^14 bytes of plain text in a record. */
const MAX_RECORD = 16_384;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;
/** A hello in more bytes than this is not for telling protocols apart: with everything in it that there is, it has 4 KB. */
export const MAX_DETECT_BYTES = 16_384;
/** Records that one hello may be spread over. Each arriving byte looks at all of them again. */
const MAX_RECORDS = 16;

export function detect(bytes: Buffer): Detected {
  if (bytes.length === 0) return MORE;
  if (bytes[0] === TLS_HANDSHAKE) return detectTls(bytes);
  if (isPrefix(bytes, PREFACE)) return bytes.length < PREFACE.length ? MORE : H2;
  const signature = proxySignature(bytes);
  if (signature === 'none') return detectH1(bytes);
  return signature === 'more' ? MORE : PROXY;
}

/** Are these bytes, as far as they go, those that `whole` begins with? */
function isPrefix(bytes: Buffer, whole: Buffer): boolean {
  const known = Math.min(bytes.length, whole.length);
  return bytes.compare(whole, 0, known, 0, known) === 0;
}

/**
 * Does a server that spoke first speak HTTP? An answer before its request (a time-out, RFC 9110 section 15.5.9), or the
 * SETTINGS with which an HTTP/2 server may begin (RFC 9113 section 3.4). Whoever waits for those must not thereby get
 * around what is judged by request.
 */
export function detectServer(bytes: Buffer): 'http' | 'opaque' | 'more' {
  if (isPrefix(bytes, ANSWER)) return bytes.length < ANSWER.length ? 'more' : 'http';
  for (let i = 0; i < SETTINGS_HEADER.length; i++) {
    const expected = SETTINGS_HEADER[i] as number;
    if (i === bytes.length) return 'more';
    if (expected !== ANY_BYTE && bytes[i] !== expected) return 'opaque';
  }
  return 'http';
}

function detectH1(all: Buffer): Detected {
  // Servers skip line ends and blanks before a request; the parser judges them.
  const bytes = all.subarray(skipBlanks(all));
  if (bytes.length === 0) return all.length > MAX_LINE ? H1 : MORE;
  if (!isMethodByte(bytes[0] as number)) return OPAQUE;
  if (beginsWithMethod(bytes)) return H1;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (byte === LF) return HTTP_VERSION.test(bytes.toString('latin1', 0, i)) ? H1 : OPAQUE;
    // There are servers that read on over control bytes; behind a word and a blank the parser refuses what they would take.
    if (byte < SP && !isBlank(byte)) return beginsWithWord(bytes) ? H1 : OPAQUE;
  }
  return all.length > MAX_LINE ? H1 : MORE;
}

/** Where the first byte stands that is neither a blank nor a line end. */
function skipBlanks(bytes: Buffer): number {
  let at = 0;
  while (at < bytes.length && (bytes[at] === LF || isBlank(bytes[at] as number))) at++;
  return at;
}

/** A token, and a blank behind it. */
function beginsWithWord(bytes: Buffer): boolean {
  let at = 0;
  while (at < bytes.length && isMethodByte(bytes[at] as number)) at++;
  return at > 0 && at < bytes.length && isBlank(bytes[at] as number);
}

function beginsWithMethod(bytes: Buffer): boolean {
  const space = bytes.subarray(0, LONGEST_METHOD + 1).indexOf(SP);
  return space > 0 && METHODS.has(bytes.toString('latin1', 0, space));
}

/** What one server or another takes for a blank between the words of a request line; CR counts, LF does not. */
function isBlank(byte: number): boolean {
  return (
    (byte !== LF && byte >= 0x09 && byte <= 0x0d) || (byte >= 0x1c && byte <= SP) || byte === 0x85 || byte === 0xa0
  );
}

function isLetter(byte: number): boolean {
  return (byte | SP) >= 0x61 && (byte | SP) <= 0x7a && byte < 0x80;
}

/** `tchar` of RFC 9110 section 5.6.2. */
function isMethodByte(byte: number): boolean {
  return isLetter(byte) || (byte >= 0x30 && byte <= 0x39) || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(byte));
}

function detectTls(bytes: Buffer): Detected {
  if (bytes.length > 1 && bytes[1] !== 3) return OPAQUE;
  if (bytes.length < RECORD_HEADER) return MORE;
  const hello = handshakeBytes(bytes);
  if (hello === null) return OPAQUE;
  if (hello.length > 0 && hello[0] !== CLIENT_HELLO) return OPAQUE;
  if (hello.length < 4) return MORE;
  const length = hello.readUIntBE(1, 3);
  if (length > MAX_DETECT_BYTES) return OPAQUE;
  if (hello.length < 4 + length) return MORE;
  return readHello(new Reader(hello.subarray(4, 4 + length)));
}

/** The handshake bytes of the records seen so far; a hello may be spread over several. Null if these are no records. */
function handshakeBytes(bytes: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  for (let at = 0; at + RECORD_HEADER <= bytes.length; ) {
    if (bytes[at] !== TLS_HANDSHAKE || bytes[at + 1] !== 3) return null;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD || parts.length === MAX_RECORDS) return null;
    parts.push(bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length));
    at += RECORD_HEADER + length;
  }
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
}

function readHello(reader: Reader): Detected {
  reader.skip(2 + 32);
  reader.skip(reader.uint8());
  reader.skip(reader.uint16());
  reader.skip(reader.uint8());
  let serverName = '';
  let alpn: string[] = [];
  const extensions = reader.block(reader.uint16());
  while (extensions.left > 0 && !extensions.failed) {
    const type = extensions.uint16();
    const body = extensions.block(extensions.uint16());
    if (type === EXTENSION_SERVER_NAME) serverName = readServerName(body);
    else if (type === EXTENSION_ALPN) alpn = readAlpn(body);
  }
  // A hello that does not parse is left to whoever terminates TLS: it is TLS all the same.
  return { protocol: 'tls', serverName, alpn };
}

function readServerName(reader: Reader): string {
  const list = reader.block(reader.uint16());
  const type = list.uint8();
  const name = list.block(list.uint16());
  return type === 0 ? name.text().toLowerCase() : '';
}

function readAlpn(reader: Reader): string[] {
  const list = reader.block(reader.uint16());
  const names: string[] = [];
  while (list.left > 0 && !list.failed) names.push(list.block(list.uint8()).text());
  return names;
}

/** Reads big-endian values; past the end it gives zeros and says `failed`. */
class Reader {
  failed = false;
  private readonly bytes: Buffer;
  private at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  uint8(): number {
    return this.take(1) ? (this.bytes[this.at - 1] as number) : 0;
  }

  uint16(): number {
    return this.take(2) ? this.bytes.readUInt16BE(this.at - 2) : 0;
  }

  skip(length: number): void {
    this.take(length);
  }

  block(length: number): Reader {
    const start = this.at;
    return new Reader(this.take(length) ? this.bytes.subarray(start, start + length) : Buffer.alloc(0));
  }

  text(): string {
    return this.bytes.toString('latin1', this.at);
  }

  private take(length: number): boolean {
    if (length > this.left) {
      this.failed = true;
      this.at = this.bytes.length;
      return false;
    }
    this.at += length;
    return true;
  }
}
