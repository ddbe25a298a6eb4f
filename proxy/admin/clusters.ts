/** What `/clusters` shows: every endpoint of every Service port, added up over the data threads. */

export interface EndpointStatus {
  /** `address:port`. */
  readonly address: string;
  readonly state: string;
  readonly ready: boolean;
  readonly weight: number;
  readonly activeRequests: number;
  readonly connections: number;
  readonly requests: number;
  readonly failures: number;
}

export interface ClusterStatus {
  /** `namespace/service:port`. */
  readonly key: string;
  readonly activeRequests: number;
  readonly connections: number;
  /** Of adaptive concurrency: requests at a time that are admitted now (0: it is off), and those turned away. */
  readonly concurrencyLimit: number;
  readonly concurrencyRefused: number;
  readonly breaker: string;
  /** Of the requests in the breaker's window: those that failed, and all. */
  readonly breakerFailures: number;
  readonly breakerRequests: number;
  /** Attempts after the first. */
  readonly retries: number;
  readonly endpoints: readonly EndpointStatus[];
}

/** One list out of a list per thread: numbers add up, states that differ stand side by side. In order of key. */
export function mergeClusters(threads: readonly (readonly ClusterStatus[])[]): ClusterStatus[] {
  return grouped(threads.flat(), (cluster) => cluster.key)
    .map((same) => mergeCluster(same))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

function mergeCluster(same: readonly [ClusterStatus, ...ClusterStatus[]]): ClusterStatus {
  return {
    key: same[0].key,
    activeRequests: sum(same, (one) => one.activeRequests),
    connections: sum(same, (one) => one.connections),
    concurrencyLimit: sum(same, (one) => one.concurrencyLimit),
    concurrencyRefused: sum(same, (one) => one.concurrencyRefused),
    breaker: distinct(same.map((one) => one.breaker)),
    breakerFailures: sum(same, (one) => one.breakerFailures),
    breakerRequests: sum(same, (one) => one.breakerRequests),
    retries: sum(same, (one) => one.retries),
    endpoints: grouped(
      same.flatMap((one) => one.endpoints),
      (endpoint) => endpoint.address,
    ).map(mergeEndpoint),
  };
}

function mergeEndpoint(same: readonly [EndpointStatus, ...EndpointStatus[]]): EndpointStatus {
  return {
    address: same[0].address,
    state: distinct(same.map((one) => one.state)),
    ready: same[0].ready,
    weight: same[0].weight,
    activeRequests: sum(same, (one) => one.activeRequests),
    connections: sum(same, (one) => one.connections),
    requests: sum(same, (one) => one.requests),
    failures: sum(same, (one) => one.failures),
  };
}

/** Envoy's layout: `cluster::name::value` and `cluster::endpoint::name::value`, one a line. */
export function clustersText(clusters: readonly ClusterStatus[]): string {
  let out = '';
  for (const cluster of clusters) {
    out += `${cluster.key}::breaker::${cluster.breaker}\n`;
    out += `${cluster.key}::breaker_failures::${cluster.breakerFailures} of ${cluster.breakerRequests}\n`;
    if (cluster.concurrencyLimit > 0) {
      out += `${cluster.key}::concurrency_limit::${cluster.concurrencyLimit}\n`;
      out += `${cluster.key}::concurrency_refused::${cluster.concurrencyRefused}\n`;
    }
    out += `${cluster.key}::rq_retry::${cluster.retries}\n`;
    out += `${cluster.key}::rq_active::${cluster.activeRequests}\n`;
    out += `${cluster.key}::cx_active::${cluster.connections}\n`;
    for (const endpoint of cluster.endpoints) out += endpointText(`${cluster.key}::${endpoint.address}`, endpoint);
  }
  return out;
}

function endpointText(name: string, endpoint: EndpointStatus): string {
  return (
    `${name}::state::${endpoint.state}\n` +
    `${name}::ready::${endpoint.ready}\n` +
    `${name}::weight::${endpoint.weight}\n` +
    `${name}::cx_active::${endpoint.connections}\n` +
    `${name}::rq_active::${endpoint.activeRequests}\n` +
    `${name}::rq_total::${endpoint.requests}\n` +
    `${name}::rq_error::${endpoint.failures}\n`
  );
}

/** Groups in order of their first member. */
function grouped<T>(items: readonly T[], keyOf: (item: T) => string): [T, ...T[]][] {
  const groups = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

function sum<T>(items: readonly T[], valueOf: (item: T) => number): number {
  return items.reduce((total, item) => total + valueOf(item), 0);
}

function distinct(states: readonly string[]): string {
  return [...new Set(states)].join('/');
}
