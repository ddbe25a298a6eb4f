/**
 * CORS (Gateway API v1, HTTPCORSFilter; Fetch standard, "CORS protocol"): answers preflights here and tells browsers
 * which origins may read the response.
 *
 * A preflight from an origin that is not allowed is answered without any permission rather than forwarded: else an
 * application with a laxer rule of its own would undo the policy. Other requests of such origins go on, without
 * permission to read the answer; CORS protects browsers' users, not the server.
 */
import type { Fields, RequestHead, ResponseHead } from '../http/message.ts';
import type { Decision, LocalAnswer, Policy, PolicyKind } from './policy.ts';

/** Lists as in the document; `*` alone stands for any. */
export interface CorsConfig {
  /**
   * `scheme://host[:port]`, with `*` as the whole host or as its leftmost part, or `*` alone. Without a port it is the
   * scheme's own.
   */
  readonly allowOrigins: readonly string[];
  readonly allowCredentials: boolean;
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  /** How long a browser may keep a preflight's answer; the Gateway API's default is 5. */
  readonly maxAgeSeconds: number;
}

/** The API allows 204 as well; Envoy says 200, some clients take nothing else, and nor do cases of the conformance tests. */
const PREFLIGHT_STATUS = 200;

class Cors implements Policy {
  readonly kind = 'CORS';
  private readonly origins: OriginList;
  private readonly config: CorsConfig;
  private readonly exposeHeaders: string;

  constructor(config: CorsConfig) {
    this.config = config;
    this.origins = new OriginList(config.allowOrigins);
    this.exposeHeaders = config.exposeHeaders.join(', ');
  }

  onRequest(head: RequestHead): Decision {
    const origin = head.fields.get('origin');
    if (origin === undefined || head.method !== 'OPTIONS') return undefined;
    const method = head.fields.get('access-control-request-method');
    return method === undefined ? undefined : this.preflight(origin, method, head.fields);
  }

  onResponse(head: ResponseHead, request: RequestHead): void {
    if (!this.allowsAnyoneToRead()) addVary(head.fields);
    const origin = request.fields.get('origin');
    if (origin === undefined) return;
    removePermissions(head.fields);
    if (!this.origins.allows(origin)) return;
    head.fields.append('access-control-allow-origin', this.shownOrigin(origin));
    if (this.config.allowCredentials) head.fields.append('access-control-allow-credentials', 'true');
    if (this.exposeHeaders !== '') head.fields.append('access-control-expose-headers', this.exposeHeaders);
  }

  private preflight(origin: string, method: string, fields: Fields): LocalAnswer {
    const headers: [string, string][] = [];
    if (!this.allowsAnyoneToRead()) headers.push(['vary', 'Origin']);
    if (this.origins.allows(origin)) {
      headers.push(['access-control-allow-origin', this.shownOrigin(origin)]);
      if (this.config.allowCredentials) headers.push(['access-control-allow-credentials', 'true']);
      this.grant(headers, 'access-control-allow-methods', this.config.allowMethods, method);
      const asked = fields.get('access-control-request-headers') ?? '';
      this.grant(headers, 'access-control-allow-headers', this.config.allowHeaders, asked);
      // Browsers read this of the answer itself alone; the API's conformance tests ask for it here, too, and Envoy sends it.
      if (this.exposeHeaders !== '') headers.push(['access-control-expose-headers', this.exposeHeaders]);
      headers.push(['access-control-max-age', String(this.config.maxAgeSeconds)]);
    }
    return { status: PREFLIGHT_STATUS, failure: null, detail: '', headers, body: '' };
  }

  /** With credentials `*` loses its meaning (Fetch standard), so what was asked for is granted by name. */
  private grant(headers: [string, string][], name: string, allowed: readonly string[], asked: string): void {
    const any = allowed.includes('*');
    const value = any ? (this.config.allowCredentials ? asked : '*') : allowed.join(', ');
    if (value !== '') headers.push([name, value]);
  }

  private shownOrigin(origin: string): string {
    return this.allowsAnyoneToRead() ? '*' : origin;
  }

  private allowsAnyoneToRead(): boolean {
    return this.origins.any && !this.config.allowCredentials;
  }
}

/** Origins that may read, exact ones and those with a wildcard; names never become regular expressions. */
class OriginList {
  readonly any: boolean;
  private readonly exact: ReadonlySet<string>;
  private readonly wildcards: readonly { readonly start: string; readonly end: string }[];

  constructor(origins: readonly string[]) {
    this.any = origins.includes('*');
    const written = origins.map(canonical);
    this.exact = new Set(written.filter((origin) => !origin.includes('*')));
    this.wildcards = written
      .filter((origin) => origin !== '*' && origin.includes('*'))
      .map((origin) => ({ start: origin.slice(0, origin.indexOf('*')), end: origin.slice(origin.indexOf('*') + 1) }));
  }

  allows(origin: string): boolean {
    if (this.any) return true;
    const asked = canonical(origin);
    return this.exact.has(asked) || this.wildcards.some(({ start, end }) => fits(asked, start, end));
  }
}

/** Lower case, and without the scheme's own port: browsers leave it out, those who write policy need not. */
function canonical(origin: string): string {
  const lower = origin.toLowerCase();
  for (const [scheme, port] of DEFAULT_PORTS) {
    if (lower.startsWith(scheme) && lower.endsWith(port)) return lower.slice(0, -port.length);
  }
  return lower;
}

const DEFAULT_PORTS = [
  ['http://', ':80'],
  ['https://', ':443'],
] as const;

/** The part under the wildcard must be there and must be a host or the beginning of one: no port, no path. */
function fits(origin: string, start: string, end: string): boolean {
  if (origin.length <= start.length + end.length || !origin.startsWith(start) || !origin.endsWith(end)) return false;
  return HOST_PART.test(origin.slice(start.length, origin.length - end.length));
}

const HOST_PART = /^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])$/;

const PERMISSIONS: readonly string[] = [
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-expose-headers',
];

/** The policy speaks instead of the application; two answers would be refused by browsers. */
function removePermissions(fields: Fields): void {
  for (const name of PERMISSIONS) fields.remove(name);
}

/** Caches must not give one origin's answer to another. */
function addVary(fields: Fields): void {
  if (!fields.getAll('vary').some(namesOrigin)) fields.append('vary', 'Origin');
}

/** Vary is a list of field names, of which `*` stands for any (RFC 9110 section 12.5.5). */
function namesOrigin(vary: string): boolean {
  const names = vary.split(',').map((name) => name.trim().toLowerCase());
  return names.includes('origin') || names.includes('*');
}

export const CORS: PolicyKind = { kind: 'CORS', prepare: (config) => new Cors(config as CorsConfig) };
