/** RequestRedirect (Gateway API v1, HTTPRequestRedirectFilter): answers with another place to ask. */
import type { RequestHead } from '../http/message.ts';
import { PathChange, type PathChangeConfig } from './path-change.ts';
import type { LocalAnswer, Policy, PolicyKind } from './policy.ts';

/** Absent parts are null: they stay as the request has them. */
export interface RequestRedirectConfig {
  readonly scheme: 'http' | 'https' | null;
  readonly hostname: string | null;
  readonly path: PathChangeConfig | null;
  readonly port: number | null;
  /** Of the Service asked. */
  readonly servicePort: number;
  /** One of 301, 302, 303, 307, 308; 302 by default. */
  readonly statusCode: number;
}

class RequestRedirect implements Policy {
  readonly kind = 'RequestRedirect';
  private readonly config: RequestRedirectConfig;
  private readonly path: PathChange | null;

  constructor(config: RequestRedirectConfig) {
    this.config = config;
    this.path = config.path === null ? null : new PathChange(config.path);
  }

  onRequest(head: RequestHead): LocalAnswer {
    return {
      status: this.config.statusCode,
      failure: null,
      detail: '',
      headers: [['location', this.location(head)]],
      body: '',
    };
  }

  private location(head: RequestHead): string {
    const { hostname, port } = splitAuthority(head.authority);
    const scheme = this.config.scheme ?? head.scheme;
    const shownPort = this.port(scheme, port);
    const path = this.path === null ? head.path : this.path.apply(head.path);
    return `${scheme}://${this.config.hostname ?? hostname}${shownPort}${path.startsWith('/') ? path : '/'}`;
  }

  /**
   * The port said, else the well-known one of a scheme said, else the one asked on, which a request need not name;
   * well-known ones are not shown.
   */
  private port(scheme: 'http' | 'https', asked: string): string {
    const { port, scheme: said, servicePort } = this.config;
    if (port === null && said !== null) return '';
    const shown = port === null ? (asked === '' ? impliedPort(servicePort) : asked) : String(port);
    return shown === '' || shown === WELL_KNOWN_PORT[scheme] ? '' : `:${shown}`;
  }
}

const WELL_KNOWN_PORT = { http: '80', https: '443' };

/** Empty where an authority without it means it whatever its scheme is taken to be. */
function impliedPort(servicePort: number): string {
  const port = String(servicePort);
  return Object.values(WELL_KNOWN_PORT).includes(port) ? '' : port;
}

/** `host`, `host:port` or `[v6]:port`, canonical; the port is empty where none is said. */
function splitAuthority(authority: string): { hostname: string; port: string } {
  const colon = authority.lastIndexOf(':');
  if (colon < 0 || colon < authority.lastIndexOf(']')) return { hostname: authority, port: '' };
  return { hostname: authority.slice(0, colon), port: authority.slice(colon + 1) };
}

export const REQUEST_REDIRECT: PolicyKind = {
  kind: 'RequestRedirect',
  prepare: (config) => new RequestRedirect(config as RequestRedirectConfig),
};
