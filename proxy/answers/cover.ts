/** When one match takes every request that another would. */
import type { HttpMatchSpec, NameMatchSpec } from '../config/snapshot.ts';
import { withoutTrailingSlash } from '../policy/path-prefix.ts';

/** True only where it is certain; regular expressions are compared by their text. */
export function covers(wide: HttpMatchSpec, narrow: HttpMatchSpec): boolean {
  return (
    coversPath(wide.path, narrow.path) &&
    (wide.method === null || wide.method === narrow.method) &&
    isPartOf(wide.headers, narrow.headers) &&
    isPartOf(wide.query, narrow.query)
  );
}

function coversPath(wide: HttpMatchSpec['path'], narrow: HttpMatchSpec['path']): boolean {
  if (wide.type !== 'PathPrefix') return wide.type === narrow.type && wide.value === narrow.value;
  if (wide.value === '/') return true;
  if (narrow.type === 'RegularExpression') return false;
  const prefix = withoutTrailingSlash(wide.value);
  return narrow.value === prefix || narrow.value.startsWith(`${prefix}/`);
}

/** Fewer conditions, each of them among the others, let more requests through. */
function isPartOf(few: readonly NameMatchSpec[], many: readonly NameMatchSpec[]): boolean {
  return few.every(({ name, type, value }) =>
    many.some((other) => other.name === name && other.type === type && other.value === value),
  );
}
