/** HTTPRoute filters as the policies of `policy/policies.ts` prepare from them. */
import type { CorsConfig } from '../../policy/cors.ts';
import type { FaultInjectionConfig } from '../../policy/fault-injection.ts';
import type { HeaderModifierConfig } from '../../policy/header-modifier.ts';
import type { PathChangeConfig } from '../../policy/path-change.ts';
import type { RequestRedirectConfig } from '../../policy/redirect.ts';
import type { UrlRewriteConfig } from '../../policy/rewrite.ts';
import type { HeaderChange, HttpFilter, PathChange } from '../model/http-filter.ts';
import type { HttpMatch } from '../model/http-route.ts';
import type { Path } from '../place.ts';
import type { FaultSpec, FilterSpec, SourceRef } from '../snapshot.ts';

/** `matches` are those of the rule: a prefix replacement needs the prefix. `servicePort`: where the route hangs. */
export function compileFilters(
  filters: readonly HttpFilter[],
  matches: readonly HttpMatch[],
  servicePort: number,
  path: Path,
  source: (path: Path) => SourceRef,
): FilterSpec[] {
  return filters.flatMap((filter, i) =>
    // No policy: it changes nothing about the request itself.
    filter.type === 'RequestMirror'
      ? []
      : [
          {
            kind: filter.type,
            source: source([...path, i]),
            config: configOf(filter, matches[0]?.path.value ?? '/', servicePort),
          },
        ],
  );
}

/** Faults are made before anything else looks at the request. */
export function faultFilter(faults: FaultSpec | null, source: SourceRef): FilterSpec[] {
  return faults === null ? [] : [{ kind: 'FaultInjection', source, config: faults satisfies FaultInjectionConfig }];
}

type FilterConfig = HeaderModifierConfig | RequestRedirectConfig | UrlRewriteConfig | CorsConfig;

function configOf(
  filter: Exclude<HttpFilter, { readonly type: 'RequestMirror' }>,
  prefix: string,
  servicePort: number,
): FilterConfig {
  switch (filter.type) {
    case 'RequestHeaderModifier':
      return headerChange(filter.requestHeaderModifier);
    case 'ResponseHeaderModifier':
      return headerChange(filter.responseHeaderModifier);
    case 'RequestRedirect': {
      const { scheme, hostname, path, port, statusCode } = filter.requestRedirect;
      return {
        scheme: scheme ?? null,
        hostname: hostname ?? null,
        path: pathChange(path, prefix),
        port: port ?? null,
        servicePort,
        statusCode,
      };
    }
    case 'URLRewrite': {
      const { hostname, path } = filter.urlRewrite;
      return { hostname: hostname ?? null, path: pathChange(path, prefix) };
    }
    case 'CORS': {
      const { maxAge, ...cors } = filter.cors;
      return { ...cors, maxAgeSeconds: maxAge };
    }
  }
}

function headerChange({ set, add, remove }: HeaderChange): HeaderModifierConfig {
  return {
    set: set.map(({ name, value }) => [name, value]),
    add: add.map(({ name, value }) => [name, value]),
    remove: [...remove],
  };
}

function pathChange(change: PathChange | undefined, prefix: string): PathChangeConfig | null {
  if (change === undefined) return null;
  if (change.type === 'ReplaceFullPath') return { type: change.type, value: change.replaceFullPath };
  return { type: change.type, prefix, value: change.replacePrefixMatch };
}
