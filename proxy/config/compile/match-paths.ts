/**
 * Paths of matches in the form in which a lookup sees those of requests (http/path): what is escaped without need, as in
 * `/%7Euser`, would never be met otherwise.
 */
import { normalizePath, type PathNormalization } from '../../http/path.ts';
import type { HttpMatch, HttpRoute } from '../model/http-route.ts';
import type { Path } from '../place.ts';

/** Told of a path that no request can have. */
export type PathReport = (path: Path, message: string, advice: string) => void;

/** The route itself where nothing is to change; a path that is reported stays as it is. */
export function withNormalPaths(route: HttpRoute, mode: PathNormalization, report: PathReport): HttpRoute {
  const { spec } = route;
  if (spec.rules.every(({ matches }) => matches.every((match) => normalPath(match, mode) === match.path.value))) {
    return route;
  }
  const rules = spec.rules.map((rule, i) => ({
    ...rule,
    matches: rule.matches.map((match, j) => {
      const value = normalPath(match, mode);
      const path: Path = ['spec', 'rules', i, 'matches', j, 'path', 'value'];
      if (value === null) report(path, 'can never match: requests for such a path are refused', '');
      else if (!holdsDots(match.path.value)) return { ...match, path: { ...match.path, value } };
      else report(path, 'can never match: dot segments are resolved before routes are looked up', value);
      return match;
    }),
  }));
  return { ...route, spec: { ...spec, rules } };
}

function normalPath({ path: { type, value } }: HttpMatch, mode: PathNormalization): string | null {
  return type === 'Exact' || type === 'PathPrefix' ? normalizePath(value, mode) : value;
}

/** Plain ones are refused on sight, so these have escapes, and nobody can have meant what they resolve to. */
function holdsDots(path: string): boolean {
  return path.split('/').some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment));
}
