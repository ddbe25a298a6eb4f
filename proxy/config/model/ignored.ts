import { setOwn } from '../yaml.ts';

/**
 * The one list of fields that are accepted and not read, because they do not bear on the data plane: what the server
 * sets, and what other parts of Kubernetes act on. `[]` stands for every entry of a list.
 */
const SERVER_SET: readonly string[] = [
  'status',
  'metadata.creationTimestamp',
  'metadata.deletionGracePeriodSeconds',
  'metadata.deletionTimestamp',
  'metadata.finalizers',
  'metadata.generateName',
  'metadata.generation',
  'metadata.managedFields',
  'metadata.ownerReferences',
  'metadata.resourceVersion',
  'metadata.selfLink',
  'metadata.uid',
];

const BY_KIND: Readonly<Record<string, readonly string[]>> = {
  Service: [
    'spec.allocateLoadBalancerNodePorts',
    'spec.externalIPs',
    'spec.externalTrafficPolicy',
    'spec.healthCheckNodePort',
    'spec.internalTrafficPolicy',
    'spec.ipFamilies',
    'spec.ipFamilyPolicy',
    'spec.loadBalancerClass',
    'spec.loadBalancerIP',
    'spec.loadBalancerSourceRanges',
    'spec.publishNotReadyAddresses',
    'spec.sessionAffinity',
    'spec.sessionAffinityConfig',
    'spec.trafficDistribution',
    'spec.ports[].nodePort',
  ],
  EndpointSlice: [
    'endpoints[].deprecatedTopology',
    'endpoints[].hints',
    'endpoints[].hostname',
    'endpoints[].nodeName',
    'endpoints[].targetRef',
  ],
  ConfigMap: ['binaryData', 'immutable'],
  HTTPRoute: ['spec.hostnames'],
  GRPCRoute: ['spec.hostnames'],
};

/** Fields of documents of this kind that are accepted and not read. */
export function ignoredFields(kind: string): readonly string[] {
  return [...SERVER_SET, ...(BY_KIND[kind] ?? [])];
}

/** Fields one document may have after its aliases are written out: a 1000-rule route has some 50,000. */
const MOST_FIELDS = 250_000;

/**
 * A copy of a document without the ignored fields and without fields set to null, which to Kubernetes are absent ones.
 * Throws a RangeError for a document with too many fields.
 */
export function withoutIgnored(document: unknown, kind: string): unknown {
  return strip(document, BRANCHES[kind] ?? SERVER_SET_BRANCH, { left: MOST_FIELDS });
}

/** Ignored fields below one field, by name and `[]`; null: the field itself is ignored. */
type Branch = ReadonlyMap<string, Branch | null>;

const SERVER_SET_BRANCH = branchOf(SERVER_SET);
const BRANCHES: Readonly<Record<string, Branch>> = Object.fromEntries(
  Object.keys(BY_KIND).map((kind) => [kind, branchOf(ignoredFields(kind))]),
);

function branchOf(paths: readonly string[]): Branch {
  const root = new Map<string, Branch | null>();
  for (const path of paths) {
    const steps = path.replaceAll('[]', '.[]').split('.');
    let here = root;
    for (const step of steps.slice(0, -1)) {
      const below = (here.get(step) as Map<string, Branch | null> | undefined) ?? new Map<string, Branch | null>();
      here.set(step, below);
      here = below;
    }
    here.set(steps.at(-1) as string, null);
  }
  return root;
}

/** Runs over every field of every document: no paths are put together, and maps keep V8's fast shapes. */
function strip(value: unknown, branch: Branch | undefined, walk: { left: number }): unknown {
  if (--walk.left < 0) throw new RangeError('too many fields');
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const below = branch?.get('[]') ?? undefined;
    return value.map((entry: unknown) => strip(entry, below, walk));
  }
  const kept: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const below = branch?.get(name);
    if (field !== null && field !== undefined && below !== null) setOwn(kept, name, strip(field, below, walk));
  }
  return kept;
}
