/** PathPrefix compares element by element, so that a trailing slash says nothing (Gateway API, PathMatchType). */

/** A prefix as it is compared; the root is empty. */
export function withoutTrailingSlash(prefix: string): string {
  return prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
}
