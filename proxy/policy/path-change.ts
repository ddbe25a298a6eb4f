/**
 * How RequestRedirect and URLRewrite change a path (Gateway API v1, HTTPPathModifier). The query stays as it came.
 */

import { withoutTrailingSlash } from './path-prefix.ts';

export type PathChangeConfig =
  | { readonly type: 'ReplaceFullPath'; readonly value: string }
  /** `prefix` is the PathPrefix of the rule's one match, which the Gateway API demands for this type. */
  | { readonly type: 'ReplacePrefixMatch'; readonly prefix: string; readonly value: string };

/** A prepared change of paths; immutable. */
export class PathChange {
  private readonly full: boolean;
  private readonly prefixLength: number;
  private readonly replacement: string;

  constructor(config: PathChangeConfig) {
    this.full = config.type === 'ReplaceFullPath';
    this.prefixLength = config.type === 'ReplacePrefixMatch' ? withoutTrailingSlash(config.prefix).length : 0;
    this.replacement = config.type === 'ReplaceFullPath' ? config.value : withoutTrailingSlash(config.value);
  }

  /** `path` with its query; one that the rule matched, so the prefix is there. */
  apply(path: string): string {
    if (this.full) {
      const queryAt = path.indexOf('?');
      return queryAt < 0 ? this.replacement : this.replacement + path.slice(queryAt);
    }
    const changed = this.replacement + path.slice(this.prefixLength);
    return changed.startsWith('/') ? changed : `/${changed}`;
  }
}
