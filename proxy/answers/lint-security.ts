/** What of the security kinds is legal but most likely wrong. */
import type { Problem } from '../../shared/problem.ts';
import type { Catalog, Entry } from '../config/compile/catalog.ts';
import { hasLabels, selects } from '../config/compile/peer-modes.ts';
import type { AuthorizationPolicy, AuthorizationRule } from '../config/model/authorization-policy.ts';
import type { BackendTlsPolicy } from '../config/model/backend-tls-policy.ts';
import type { Envelope } from '../config/model/kind.ts';
import type { Path } from '../config/place.ts';

export function lintSecurity(catalog: Catalog): Problem[] {
  return [
    ...catalog.authorizationPolicies.flatMap((policy) => lintAuthorization(catalog, policy)),
    ...catalog.backendTlsPolicies.flatMap((policy) => lintBackendTls(catalog, policy)),
    ...lintClientCertificates(catalog),
    ...lintConfigMaps(catalog),
  ];
}

function warning<T extends Envelope>(entry: Entry<T>, path: Path, message: string, advice = ''): Problem {
  return entry.place.problem(path, message, advice, { severity: 'warning' });
}

function lintAuthorization(catalog: Catalog, policy: Entry<AuthorizationPolicy>): Problem[] {
  const { action, rules } = policy.value.spec;
  const found = selectsNothing(catalog, policy);
  if (action === 'DENY' && rules.length === 0) found.push(warning(policy, ['spec'], 'denies nobody: it has no rules'));
  for (const [i, rule] of rules.entries()) {
    for (const { path, attribute, pattern } of patternsOf(rule, ['spec', 'rules', i])) {
      if (attribute === 'source.principal' && pattern.startsWith(SCHEME)) {
        found.push(warning(policy, path, 'fits nobody: principals have no scheme', pattern.slice(SCHEME.length)));
      }
      if (hasStrayStar(pattern)) {
        found.push(warning(policy, path, 'fits nobody: only one "*" works, at the beginning or the end'));
      }
    }
  }
  return found;
}

const SCHEME = 'spiffe://';

/** A text that is compared with `*` as a wildcard (policy/authorization.ts), and where it stands. */
interface Pattern {
  readonly path: Path;
  readonly attribute: PatternAttribute;
  readonly pattern: string;
}

type PatternAttribute = 'source.principal' | 'source.namespace';

const PATTERN_FIELDS = [
  ['principals', 'source.principal'],
  ['notPrincipals', 'source.principal'],
  ['namespaces', 'source.namespace'],
  ['notNamespaces', 'source.namespace'],
] as const;

function* patternsOf({ from = [], when = [] }: AuthorizationRule, rule: Path): Iterable<Pattern> {
  for (const [i, { source }] of from.entries()) {
    for (const [field, attribute] of PATTERN_FIELDS) {
      yield* patternsIn(source[field], attribute, [...rule, 'from', i, 'source', field]);
    }
  }
  for (const [i, { key, values, notValues }] of when.entries()) {
    if (key !== 'source.principal' && key !== 'source.namespace') continue;
    yield* patternsIn(values, key, [...rule, 'when', i, 'values']);
    yield* patternsIn(notValues, key, [...rule, 'when', i, 'notValues']);
  }
}

function patternsIn(list: readonly string[] = [], attribute: PatternAttribute, path: Path): Pattern[] {
  return list.map((pattern, i) => ({ path: [...path, i], attribute, pattern }));
}

/** A `*` that is compared as itself, which no principal and no namespace holds. */
function hasStrayStar(pattern: string): boolean {
  const rest = pattern.startsWith('*') ? pattern.slice(1) : pattern.endsWith('*') ? pattern.slice(0, -1) : pattern;
  return rest.includes('*');
}

/** Of pods no more is known than the selectors of the Services before them, and the labels of this one. */
function selectsNothing(catalog: Catalog, policy: Entry<AuthorizationPolicy>): Problem[] {
  const { selector } = policy.value.spec;
  if (selector === undefined || !hasLabels(selector)) return [];
  const everywhere = policy.namespace === catalog.mesh.rootNamespace;
  const there = [...catalog.services.values()].filter(({ namespace }) => everywhere || namespace === policy.namespace);
  const selectors = there.map(({ value }) => value.spec.selector).filter((labels) => Object.keys(labels).length > 0);
  const { self } = catalog;
  const own = (everywhere || self.namespace === policy.namespace) && selects(selector, self.labels);
  if (own || selectors.length === 0 || selectors.some((labels) => agree(selector.matchLabels, labels))) return [];
  const labels = Object.entries(selector.matchLabels).map(([name, value]) => `${name}=${value}`);
  const where = everywhere ? 'the mesh' : `namespace ${policy.namespace}`;
  const message = `selects nothing: no Service of ${where} has pods with ${labels.join(', ')}`;
  return [warning(policy, ['spec', 'selector'], message)];
}

/** May one pod have both? */
function agree(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const shared = Object.keys(a).filter((name) => Object.hasOwn(b, name));
  return shared.every((name) => a[name] === b[name]);
}

function lintBackendTls(catalog: Catalog, policy: Entry<BackendTlsPolicy>): Problem[] {
  return policy.value.spec.targetRefs.flatMap(({ name, sectionName }, i) => {
    const key = `${policy.namespace}/${name}`;
    const service = catalog.services.get(key);
    const named = service?.value.spec.ports.some((port) => sectionName === undefined || port.name === sectionName);
    if (named === true) return [];
    const missing = service === undefined ? `there is no Service ${key}` : `Service ${key} has no port ${sectionName}`;
    return [warning(policy, ['spec', 'targetRefs', i], `${missing}: the policy selects nothing there`)];
  });
}

/** A client certificate is shown where a BackendTLSPolicy asks for TLS, and nowhere else. */
function lintClientCertificates({ trafficPolicies, backendTlsPolicies }: Catalog): Problem[] {
  const targets = new Set(
    backendTlsPolicies.flatMap(({ namespace, value }) =>
      value.spec.targetRefs.map(({ name }) => `${namespace}/${name}`),
    ),
  );
  return trafficPolicies
    .filter(({ value }) => value.spec.tls?.clientCertificate !== undefined)
    .filter(({ namespace, value }) => !value.spec.targetRefs.some(({ name }) => targets.has(`${namespace}/${name}`)))
    .map((policy) =>
      warning(
        policy,
        ['spec', 'tls', 'clientCertificate'],
        'is shown to nobody: no BackendTLSPolicy targets the Service',
      ),
    );
}

function lintConfigMaps({ configMaps, backendTlsPolicies }: Catalog): Problem[] {
  const read = new Set(
    backendTlsPolicies.flatMap(({ namespace, value }) =>
      value.spec.validation.caCertificateRefs.map(({ name }) => `${namespace}/${name}`),
    ),
  );
  return [...configMaps.values()]
    .filter(({ key }) => !read.has(key))
    .map((map) => warning(map, [], 'is read by nothing: only a BackendTLSPolicy refers to ConfigMaps'));
}
