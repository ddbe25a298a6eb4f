/**
 * AuthorizationPolicy by Istio's order: a DENY that fits refuses; else, where there is any ALLOW, one must fit. Judged
 * from what is known of a connection before a byte of it is read, so the answer holds for all that it carries.
 *
 * Names are compared as text, exactly or by their beginning or end, and never become expressions.
 */
import { parseSpiffeId } from '../../certs/identity.ts';
import { Cidr, type HostPort, parseIp } from '../../shared/address.ts';

/** Attributes of a connection, under Istio's names. */
export type ConnectionAttribute =
  | 'source.principal'
  | 'source.namespace'
  | 'source.serviceAccount'
  | 'source.ip'
  | 'remote.ip'
  | 'destination.ip'
  | 'destination.port';

/** What one condition asks; shaped as the snapshot's AuthorizationConditionSpec. */
export interface ConditionConfig {
  readonly attribute: ConnectionAttribute;
  readonly values: readonly string[];
  readonly notValues: readonly string[];
}

/** Shaped as the snapshot's AuthorizationSpec. */
export interface AuthorizationConfig {
  readonly key: string;
  readonly action: 'ALLOW' | 'DENY';
  readonly rules: readonly {
    readonly from: readonly (readonly ConditionConfig[])[];
    readonly to: readonly (readonly ConditionConfig[])[];
    readonly when: readonly ConditionConfig[];
  }[];
}

/** Who called; `principal` is a verified SPIFFE ID, empty without mutual TLS. */
export interface Peer {
  readonly principal: string;
  readonly sourceAddress: string;
}

export interface Verdict {
  readonly admitted: boolean;
  /** Which policy decided, as the end of a log line. */
  readonly why: string;
}

/** What one rule says of a connection, for explain. */
export interface RuleVerdict {
  /** Indices into the policies, and into that one's rules. */
  readonly policy: number;
  readonly rule: number;
  readonly fits: boolean;
}

/** The policies of one workload, ready to judge. */
export class Authorization {
  private readonly policies: readonly Policy[];
  private readonly deny: readonly Policy[];
  private readonly allow: readonly Policy[];
  /** A connection is judged once, however many requests it carries. */
  private readonly judged = new WeakMap<Peer, Verdict>();

  private constructor(policies: readonly Policy[]) {
    this.policies = policies;
    this.deny = policies.filter(({ action }) => action === 'DENY');
    this.allow = policies.filter(({ action }) => action === 'ALLOW');
  }

  /** null where there is nothing to judge by. */
  static of(configs: readonly AuthorizationConfig[]): Authorization | null {
    return configs.length === 0 ? null : new Authorization(configs.map((config) => new Policy(config)));
  }

  /** The same `peer` object always goes to the same `destination`: it stands for the connection. */
  judge(peer: Peer, destination: HostPort): Verdict {
    const known = this.judged.get(peer);
    if (known !== undefined) return known;
    const verdict = this.decide(new ConnectionFacts(peer, destination));
    this.judged.set(peer, verdict);
    return verdict;
  }

  /** Every rule's own answer, those that decide nothing included. */
  explain(peer: Peer, destination: HostPort): RuleVerdict[] {
    const facts = new ConnectionFacts(peer, destination);
    return this.policies.flatMap(({ rules }, policy) =>
      rules.map((each, rule) => ({ policy, rule, fits: each.fits(facts) })),
    );
  }

  private decide(facts: ConnectionFacts): Verdict {
    for (const { key, rules } of this.deny) {
      const rule = rules.findIndex((each) => each.fits(facts));
      if (rule >= 0) return { admitted: false, why: `AuthorizationPolicy ${key} rule ${rule} denies` };
    }
    if (this.allow.length === 0) return { admitted: true, why: 'no AuthorizationPolicy denies' };
    for (const { key, rules } of this.allow) {
      const rule = rules.findIndex((each) => each.fits(facts));
      if (rule >= 0) return { admitted: true, why: `AuthorizationPolicy ${key} rule ${rule} allows` };
    }
    return {
      admitted: false,
      why: `no rule of AuthorizationPolicy ${this.allow.map(({ key }) => key).join(', ')} allows`,
    };
  }
}

class Policy {
  readonly key: string;
  readonly action: 'ALLOW' | 'DENY';
  readonly rules: readonly Rule[];

  constructor({ key, action, rules }: AuthorizationConfig) {
    this.key = key;
    this.action = action;
    this.rules = rules.map((rule) => new Rule(rule));
  }
}

