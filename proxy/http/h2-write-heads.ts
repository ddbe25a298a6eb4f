/**
 * Messages to HPACK blocks. A block is built as a string of one character per byte and copied into the output once,
 * which costs less than writing each field by itself. Nothing is indexed and nothing Huffman-coded: between sidecars
 * bytes are cheap, and every block then means the same on every connection.
 */
import { knownBlock, rememberBlock } from './h2-blocks.ts';
import { hpackInteger, spelledName } from './h2-names.ts';
import type { Fields, RequestHead, ResponseHead } from './message.ts';

/**
 * A dynamic table size update to 0, due in the first block of a connection: from then on the peer's decoder needs no
 * table for us, whatever its SETTINGS say (RFC 7541 section 4.2).
 */
export const NO_TABLE = '\x20';

const LENGTHS: readonly string[] = Array.from({ length: 256 }, (_, length) => hpackInteger(0, 7, length));
const STATUS_BLOCKS: readonly string[] = Array.from({ length: 1000 }, (_, status) => statusBlock(status));

const METHOD_NAME = '\x12';
const AUTHORITY_NAME = '\x11';
const PATH_NAME = '\x14';
const METHOD_GET = '\x82';
const METHOD_POST = '\x83';
const PATH_ROOT = '\x84';
const SCHEME_HTTP = '\x86';
const SCHEME_HTTPS = '\x87';
const CONTENT_LENGTH = spelledName('content-length').literal;
const PROTOCOL = spelledName(':protocol').literal;
const TE_TRAILERS: string = spelledName('te').literal + text('trailers');
const EXPECT_CONTINUE: string = spelledName('expect').literal + text('100-continue');

/**
 * The block of a request. `length`: bytes of the body, UNKNOWN_LENGTH, or 0 for none; `extra`: ready-made field lines
 * (`name: value\r\n`). A head with `upgrade` becomes an extended CONNECT (RFC 8441), a CONNECT without it a plain one.
 */
export function requestBlock(head: RequestHead, length: number, extra: string): string {
  const { method, path } = head;
  const connect = method === 'CONNECT' || head.upgrade !== null;
  let block: string;
  if (connect) block = `${METHOD_NAME}${text('CONNECT')}`;
  else if (method === 'GET') block = METHOD_GET;
  else if (method === 'POST') block = METHOD_POST;
  else block = METHOD_NAME + text(method);
  if (head.upgrade !== null) block += PROTOCOL + text(head.upgrade);
  if (!connect || head.upgrade !== null) {
    // The path comes before everything that repeats, what varies after it: readers remember what lies between.
    block += path === '/' ? PATH_ROOT : PATH_NAME + text(path);
    block += head.scheme === 'https' ? SCHEME_HTTPS : SCHEME_HTTP;
  }
  block += AUTHORITY_NAME + text(head.authority);
  if (head.acceptsTrailers) block += TE_TRAILERS;
  if (head.expectContinue) block += EXPECT_CONTINUE;
  block += fieldsBlock(head.fields);
  if (length > 0 || (length === 0 && impliesBody(method))) block += CONTENT_LENGTH + text(String(length));
  return extra === '' ? block : block + linesBlock(extra);
}

/** The block of a final or interim response to a request of `method`; `length` as for requests. */
export function responseBlock(head: ResponseHead, length: number, method: string, extra: string): string {
  const { status } = head;
  let block = (STATUS_BLOCKS[status] as string) + fieldsBlock(head.fields);
  const bodiless = status < 200 || status === 204 || status === 304 || method === 'HEAD';
  const stated = bodiless ? head.statedLength : length;
  if (stated >= 0 && status >= 200 && status !== 204) block += CONTENT_LENGTH + text(String(stated));
  if (extra !== '') block += linesBlock(extra);
  return block;
}

/** A trailer section, or fields alone. Names that are the codec's own business are left out. */
export function fieldsBlock(fields: Fields): string {
  const { arrived, added } = fields;
  if (arrived === null) return encode(fields);
  let block = knownBlock(arrived);
  if (block === undefined) {
    block = linesBlock(arrived);
    rememberBlock(arrived, block);
  }
  return added === '' ? block : block + linesBlock(added);
}

function encode(fields: Fields): string {
  const { names, values } = fields;
  let block = '';
  let varying = '';
  for (let i = 0; i < names.length; i++) {
    const name = spelledName(names[i] as string);
    if (name.framing) continue;
    if (name.varies) varying += name.literal + text(values[i] as string);
    else block += name.literal + text(values[i] as string);
  }
  return block + varying;
}

function linesBlock(lines: string): string {
  let block = '';
  let varying = '';
  for (let at = 0; at < lines.length; ) {
    const colon = lines.indexOf(':', at);
    const end = lines.indexOf('\r\n', colon);
    const name = spelledName(lines.slice(at, colon));
    if (name.varies) varying += name.literal + text(lines.slice(colon + 2, end));
    else if (!name.framing) block += name.literal + text(lines.slice(colon + 2, end));
    at = end + 2;
  }
  return block + varying;
}

function text(value: string): string {
  const { length } = value;
  return (length < 256 ? (LENGTHS[length] as string) : hpackInteger(0, 7, length)) + value;
}

function statusBlock(status: number): string {
  const indexed = [200, 204, 206, 304, 400, 404, 500].indexOf(status);
  return indexed >= 0 ? String.fromCharCode(0x88 + indexed) : `\x18\x03${String(status).padStart(3, '0')}`;
}

/** RFC 9110 section 8.6: methods of which an empty body should be said. */
function impliesBody(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH';
}
