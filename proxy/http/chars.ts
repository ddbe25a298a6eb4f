/** Which bytes may stand where (RFC 9110 section 5.6, RFC 9112), as tables for scanners: 1 yes, 0 no. */

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;

function table(allowed: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (allowed(code) ? 1 : 0));
}

const among = (characters: string, code: number): boolean => characters.includes(String.fromCharCode(code));
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
const isLetter = (code: number): boolean => (code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a && code < 0x80;

/** RFC 9110 section 5.6.2 `tchar`. */
export const TOKEN: Uint8Array = table((code) => isDigit(code) || isLetter(code) || among("!#$%&'*+-.^_`|~", code));

/** Field values: blanks, visible ASCII and obs-text (RFC 9110 section 5.5); every other control byte is refused. */
export const VALUE: Uint8Array = table((code) => code === HTAB || (code >= SP && code !== 0x7f));

/**
 * Request targets: visible ASCII without `#`. RFC 3986 allows less, but browsers send `|`, `"` or `{` raw, and all parsers
 * read those alike; bytes above ASCII they do not (UTF-8 or Latin-1), so these must come percent-encoded.
 */
export const TARGET: Uint8Array = table((code) => code > SP && code < 0x7f && code !== 0x23);

/** Registered names as DNS and Kubernetes use them, the underscore of container names included; dots apart. */
export const HOST_NAME: Uint8Array = table((code) => isDigit(code) || isLetter(code) || code === 0x2d || code === 0x5f);

/** RFC 3986 section 2.3: characters whose escaped and plain spelling mean the same. */
export const UNRESERVED: Uint8Array = table((code) => isDigit(code) || isLetter(code) || among('-._~', code));

/** Value of a hexadecimal digit, 255 for any other byte. */
export const HEX: Uint8Array = Uint8Array.from({ length: 256 }, (_, code) => {
  if (isDigit(code)) return code - 0x30;
  return isLetter(code) && (code | 0x20) <= 0x66 ? (code | 0x20) - 0x57 : 255;
});

function consistsOf(text: string, allowed: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) {
    if (allowed[text.charCodeAt(i)] !== 1) return false;
  }
  return true;
}

export function isToken(text: string): boolean {
  return text.length > 0 && consistsOf(text, TOKEN);
}

/** True if `text`, one byte a character, may be a field value as it is: no control bytes, no blank at either end. */
export function isFieldValue(text: string): boolean {
  return consistsOf(text, VALUE) && !isBlank(text.charCodeAt(0)) && !isBlank(text.charCodeAt(text.length - 1));
}

/** True if every character may stand in a request target. */
export function isTargetText(text: string): boolean {
  return consistsOf(text, TARGET);
}

function isBlank(code: number): boolean {
  return code === SP || code === HTAB;
}