class Rule {
  private readonly from: readonly (readonly Condition[])[];
  private readonly to: readonly (readonly Condition[])[];
  private readonly when: readonly Condition[];

  constructor({ from, to, when }: AuthorizationConfig['rules'][number]) {
    this.from = from.map(conditions);
    this.to = to.map(conditions);
    this.when = conditions(when);
  }

  fits(facts: ConnectionFacts): boolean {
    return anyGroup(this.from, facts) && anyGroup(this.to, facts) && allHold(this.when, facts);
  }
}

function conditions(configs: readonly ConditionConfig[]): Condition[] {
  return configs.map((config) => new Condition(config));
}

/** Where no group is written, none is asked for. */
function anyGroup(groups: readonly (readonly Condition[])[], facts: ConnectionFacts): boolean {
  return groups.length === 0 || groups.some((group) => allHold(group, facts));
}

function allHold(group: readonly Condition[], facts: ConnectionFacts): boolean {
  return group.every((condition) => condition.holds(facts));
}

class Condition {
  private readonly attribute: ConnectionAttribute;
  private readonly values: readonly Matcher[];
  private readonly notValues: readonly Matcher[];

  constructor({ attribute, values, notValues }: ConditionConfig) {
    const matcher = (value: string): Matcher => matcherOf(attribute, value);
    this.attribute = attribute;
    this.values = values.map(matcher);
    this.notValues = notValues.map(matcher);
  }

  /** An attribute that the connection lacks is no value of any list. */
  holds(facts: ConnectionFacts): boolean {
    const { attribute, values, notValues } = this;
    if (values.length > 0 && !values.some((matcher) => matcher.fits(facts, attribute))) return false;
    return !notValues.some((matcher) => matcher.fits(facts, attribute));
  }
}

interface Matcher {
  fits(facts: ConnectionFacts, attribute: ConnectionAttribute): boolean;
}

function matcherOf(attribute: ConnectionAttribute, value: string): Matcher {
  if (!attribute.endsWith('.ip')) return new TextMatcher(value);
  const block = Cidr.parse(value);
  // Compile has checked it.
  if (block === null) throw new Error(`${value} is no address block`);
  return new BlockMatcher(block);
}

/** `*`: any text but none; `abc*` and `*abc` by their ends; everything else exactly. */
class TextMatcher implements Matcher {
  private readonly kind: 'exact' | 'prefix' | 'suffix';
  private readonly text: string;

  constructor(value: string) {
    const [suffix, prefix] = [value.startsWith('*'), value.endsWith('*')];
    this.kind = suffix ? 'suffix' : prefix ? 'prefix' : 'exact';
    this.text = suffix ? value.slice(1) : prefix ? value.slice(0, -1) : value;
  }

  fits(facts: ConnectionFacts, attribute: ConnectionAttribute): boolean {
    const found = facts.text(attribute);
    if (found === '') return false;
    if (this.kind === 'exact') return found === this.text;
    return this.kind === 'prefix' ? found.startsWith(this.text) : found.endsWith(this.text);
  }
}

class BlockMatcher implements Matcher {
  private readonly block: Cidr;

  constructor(block: Cidr) {
    this.block = block;
  }

  fits(facts: ConnectionFacts, attribute: ConnectionAttribute): boolean {
    const address = attribute === 'destination.ip' ? facts.destination : facts.source;
    return address !== null && this.block.contains(address);
  }
}

const SCHEME = 'spiffe://';

/** A connection in the terms of policy; empty and null for what it lacks. */
class ConnectionFacts {
  readonly source: Uint8Array | null;
  readonly destination: Uint8Array | null;
  /** Without its scheme, as Istio writes principals. */
  private readonly principal: string;
  private readonly namespace: string;
  private readonly account: string;
  private readonly port: string;

  constructor({ principal, sourceAddress }: Peer, { host, port }: HostPort) {
    const id = parseSpiffeId(principal);
    this.source = parseIp(sourceAddress);
    this.destination = parseIp(host);
    this.principal = principal.startsWith(SCHEME) ? principal.slice(SCHEME.length) : principal;
    this.namespace = id?.namespace ?? '';
    this.account = id === null || id.namespace === '' ? '' : `${id.namespace}/${id.serviceAccount}`;
    this.port = String(port);
  }

  text(attribute: ConnectionAttribute): string {
    switch (attribute) {
      case 'source.principal':
        return this.principal;
      case 'source.namespace':
        return this.namespace;
      case 'source.serviceAccount':
        return this.account;
      case 'destination.port':
        return this.port;
      default:
        throw new Error(`${attribute} is an address`);
    }
  }
}
