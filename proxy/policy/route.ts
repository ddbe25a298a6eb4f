/**
 * Which rule a request belongs to (Gateway API v1, HTTPRouteRule.matches): exact paths first, then the longest prefix,
 * element by element, then gRPC methods of any service, then what takes everything, then regular expressions; within one
 * path the order given.
 *
 * The index is made at link time, so a lookup costs a few probes of a Map whether there are 10 routes or 1000, and no
 * request can make it probe beyond the longest prefix that policy names. Expressions on paths are tried one by one.
 */
import type { Fields } from '../http/message.ts';
import { compileExpression, type Expression } from './expression.ts';
import { withoutTrailingSlash } from './path-prefix.ts';
import { parseQuery } from './query.ts';

/** A header or query parameter that must be there with this value, or one that the expression matches whole. Header names lower case. */
export interface NameMatch {
  readonly name: string;
  readonly type: 'Exact' | 'RegularExpression';
  readonly value: string;
}

/** What a request must look like; shaped as the snapshot's HttpMatchSpec. */
export interface RouteMatch {
  readonly path: {
    readonly type: 'Exact' | 'PathPrefix' | 'AnyService' | 'RegularExpression';
    readonly value: string;
  };
  readonly method: string | null;
  readonly headers: readonly NameMatch[];
  readonly query: readonly NameMatch[];
}

export interface RouteEntry<R> {
  readonly match: RouteMatch;
  readonly target: R;
}

const NO_QUERY: ReadonlyMap<string, string> = new Map();

/** A table of routes; once made it does not change. */
export class RouteTable<R> {
  private readonly exact = new Map<string, Candidate<R>[]>();
  /** Keyed without the trailing slash, so `/` is the empty string. */
  private readonly prefixes = new Map<string, Candidate<R>[]>();
  /** By method, of gRPC paths `/SERVICE/METHOD` whose service nobody asks for. */
  private readonly methods = new Map<string, Candidate<R>[]>();
  private readonly root: Candidate<R>[] = [];
  private readonly expressions: PathExpression<R>[] = [];
  private longestPrefix = 0;
  private readsQuery = false;

  constructor(entries: Iterable<RouteEntry<R>> = []) {
    for (const entry of entries) this.add(entry);
  }

  /**
   * Only while the table is made, in order of precedence. Before the first RegularExpression `loadExpressions` must have
   * resolved.
   */
  add({ match, target }: RouteEntry<R>): void {
    this.readsQuery ||= match.query.length > 0;
    const candidate = new Candidate(match, target);
    if (match.path.type === 'RegularExpression') {
      this.expressions.push(new PathExpression(match.path.value, candidate));
    } else this.candidatesOf(match.path).push(candidate);
  }

  /** The target of the first match, or null. `path` with its query, as it will be forwarded. */
  lookup(method: string, path: string, fields: Fields): R | null {
    const queryAt = path.indexOf('?');
    const bare = queryAt < 0 ? path : path.slice(0, queryAt);
    const query = this.readsQuery && queryAt >= 0 ? parseQuery(path, queryAt + 1) : NO_QUERY;
    const exact = this.exact.get(bare);
    const found =
      (exact === undefined ? null : firstMatch(exact, method, fields, query)) ??
      this.lookupPrefix(bare, method, fields, query) ??
      this.lookupExpression(bare, method, fields, query);
    return found === null ? null : found.target;
  }

  private lookupPrefix(
    path: string,
    method: string,
    fields: Fields,
    query: ReadonlyMap<string, string>,
  ): Candidate<R> | null {
    const longest = this.longestPrefix;
    // A key ends where a path element ends: at the end of the path or before a slash.
    let end = path.length <= longest ? path.length : path.lastIndexOf('/', longest);
    while (end > 0) {
      const candidates = this.prefixes.get(end === path.length ? path : path.slice(0, end));
      if (candidates !== undefined) {
        const found = firstMatch(candidates, method, fields, query);
        if (found !== null) return found;
      }
      end = path.lastIndexOf('/', end - 1);
    }
    const called = this.methods.size === 0 ? undefined : this.methods.get(grpcMethod(path));
    return (
      (called === undefined ? null : firstMatch(called, method, fields, query)) ??
      firstMatch(this.root, method, fields, query)
    );
  }

