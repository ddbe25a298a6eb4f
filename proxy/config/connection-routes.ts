/**
 * Where connections to a Service port go that nobody looks into: by the server name that their ClientHello asks for
 * (TLSRoute), or all alike (TCPRoute), and then by weight.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { chooseBackend } from '../policy/choice.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { ConnectionRoutesSpec, ConnectionRuleSpec } from './snapshot.ts';

/** A null cluster is an invalid reference: its share of the connections is closed. */
export interface ConnectionBackend {
  readonly cluster: Cluster | null;
  readonly weight: number;
}

export interface ConnectionRule {
  readonly name: string;
  readonly backends: readonly ConnectionBackend[];
  readonly totalWeight: number;
}

/** RFC 1035 section 2.3.4: no name of a host is longer, however long what a ClientHello holds. */
const MAX_NAME = 255;

export class ConnectionRoutes {
  /** False where every connection fares alike: then its first bytes need not be waited for. */
  readonly readsServerName: boolean;
  private readonly exact = new Map<string, ConnectionRule>();
  /** By what follows the `*`, e.g. `.example.com`. */
  private readonly wildcards = new Map<string, ConnectionRule>();
  private any: ConnectionRule | null = null;

  constructor({ kind, rules }: ConnectionRoutesSpec, clusters: ReadonlyMap<string, Cluster>) {
    this.readsServerName = kind === 'TLSRoute';
    for (const spec of rules) this.add(spec, linkRule(spec, clusters));
  }

  /**
   * The rule for a connection, null if there is none: the exact name, else the longest `*.` that holds it, else the rule
   * of every name. `serverName` in lower case; null: the connection is no TLS, '': its hello has no name.
   */
  find(serverName: string | null): ConnectionRule | null {
    if (!this.readsServerName) return this.any;
    if (serverName === null) return null;
    const exact = this.exact.get(serverName);
    if (exact !== undefined) return exact;
    if (serverName.length > MAX_NAME) return this.any;
    // The wildcard stands for at least one label.
    for (let dot = serverName.indexOf('.', 1); dot > 0; dot = serverName.indexOf('.', dot + 1)) {
      const found = this.wildcards.get(serverName.slice(dot));
      if (found !== undefined) return found;
    }
    return this.any;
  }

  /** Where one connection goes, or why nowhere. `point` from 0 to 1 decides among the weights. */
  choose(serverName: string | null, point: number): Cluster | Failure {
    const rule = this.find(serverName);
    if (rule === null) return FAILURES.noRoute;
    return chooseBackend(rule, point)?.cluster ?? FAILURES.invalidBackend;
  }

  /** Of two rules for one name the first has it. */
  private add({ hostnames }: ConnectionRuleSpec, rule: ConnectionRule): void {
    if (hostnames.length === 0) this.any ??= rule;
    for (const hostname of hostnames) {
      const [names, key] = hostname.startsWith('*') ? [this.wildcards, hostname.slice(1)] : [this.exact, hostname];
      if (!names.has(key)) names.set(key, rule);
    }
  }
}

function linkRule({ name, backends }: ConnectionRuleSpec, clusters: ReadonlyMap<string, Cluster>): ConnectionRule {
  return {
    name,
    backends: backends.map(({ cluster, weight }) => ({
      cluster: cluster === null ? null : (clusters.get(cluster) ?? null),
      weight,
    })),
    totalWeight: backends.reduce((sum, { weight }) => sum + weight, 0),
  };
}
