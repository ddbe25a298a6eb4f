/**
 * Hosts as requests name them, in one spelling for route, policy and log: lower case, no userinfo, no trailing dot, IP
 * addresses canonical (shared/address).
 *
 * Names are those of DNS; what RFC 3986 allows beyond (percent escapes, `!$&'()*+,;=`) is refused, since no host has
 * such a name and every parser reads it in its own way. So is a name that a resolver takes for an IPv4 address in an odd
 * spelling (`127.1`, `0x7f.0.0.1`, `017.0.0.1`): a policy on the name would not see the address.
 */
import { canonicalIp } from '../../shared/address.ts';
import { HOST_NAME } from './chars.ts';

const DOT = 0x2e;
const COLON = 0x3a;
const OPENING_BRACKET = 0x5b;
/** RFC 1035 section 2.3.4: 253 visible characters. */
const MAX_NAME = 253;

/** The canonical `host` or `host:port` of a Host field, of `:authority` or of a target; null if it is invalid. */
export function canonicalAuthority(raw: string): string | null {
  if (raw.charCodeAt(0) === OPENING_BRACKET) return bracketed(raw);
  let labelStart = 0;
  let end = 0;
  for (; end < raw.length; end++) {
    const code = raw.charCodeAt(end);
    if (code === COLON) break;
    if (code === DOT) {
      if (end === labelStart) return null;
      labelStart = end + 1;
    } else if (HOST_NAME[code] !== 1) return null;
  }
  const nameEnd = labelStart === end ? end - 1 : end;
  if (nameEnd <= 0 || nameEnd > MAX_NAME) return null;
  const host = canonicalName(raw.slice(0, nameEnd).toLowerCase());
  const port = canonicalPort(raw.slice(end));
  return host === null || port === null ? null : host + port;
}

/** Remembers the last answer: the requests of one connection mostly name one host, and addresses take microseconds. */
export class AuthorityMemo {
  private raw = '';
  private canonical: string | null = null;

  /** As canonicalAuthority. */
  canonicalOf(raw: string): string | null {
    if (raw !== this.raw) {
      const canonical = canonicalAuthority(raw);
      this.canonical = canonical === null ? null : detached(canonical);
      this.raw = detached(raw);
    }
    return this.canonical;
  }
}

/** A copy: a slice would keep the whole head that it was cut from alive, for as long as the connection idles. */
function detached(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** Parts of a canonical authority: an IPv6 host without its brackets; port -1 without one. */
export function splitAuthority(canonical: string): { host: string; port: number } {
  const colon = canonical.lastIndexOf(':');
  const hasPort = colon > canonical.lastIndexOf(']');
  const host = hasPort ? canonical.slice(0, colon) : canonical;
  return {
    host: host.charCodeAt(0) === OPENING_BRACKET ? host.slice(1, -1) : host,
    port: hasPort ? Number(canonical.slice(colon + 1)) : -1,
  };
}

function bracketed(raw: string): string | null {
  const end = raw.indexOf(']');
  const inside = raw.slice(1, end);
  const host = end > 0 && inside.includes(':') ? canonicalIp(inside) : null;
  const port = canonicalPort(raw.slice(end + 1));
  if (host === null || port === null) return null;
  return host.includes(':') ? `[${host}]${port}` : host + port;
}

/** A name whose last label is a number is an IPv4 address to resolvers, so it must be one in the only usual spelling. */
function canonicalName(name: string): string | null {
  const first = name.charCodeAt(name.lastIndexOf('.') + 1);
  if (first < 0x30 || first > 0x39) return name;
  const last = name.slice(name.lastIndexOf('.') + 1);
  return /^(?:[0-9]+|0x[0-9a-f]*)$/.test(last) ? canonicalIp(name) : name;
}

/** `''` or `:PORT` of the text after a host; an empty port (`host:`) is no port (RFC 3986 section 6.2.3). */
function canonicalPort(text: string): string | null {
  if (text === '' || text === ':') return '';
  if (text.charCodeAt(0) !== COLON || text.length > 6) return null;
  let port = 0;
  for (let i = 1; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return null;
    port = port * 10 + digit;
  }
  return port > 65_535 ? null : `:${port}`;
}
