/** From a scanned section to a RequestHead: target form, host, framing (RFC 9112 sections 3.2 and 6.3). */
import { type AuthorityMemo, canonicalAuthority, splitAuthority } from './authority.ts';
import { type Fault, fault } from './faults.ts';
import { endToEndFields, SpecialFields } from './field-section.ts';
import type { HeadScanner } from './head-scanner.ts';
import { mayBeNominated } from './hop-by-hop.ts';
import { RequestHead, UNKNOWN_LENGTH } from './message.ts';
import { normalizePath, type PathNormalization } from './path.ts';

const NO_HOST = fault('host', 'no Host in HTTP/1.1');
const TWO_HOSTS = fault('host', 'more than one Host');
const BAD_HOST = fault('host', 'Host is no valid host and port');
const OTHER_HOST = fault('host', 'Host differs from the authority of the target');
const BAD_FORM = fault('target', 'neither a path nor an http or https URL');
const BAD_AUTHORITY = fault('target', 'the target names no valid host and port');
const BAD_CONNECT = fault('target', 'the target of CONNECT is not HOST:PORT');
const BAD_ASTERISK = fault('target', 'the target * is for OPTIONS only');
const BAD_PATH = fault('path', 'an escape or dot segment that is read in more than one way');
const CONNECT_BODY = fault('length', 'CONNECT has no body');
const BAD_EXPECT = fault('expectation', 'an expectation other than 100-continue');
const BAD_NOMINATION = fault('field', 'Connection names a field that is meant for every recipient');

/** Shared by all requests of a thread: filled and read within one call of buildRequest. */
const special = new SpecialFields();

/** What the target said; authority empty where it named none. Filled and read within one call, as above. */
const target: { scheme: 'http' | 'https' | null; authority: string; path: string } = {
  scheme: null,
  authority: '',
  path: '',
};

/**
 * The head in `scanner`, or what is wrong with it. `scheme` is the connection's; `hosts` belongs to the connection too.
 */
export function buildRequest(
  scanner: HeadScanner,
  scheme: 'http' | 'https',
  normalization: PathNormalization,
  hosts: AuthorityMemo,
): RequestHead | Fault {
  const { text, version } = scanner;
  const reason = special.read(scanner);
  if (reason !== null) return reason;
  const method = text.slice(scanner.methodStart, scanner.methodEnd);
  const badTarget = readTarget(method, text.slice(scanner.methodEnd + 1, scanner.targetEnd), normalization);
  if (badTarget !== null) return badTarget;
  if (method === 'CONNECT' && (special.chunked || special.length > 0)) return CONNECT_BODY;
  const badHost = reconcileHost(method, target.scheme ?? scheme, version, hosts);
  if (badHost !== null) return badHost;

  const { connection } = special;
  if (connection.nominated !== null && !connection.nominated.every(mayBeNominated)) return BAD_NOMINATION;
  if (special.expect !== null && special.expect.toLowerCase() !== '100-continue') return BAD_EXPECT;
  const length = special.chunked ? UNKNOWN_LENGTH : Math.max(special.length, 0);
  const head = new RequestHead(
    method,
    target.scheme ?? scheme,
    target.authority,
    target.path,
    endToEndFields(scanner, connection.nominated, target.authority),
    length,
    version,
    connection.close || (version === 10 && !connection.keepAlive),
    // An expectation about a body that is empty, or of a caller that knows no 1xx, is none (RFC 9110 section 10.1.1).
    special.expect !== null && length !== 0 && version === 11,
    special.te !== null && acceptsTrailers(special.te),
    // Beside a body it is overlooked: a 101 could come while the body does, and its rest pass for the new protocol.
    version === 11 && connection.upgrade && length === 0 && method !== 'CONNECT'
      ? offeredUpgrade(special.upgrade)
      : null,
  );
  head.absolute = target.scheme !== null;
  return head;
}

function readTarget(method: string, raw: string, normalization: PathNormalization): Fault | null {
  target.scheme = null;
  target.authority = '';
  target.path = '';
  if (method === 'CONNECT') return readAuthorityForm(raw);
  if (raw.charCodeAt(0) === 0x2f) return readPath(raw, normalization);
  if (raw === '*') {
    target.path = raw;
    return method === 'OPTIONS' ? null : BAD_ASTERISK;
  }
  return readAbsoluteForm(method, raw, normalization);
}

function readPath(raw: string, normalization: PathNormalization): Fault | null {
  const path = normalizePath(raw, normalization);
  if (path === null) return BAD_PATH;
  target.path = path;
  return null;
}

/** RFC 9112 section 3.2.3: the port is never left away. */
function readAuthorityForm(raw: string): Fault | null {
  const authority = canonicalAuthority(raw);
  if (authority === null || splitAuthority(authority).port <= 0) return BAD_CONNECT;
  target.authority = authority;
  return null;
}

function readAbsoluteForm(method: string, raw: string, normalization: PathNormalization): Fault | null {
  const colon = raw.indexOf('://');
  const scheme = colon < 0 ? '' : raw.slice(0, colon).toLowerCase();
  if (scheme !== 'http' && scheme !== 'https') return BAD_FORM;
  const rest = raw.slice(colon + 3);
  const end = rest.search(/[/?\\]/);
  const authority = canonicalAuthority(end < 0 ? rest : rest.slice(0, end));
  if (authority === null) return BAD_AUTHORITY;
  target.scheme = scheme;
  target.authority = authority;
  if (end < 0 && method === 'OPTIONS') {
    // RFC 9112 section 3.2.4: the last proxy turns an absolute OPTIONS without path into `*`.
    target.path = '*';
    return null;
  }
  const path = end < 0 ? '/' : rest.slice(end);
  return readPath(path.charCodeAt(0) === 0x3f ? `/${path}` : path, normalization);
}

/** One host for route, policy and log: of the target if it names one, and then Host must agree (RFC 9112 section 3.2.2). */
function reconcileHost(method: string, scheme: 'http' | 'https', version: number, hosts: AuthorityMemo): Fault | null {
  if (special.hosts > 1) return TWO_HOSTS;
  if (special.hosts === 0) return version === 11 ? NO_HOST : null;
  const host = hosts.canonicalOf(special.host);
  if (host === null) return BAD_HOST;
  if (target.authority === '') {
    target.authority = host;
    return null;
  }
  return host === target.authority || agrees(method, scheme, host, target.authority) ? null : OTHER_HOST;
}

/** True where the two differ only in a port that goes without saying: the scheme's, or with CONNECT any that Host omits. */
function agrees(method: string, scheme: 'http' | 'https', host: string, authority: string): boolean {
  const stated = splitAuthority(host);
  const wanted = splitAuthority(authority);
  if (stated.host !== wanted.host) return false;
  if (method === 'CONNECT') return stated.port < 0;
  const implied = scheme === 'https' ? 443 : 80;
  return (stated.port < 0 ? implied : stated.port) === (wanted.port < 0 ? implied : wanted.port);
}

function acceptsTrailers(te: string): boolean {
  return te.split(',').some((coding) => coding.trim().toLowerCase() === 'trailers');
}

/**
 * The one protocol offered. A list is overlooked, as RFC 9110 section 7.8 allows: the answer could not say whose choice it
 * was. So is h2c, which would change the protocol under the feet of every policy.
 */
function offeredUpgrade(upgrade: string | null): string | null {
  return upgrade === null || upgrade === '' || upgrade.includes(',') || upgrade.toLowerCase() === 'h2c'
    ? null
    : upgrade;
}
