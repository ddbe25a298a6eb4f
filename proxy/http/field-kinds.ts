/** The field names that a proxy must understand itself: framing, routing and hop-by-hop. All others pass unread. */

export const PLAIN = 0;
export const HOST = 1;
export const CONNECTION = 2;
export const CONTENT_LENGTH = 3;
export const TRANSFER_ENCODING = 4;
export const TE = 5;
export const UPGRADE = 6;
export const EXPECT = 7;
export const KEEP_ALIVE = 8;
/** Proxy-Connection and HTTP2-Settings: removed, never read. */
const DROPPED = 9;
/** `content_length`, `transfer_encoding`: gateways to CGI-like servers fold them into the real ones. */
export const FRAMING_TWIN = 10;

const NAMES: readonly (readonly [string, number])[] = [
  ['host', HOST],
  ['connection', CONNECTION],
  ['content-length', CONTENT_LENGTH],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['te', TE],
  ['upgrade', UPGRADE],
  ['expect', EXPECT],
  ['keep-alive', KEEP_ALIVE],
  ['proxy-connection', DROPPED],
  ['http2-settings', DROPPED],
];
const LONGEST = 17;
const HYPHEN = 0x2d;
const FOLDED_UNDERSCORE = 0x7f;

/** Names of one length that end in one letter are told apart by it: at most one candidate a slot (index into NAMES + 1). */
const CANDIDATES = new Uint8Array((LONGEST + 1) * 32);
const SPELLINGS: readonly Uint8Array[] = NAMES.map(([name]) => Uint8Array.from(Buffer.from(name)));
const KINDS: Uint8Array = Uint8Array.from(NAMES, ([, kind]) => kind);
NAMES.forEach(([name], i) => {
  CANDIDATES[slotOf(name.length, name.charCodeAt(name.length - 1))] = i + 1;
});

function slotOf(length: number, last: number): number {
  return length * 32 + (last & 31);
}

/** The kind of the field name in bytes[start, end), a token of any case. */
export function fieldKind(bytes: Uint8Array, start: number, end: number): number {
  if (end - start > LONGEST) return PLAIN;
  const candidate = CANDIDATES[slotOf(end - start, bytes[end - 1] as number)] as number;
  return candidate === 0 ? PLAIN : compare(bytes, start, candidate - 1);
}

/**
 * Without regard to ASCII case. Setting bit 5 folds it, and makes of no other token character one of a spelling; of an
 * underscore, which stands for a hyphen in twins, it makes DEL.
 */
function compare(bytes: Uint8Array, start: number, candidate: number): number {
  const spelling = SPELLINGS[candidate] as Uint8Array;
  let twin = false;
  for (let i = 0; i < spelling.length; i++) {
    const folded = (bytes[start + i] as number) | 0x20;
    if (folded === spelling[i]) continue;
    if (folded !== FOLDED_UNDERSCORE || spelling[i] !== HYPHEN) return PLAIN;
    twin = true;
  }
  const kind = KINDS[candidate] as number;
  if (!twin) return kind;
  return kind === CONTENT_LENGTH || kind === TRANSFER_ENCODING ? FRAMING_TWIN : PLAIN;
}
