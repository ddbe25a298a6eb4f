/**
 * URLRewrite (Gateway API v1, HTTPURLRewriteFilter): asks the upstream for another host or path than the caller said.
 * The route is already chosen and stays.
 */
import type { RequestHead } from '../http/message.ts';
import { PathChange, type PathChangeConfig } from './path-change.ts';
import type { Policy, PolicyKind } from './policy.ts';

/** Absent parts are null: they stay as the request has them. */
export interface UrlRewriteConfig {
  /** Host as it goes out, without port. */
  readonly hostname: string | null;
  readonly path: PathChangeConfig | null;
}

class UrlRewrite implements Policy {
  readonly kind = 'URLRewrite';
  private readonly hostname: string | null;
  private readonly path: PathChange | null;

  constructor(config: UrlRewriteConfig) {
    this.hostname = config.hostname;
    this.path = config.path === null ? null : new PathChange(config.path);
  }

  onRequest(head: RequestHead): undefined {
    if (this.hostname !== null) {
      head.authority = this.hostname;
      head.fields.set('Host', this.hostname);
    }
    // `*` (OPTIONS) and the empty path (CONNECT) name no resource that could be moved.
    if (this.path !== null && head.path.startsWith('/')) head.path = this.path.apply(head.path);
  }
}

export const URL_REWRITE: PolicyKind = {
  kind: 'URLRewrite',
  prepare: (config) => new UrlRewrite(config as UrlRewriteConfig),
};
