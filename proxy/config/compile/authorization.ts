/** AuthorizationPolicies and whom they concern, by Istio's scopes: their namespace, or from the root namespace every one. */
import type { ConnectionAttribute } from '../../policy/authorization.ts';
import type {
  AuthorizationPolicy,
  AuthorizationRule,
  Condition,
  Operation,
  Source,
} from '../model/authorization-policy.ts';
import type { AuthorizationConditionSpec, AuthorizationRuleSpec, AuthorizationSpec } from '../snapshot.ts';
import type { Catalog, Entry } from './catalog.ts';
import { selects } from './peer-modes.ts';

export class Authorizations {
  private readonly catalog: Catalog;
  private readonly trustDomains: readonly string[];

  constructor(catalog: Catalog) {
    const { trustDomain, trustDomainAliases } = catalog.mesh;
    this.catalog = catalog;
    this.trustDomains = [trustDomain, ...trustDomainAliases];
  }

  compile(): AuthorizationSpec[] {
    return this.catalog.authorizationPolicies.map((entry) => ({
      key: entry.key,
      source: entry.source(),
      action: entry.value.spec.action,
      rules: entry.value.spec.rules.map((rule, i) => this.compileRule(entry, rule, i)),
    }));
  }

  /**
   * Keys of the policies for a workload with these labels. Of a Service only the selector is known: then those are
   * counted that apply to every pod it selects. Unlike PeerAuthentication's, a selector in the root namespace reaches all.
   */
  keysFor(namespace: string, labels: Readonly<Record<string, string>>): string[] {
    const { authorizationPolicies, mesh } = this.catalog;
    return authorizationPolicies
      .filter((entry) => entry.namespace === namespace || entry.namespace === mesh.rootNamespace)
      .filter((entry) => selects(entry.value.spec.selector, labels))
      .map(({ key }) => key);
  }

  private compileRule(
    entry: Entry<AuthorizationPolicy>,
    rule: AuthorizationRule,
    index: number,
  ): AuthorizationRuleSpec {
    return {
      source: entry.source(['spec', 'rules', index]),
      from: (rule.from ?? []).map(({ source }) => this.sourceConditions(source, entry.namespace)),
      to: (rule.to ?? []).map(({ operation }) => operationConditions(operation)),
      when: (rule.when ?? []).map((condition) => this.whenCondition(condition, entry.namespace)),
    };
  }

  private sourceConditions(source: Source, namespace: string): AuthorizationConditionSpec[] {
    const principals = (values: readonly string[] = []): string[] => this.everyTrustDomain(values);
    const accounts = (values: readonly string[] = []): string[] => inNamespace(values, namespace);
    return [
      ...asked('source.principal', principals(source.principals), principals(source.notPrincipals)),
      ...asked('source.namespace', source.namespaces, source.notNamespaces),
      ...asked('source.serviceAccount', accounts(source.serviceAccounts), accounts(source.notServiceAccounts)),
      ...asked('source.ip', source.ipBlocks, source.notIpBlocks),
      ...asked('remote.ip', source.remoteIpBlocks, source.notRemoteIpBlocks),
    ];
  }

  private whenCondition(
    { key, values = [], notValues = [] }: Condition,
    namespace: string,
  ): AuthorizationConditionSpec {
    const [wanted, unwanted] = [values, notValues].map((list) => {
      if (key === 'source.principal') return this.everyTrustDomain(list);
      return key === 'source.serviceAccount' ? inNamespace(list, namespace) : list;
    }) as [readonly string[], readonly string[]];
    return { attribute: key, values: wanted, notValues: unwanted };
  }

  /** A principal under any name of the own trust domain (Istio: `cluster.local` too) stands for it under all of them. */
  private everyTrustDomain(principals: readonly string[]): string[] {
    const own = new Set([...this.trustDomains, 'cluster.local']);
    const spelled = principals.flatMap((principal) => {
      const slash = principal.indexOf('/');
      if (slash < 0 || !own.has(principal.slice(0, slash))) return [principal];
      return this.trustDomains.map((domain) => domain + principal.slice(slash));
    });
    return [...new Set(spelled)];
  }
}

function operationConditions({ ports, notPorts }: Operation): AuthorizationConditionSpec[] {
  return asked('destination.port', ports, notPorts);
}

/** An account without a namespace is one of the policy's own. */
function inNamespace(accounts: readonly string[], namespace: string): string[] {
  return accounts.map((account) => (account.includes('/') ? account : `${namespace}/${account}`));
}

function asked(
  attribute: ConnectionAttribute,
  values: readonly string[] = [],
  notValues: readonly string[] = [],
): AuthorizationConditionSpec[] {
  return values.length === 0 && notValues.length === 0 ? [] : [{ attribute, values, notValues }];
}
