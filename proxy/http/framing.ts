/** The one rule for body lengths (RFC 9112 section 6.3), stricter than it: what can be read in two ways is refused. */

/** Bytes of a `Content-Length`: digits only, at most 2^53 - 1. -1 for anything else, lists included. */
export function contentLength(text: string): number {
  if (text.length === 0) return -1;
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return -1;
  }
  return length;
}

/** True only for the one coding that weft reads: no list, no quotes, no parameters, no other coding before it. */
export function isChunked(text: string): boolean {
  return text.length === 7 && text.toLowerCase() === 'chunked';
}
