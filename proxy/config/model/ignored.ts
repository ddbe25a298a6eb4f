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
  return strip(document, '', { ignored: new Set(ignoredFields(kind)), left: MOST_FIELDS });
}

function strip(value: unknown, path: string, walk: { readonly ignored: ReadonlySet<string>; left: number }): unknown {
  if (--walk.left < 0) throw new RangeError('too many fields');
  if (Array.isArray(value)) return value.map((entry: unknown) => strip(entry, `${path}[]`, walk));
  if (typeof value !== 'object' || value === null) return value;
  const kept: [string, unknown][] = [];
  for (const [name, field] of Object.entries(value)) {
    const below = path === '' ? name : `${path}.${name}`;
    if (field !== null && field !== undefined && !walk.ignored.has(below)) kept.push([name, strip(field, below, walk)]);
  }
  return Object.fromEntries(kept);
}
