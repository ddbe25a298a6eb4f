/**
 * Field names of HTTP/2, each met once: whether it is allowed, what it means to the codec, and how it is spelled in
 * HPACK. The caches are per thread and bounded; a peer that fills them with junk costs the others only a second look.
 */
import { TOKEN } from './chars.ts';
import { VARYING_NAMES } from './hpack-runs.ts';
import { STATIC_NAMES } from './hpack-static.ts';

/** Kinds of names; numbers, since every field is asked for its own. */
export const ORDINARY = 0;
export const METHOD = 1;
export const SCHEME = 2;
export const AUTHORITY = 3;
export const PATH = 4;
export const PROTOCOL = 5;
export const STATUS = 6;
const UNKNOWN_PSEUDO = 7;
/** Up to here names begin with a colon. */
export const LAST_PSEUDO = 7;
export const HOST = 8;
export const LENGTH = 9;
export const TE = 10;
export const EXPECT = 11;
export const COOKIE = 12;
/** Connection-specific (RFC 9113 section 8.2.2): never in HTTP/2. */
export const CONNECTION = 13;
/** Not a lower-case token (section 8.2.1). */
export const INVALID = 14;

/** Those that the codec looks at; every other valid name is ORDINARY. */
const KINDS: ReadonlyMap<string, number> = new Map([
  [':method', METHOD],
  [':scheme', SCHEME],
  [':authority', AUTHORITY],
  [':path', PATH],
  [':protocol', PROTOCOL],
  [':status', STATUS],
  ['host', HOST],
  ['content-length', LENGTH],
  ['te', TE],
  ['expect', EXPECT],
  ['cookie', COOKIE],
  ['connection', CONNECTION],
  ['keep-alive', CONNECTION],
  ['proxy-connection', CONNECTION],
  ['transfer-encoding', CONNECTION],
  ['upgrade', CONNECTION],
]);

/** A token without upper case. */
const LOWER_TOKEN: Uint8Array = TOKEN.map((allowed, code) => (code >= 0x41 && code <= 0x5a ? 0 : allowed));

export class FieldName {
  readonly text: string;
  readonly kind: number;
  /**
   * First bytes of a literal with this name, before the value's length. The literal is "never indexed": an intermediary
   * has to keep that mark where the sender made it (RFC 7541 section 6.2.3), and to a peer whose encoder does not index
   * it makes no difference, so every field gets it and none has to be remembered.
   */
  readonly literal: string;
  /** Such a field is the codec's own business and is not copied from a head. */
  readonly framing: boolean;
  /** Its value differs from message to message. */
  readonly varies: boolean;

  constructor(text: string) {
    this.text = ownCopy(text);
    this.kind = kindOf(text);
    this.literal = literalStart(this.text);
    this.framing = this.kind !== ORDINARY && this.kind !== COOKIE;
    this.varies = VARYING_NAMES.includes(text);
  }
}

const MOST_NAMES = 2048;
const LONGEST_KEPT = 128;
const onWire: Map<string, FieldName> = new Map();
const spelled: Map<string, FieldName> = new Map();

/** The entry of a name exactly as it came in; upper case makes it INVALID. */
export function wireName(text: string): FieldName {
  const known = onWire.get(text);
  return known === undefined ? remember(onWire, text, new FieldName(text)) : known;
}

/** The entry of a name in any case, for sending. */
export function spelledName(text: string): FieldName {
  const known = spelled.get(text);
  return known === undefined ? remember(spelled, text, wireName(text.toLowerCase())) : known;
}

function remember(cache: Map<string, FieldName>, text: string, name: FieldName): FieldName {
  if (text.length > LONGEST_KEPT) return name;
  if (cache.size >= MOST_NAMES) cache.clear();
  cache.set(ownCopy(text), name);
  return name;
}

/** The same text in memory of its own: a slice would keep the whole header block that it was cut from. */
export function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

function kindOf(text: string): number {
  const kind = KINDS.get(text);
  if (kind !== undefined) return kind;
  const pseudo = text.charCodeAt(0) === 0x3a;
  for (let i = pseudo ? 1 : 0; i < text.length; i++) if (LOWER_TOKEN[text.charCodeAt(i)] !== 1) return INVALID;
  if (pseudo) return UNKNOWN_PSEUDO;
  return text.length === 0 ? INVALID : ORDINARY;
}

function literalStart(text: string): string {
  const index = STATIC_NAMES.indexOf(text) + 1;
  return index > 0 ? hpackInteger(0x10, 4, index) : `\x10${hpackInteger(0, 7, text.length)}${text}`;
}

/** An integer after `pattern` with a prefix of `bits` bits (RFC 7541 section 5.1), one character per byte. */
export function hpackInteger(pattern: number, bits: number, value: number): string {
  const most = (1 << bits) - 1;
  if (value < most) return String.fromCharCode(pattern | value);
  let out = String.fromCharCode(pattern | most);
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out += String.fromCharCode(128 | (rest & 127));
  return out + String.fromCharCode(rest);
}
