/** The change from one JSON value to another as a JSON patch (RFC 6902). */
import { isDeepStrictEqual } from 'node:util';
import { isObject, type JsonObject } from '../../shared/json.ts';

export type Operation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** What is new in a list is added at its place; a list that lost something is replaced. */
export function jsonPatch(before: unknown, after: unknown, path = ''): Operation[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (isObject(before) && isObject(after)) return patchObject(before, after, path);
  if (Array.isArray(before) && Array.isArray(after)) return patchList(before, after, path);
  return [{ op: 'replace', path, value: after }];
}

function patchObject(before: JsonObject, after: JsonObject, path: string): Operation[] {
  const gone = Object.keys(before).filter((key) => !Object.hasOwn(after, key));
  return [
    ...gone.map((key): Operation => ({ op: 'remove', path: `${path}/${escapeKey(key)}` })),
    ...Object.entries(after).flatMap(([key, value]): Operation[] => {
      const at = `${path}/${escapeKey(key)}`;
      return Object.hasOwn(before, key) ? jsonPatch(before[key], value, at) : [{ op: 'add', path: at, value }];
    }),
  ];
}

function patchList(before: readonly unknown[], after: readonly unknown[], path: string): Operation[] {
  const operations: Operation[] = [];
  let kept = 0;
  for (const [i, item] of after.entries()) {
    if (kept < before.length && isSame(before[kept], item)) {
      operations.push(...jsonPatch(before[kept], item, `${path}/${i}`));
      kept++;
    } else operations.push({ op: 'add', path: `${path}/${i}`, value: item });
  }
  return kept === before.length ? operations : [{ op: 'replace', path, value: after }];
}

/** The same thing, changed or not: lists of pods hold named things. */
function isSame(a: unknown, b: unknown): boolean {
  if (!isObject(a) || !isObject(b)) return isDeepStrictEqual(a, b);
  return a['name'] === b['name'];
}

/** RFC 6901, section 3. */
function escapeKey(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
