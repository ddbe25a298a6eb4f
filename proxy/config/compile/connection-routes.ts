/** TLSRoutes and TCPRoutes of a Service port. */

import type { ConnectionRoute } from '../model/connection-route.ts';
import type { BackendRef } from '../model/parent-ref.ts';
import type { ConnectionRoutesSpec, ConnectionRuleSpec } from '../snapshot.ts';
import type { Entry } from './catalog.ts';

/** The cluster of a backend reference; null where it leads nowhere. */
export type ClusterOf = (route: Entry<ConnectionRoute>, ref: BackendRef) => string | null;

/** `routes` are of one kind. Of several TCPRoutes the first by name has the port. */
export function compileConnectionRoutes(
  routes: readonly Entry<ConnectionRoute>[],
  clusterOf: ClusterOf,
): ConnectionRoutesSpec | null {
  const [first] = routes;
  if (first === undefined) return null;
  if (first.value.kind === 'TCPRoute') return { kind: 'TCPRoute', rules: [compileRule(first, clusterOf)] };
  return { kind: 'TLSRoute', rules: routes.map((route) => compileRule(route, clusterOf)) };
}

/** Such a route has one rule, which takes all that the route takes. */
function compileRule(route: Entry<ConnectionRoute>, clusterOf: ClusterOf): ConnectionRuleSpec {
  const { hostnames, rules } = route.value.spec;
  const [rule] = rules;
  return {
    name: `${route.key}/${rule?.name ?? 0}`,
    source: route.source(['spec', 'rules', 0]),
    hostnames,
    backends: (rule?.backendRefs ?? []).map((ref) => ({ cluster: clusterOf(route, ref), weight: ref.weight })),
  };
}
