/**
 * `security.istio.io/v1` AuthorizationPolicy, as far as it speaks of connections: who calls, from where, to which port.
 * What needs the request (methods, paths, hosts, headers, tokens) is refused by name until it is built.
 */
import { z } from 'zod';
import { Cidr } from '../../../shared/address.ts';
import { suggest } from '../near.ts';
import { complain, envelope, notYet, object } from './field.ts';
import type { Envelope, Kind } from './kind.ts';
import { type Selector, selector } from './peer-authentication.ts';

type Names = readonly string[] | undefined;

/** Lists without an entry are not there: what a rule does not say, it does not ask. */
export interface Source {
  readonly principals?: Names;
  readonly notPrincipals?: Names;
  readonly namespaces?: Names;
  readonly notNamespaces?: Names;
  readonly serviceAccounts?: Names;
  readonly notServiceAccounts?: Names;
  readonly ipBlocks?: Names;
  readonly notIpBlocks?: Names;
  readonly remoteIpBlocks?: Names;
  readonly notRemoteIpBlocks?: Names;
}

export interface Operation {
  readonly ports?: Names;
  readonly notPorts?: Names;
}

export interface Condition {
  readonly key: ConditionKey;
  readonly values?: Names;
  readonly notValues?: Names;
}

export interface AuthorizationRule {
  readonly from?: readonly { readonly source: Source }[] | undefined;
  readonly to?: readonly { readonly operation: Operation }[] | undefined;
  readonly when?: readonly Condition[] | undefined;
}

export interface AuthorizationPolicy extends Envelope {
  readonly spec: {
    readonly selector?: Selector | undefined;
    readonly action: 'ALLOW' | 'DENY';
    readonly rules: readonly AuthorizationRule[];
  };
}

/** Attributes of a connection, under Istio's names ("Authorization Policy Conditions"). */
const CONDITION_KEYS = [
  'source.ip',
  'source.namespace',
  'source.principal',
  'source.serviceAccount',
  'remote.ip',
  'destination.ip',
  'destination.port',
] as const;

export type ConditionKey = (typeof CONDITION_KEYS)[number];

/** Bounds the work per connection; nobody writes that many by hand. */
const MOST_VALUES = 256;
const MOST_RULES = 512;

const some = <T>(entry: z.ZodType<T>): z.ZodType<readonly T[] | undefined> =>
  z.array(entry).min(1).max(MOST_VALUES).optional();

/** Compared as text, with `*` at one end or alone; it never becomes an expression. */
const pattern = z.string().min(1).max(512);

const block = z.string().superRefine((value, context) => {
  if (Cidr.parse(value) === null) complain(context, `is no address or block: "${value}"`, 'e.g. 10.0.0.1 or fd00::/8');
});

const portText = z.string().superRefine((value, context) => {
  if (!isPort(value)) complain(context, `is no port: "${value}"`, '"1" to "65535"');
});

function isPort(value: string): boolean {
  return /^[1-9][0-9]{0,4}$/.test(value) && Number(value) <= 65_535;
}

const serviceAccount = z.string().regex(/^(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?\/)?[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?$/, {
  error: 'must be ACCOUNT or NAMESPACE/ACCOUNT, without patterns',
});

const source = object({
  principals: some(pattern),
  notPrincipals: some(pattern),
  requestPrincipals: notYet(),
  notRequestPrincipals: notYet(),
  namespaces: some(pattern),
  notNamespaces: some(pattern),
  serviceAccounts: some(serviceAccount),
  notServiceAccounts: some(serviceAccount),
  ipBlocks: some(block),
  notIpBlocks: some(block),
  remoteIpBlocks: some(block),
  notRemoteIpBlocks: some(block),
}).superRefine((value, context) => {
  needsField(value, context);
  // Istio refuses it too: an account says its namespace and stands for its principal.
  const accounts = value.serviceAccounts ?? value.notServiceAccounts;
  const others = [value.principals, value.notPrincipals, value.namespaces, value.notNamespaces];
  if (accounts !== undefined && others.some((list) => list !== undefined)) {
    complain(context, 'cannot have serviceAccounts beside principals or namespaces', 'write two sources');
  }
});

const operation = object({
  hosts: notYet(),
  notHosts: notYet(),
  ports: some(portText),
  notPorts: some(portText),
  methods: notYet(),
  notMethods: notYet(),
  paths: notYet(),
  notPaths: notYet(),
}).superRefine(needsField);

/** An empty one would match everything, which nobody means who begins to write one. */
function needsField(value: object, context: Parameters<typeof complain>[0]): void {
  const accepted = Object.values(value).some((field) => field !== undefined);
  if (!accepted) complain(context, 'says nothing', 'name a field, or leave it out');
}

const condition = object({
  key: z.string(),
  values: some(pattern),
  notValues: some(pattern),
}).transform((value, context): Condition => {
  const { key, values, notValues } = value;
  if (!isConditionKey(key)) {
    const known = /^(?:request\.|connection\.sni$|experimental\.)/.test(key);
    if (known) complain(context, `"${key}" is not supported yet`, '', ['key']);
    else complain(context, `is "${key}", which is not known here`, suggest(key, CONDITION_KEYS), ['key']);
    return z.NEVER;
  }
  if (values === undefined && notValues === undefined) complain(context, 'needs values or notValues', '');
  for (const [field, list] of [['values', values] as const, ['notValues', notValues] as const]) {
    for (const [i, text] of (list ?? []).entries()) {
      const wrong = wrongValue(key, text);
      if (wrong !== null) complain(context, `${wrong}: "${text}"`, '', [field, i]);
    }
  }
  return { key, values, notValues };
});

function isConditionKey(key: string): key is ConditionKey {
  return (CONDITION_KEYS as readonly string[]).includes(key);
}

function wrongValue(key: ConditionKey, text: string): string | null {
  if (key.endsWith('.ip')) return Cidr.parse(text) === null ? 'is no address or block' : null;
  if (key === 'destination.port') return isPort(text) ? null : 'is no port';
  if (key === 'source.serviceAccount') return serviceAccount.safeParse(text).success ? null : 'is no service account';
  return null;
}

const rule = object({
  from: z.array(object({ source })).min(1).max(MOST_RULES).optional(),
  to: z.array(object({ operation })).min(1).max(MOST_RULES).optional(),
  when: z.array(condition).min(1).max(MOST_RULES).optional(),
});

const action = z
  .enum(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'])
  .default('ALLOW')
  .transform((value, context): 'ALLOW' | 'DENY' => {
    if (value === 'ALLOW' || value === 'DENY') return value;
    complain(context, `${value} is not supported yet`, 'ALLOW or DENY');
    return z.NEVER;
  });

const spec = object({
  selector: selector.optional(),
  targetRef: notYet(),
  targetRefs: notYet(),
  action,
  provider: notYet(),
  rules: z.array(rule).max(MOST_RULES).default([]),
});

export const authorizationPolicy: Kind<AuthorizationPolicy> = {
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  // Without a spec it is Istio's `{}`: ALLOW, and no rule that admits anybody.
  schema: object({ ...envelope, spec: spec.prefault({}) }),
};