  /** The path comes last: it is what costs. */
  private lookupExpression(
    path: string,
    method: string,
    fields: Fields,
    query: ReadonlyMap<string, string>,
  ): Candidate<R> | null {
    const { expressions } = this;
    for (let i = 0; i < expressions.length; i++) {
      const { candidate, path: expression } = expressions[i] as PathExpression<R>;
      if (candidate.fits(method, fields, query) && expression.testExact(path)) return candidate;
    }
    return null;
  }

  private candidatesOf(path: RouteMatch['path']): Candidate<R>[] {
    if (path.type === 'Exact') return listOf(this.exact, path.value);
    if (path.type === 'AnyService') return listOf(this.methods, path.value);
    const key = withoutTrailingSlash(path.value);
    this.longestPrefix = Math.max(this.longestPrefix, key.length);
    return key === '' ? this.root : listOf(this.prefixes, key);
  }
}

/** The method of a path with exactly two elements; empty for any other. */
function grpcMethod(path: string): string {
  const slash = path.indexOf('/', 1);
  return slash > 1 && path.indexOf('/', slash + 1) < 0 ? path.slice(slash + 1) : '';
}

/** What must be said of a header or query parameter; `expression` is null where its value is compared. */
class Condition {
  readonly name: string;
  private readonly value: string;
  private readonly expression: Expression | null;

  constructor({ name, type, value }: NameMatch) {
    this.name = name;
    this.value = value;
    this.expression = type === 'RegularExpression' ? compileExpression(value) : null;
  }

  accepts(value: string | undefined): boolean {
    if (this.expression === null) return value === this.value;
    return value !== undefined && this.expression.testExact(value);
  }
}

/** One entry under its path: what else must fit. */
class Candidate<R> {
  readonly method: string | null;
  readonly headers: readonly Condition[];
  readonly query: readonly Condition[];
  readonly target: R;

  constructor(match: RouteMatch, target: R) {
    this.method = match.method;
    this.headers = match.headers.map((header) => new Condition(header));
    this.query = match.query.map((parameter) => new Condition(parameter));
    this.target = target;
  }

  fits(method: string, fields: Fields, query: ReadonlyMap<string, string>): boolean {
    if (this.method !== null && this.method !== method) return false;
    for (let i = 0; i < this.headers.length; i++) {
      const wanted = this.headers[i] as Condition;
      if (!wanted.accepts(joinedValue(fields, wanted.name))) return false;
    }
    for (let i = 0; i < this.query.length; i++) {
      const wanted = this.query[i] as Condition;
      if (!wanted.accepts(query.get(wanted.name))) return false;
    }
    return true;
  }
}

/** An entry whose path is an expression. */
class PathExpression<R> {
  readonly path: Expression;
  readonly candidate: Candidate<R>;

  constructor(source: string, candidate: Candidate<R>) {
    this.path = compileExpression(source);
    this.candidate = candidate;
  }
}

function firstMatch<R>(
  candidates: readonly Candidate<R>[],
  method: string,
  fields: Fields,
  query: ReadonlyMap<string, string>,
): Candidate<R> | null {
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i] as Candidate<R>;
    if (candidate.fits(method, fields, query)) return candidate;
  }
  return null;
}

/** A field that stands several times counts as its values joined by commas (RFC 9110 section 5.3, as Envoy does). */
function joinedValue(fields: Fields, name: string): string | undefined {
  const values = fields.getAll(name);
  return values.length < 2 ? values[0] : values.join(',');
}

function listOf<R>(map: Map<string, Candidate<R>[]>, key: string): Candidate<R>[] {
  const found = map.get(key);
  if (found !== undefined) return found;
  const list: Candidate<R>[] = [];
  map.set(key, list);
  return list;
}
