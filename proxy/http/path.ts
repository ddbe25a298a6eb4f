/**
 * The one normalisation of a request's path, before routing and authorization see it; what they saw is what goes upstream,
 * byte for byte. It does what Envoy does under Istio's `pathNormalization`, and refuses what Envoy leaves to the luck of
 * the application: `%00`, broken escapes, and dot segments with parameters (`/..;x/`, a parent directory to Java servers).
 */
import { HEX, UNRESERVED } from './chars.ts';

/**
 * - NONE: the path stays as it came.
 * - BASE: backslash becomes slash, escaped unreserved characters are unescaped, dot segments are removed (RFC 3986
 *   sections 6.2.2.2 and 5.2.4). `%2F` and `%5C` stay: to most applications they are part of a segment's name.
 * - MERGE_SLASHES: BASE, then runs of slashes become one.
 * - DECODE_AND_MERGE_SLASHES: `%2F` and `%5C` become slashes, then as MERGE_SLASHES.
 */
export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';

const PERCENT = 0x25;
const DOT = 0x2e;
const SLASH = 0x2f;
const QUESTION = 0x3f;
const BACKSLASH = 0x5c;

/**
 * Normalises `path` (origin form, with or without query; the query is never touched).
 * Null if it has to be refused with FAILURES.badPath.
 */
export function normalizePath(path: string, mode: PathNormalization): string | null {
  if (path.charCodeAt(0) !== SLASH) return null;
  if (mode === 'NONE' || isNormal(path)) return path;
  const queryStart = path.indexOf('?');
  const query = queryStart < 0 ? '' : path.slice(queryStart);
  const plain = unescape(queryStart < 0 ? path : path.slice(0, queryStart), mode === 'DECODE_AND_MERGE_SLASHES');
  if (plain === null) return null;
  const resolved = removeDotSegments(plain);
  if (resolved === null) return null;
  return (mode === 'BASE' ? resolved : resolved.replace(/\/{2,}/g, '/')) + query;
}

/** True for a path that every mode leaves as it is: no escape, no backslash, no `/.` and no `//` before its query. */
function isNormal(path: string): boolean {
  let previous = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === QUESTION) return true;
    if (code === PERCENT || code === BACKSLASH) return false;
    if (previous === SLASH && (code === SLASH || code === DOT)) return false;
    previous = code;
  }
  return true;
}

/** Turns backslashes into slashes and resolves the escapes that mean nothing else; null for a broken or NUL escape. */
function unescape(path: string, decodeSlashes: boolean): string | null {
  let plain = '';
  let copied = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === BACKSLASH) {
      plain += `${path.slice(copied, i)}/`;
      copied = i + 1;
    } else if (code === PERCENT) {
      const decoded = escapedByte(path, i);
      if (decoded <= 0) return null;
      const isSlash = decoded === SLASH || decoded === BACKSLASH;
      if (isSlash ? decodeSlashes : UNRESERVED[decoded] === 1) {
        plain += path.slice(copied, i) + (isSlash ? '/' : String.fromCharCode(decoded));
        copied = i + 3;
      }
      i += 2;
    }
  }
  return plain + path.slice(copied);
}

/** The byte of the escape at `at`, -1 if its two digits are none. */
function escapedByte(path: string, at: number): number {
  if (at + 2 >= path.length) return -1;
  const high = HEX[path.charCodeAt(at + 1)] ?? 255;
  const low = HEX[path.charCodeAt(at + 2)] ?? 255;
  return high > 15 || low > 15 ? -1 : high * 16 + low;
}

/** RFC 3986 section 5.2.4; null for a dot segment with parameters. */
function removeDotSegments(path: string): string | null {
  const kept: string[] = [];
  const segments = path.split('/');
  const last = segments.length - 1;
  for (let i = 1; i <= last; i++) {
    const segment = segments[i] as string;
    if (segment.startsWith('.;') || segment.startsWith('..;')) return null;
    if (segment === '..') kept.pop();
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (i === last) kept.push('');
  }
  return `/${kept.join('/')}`;
}
