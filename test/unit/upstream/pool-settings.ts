import type { PoolSettings } from '../../../proxy/upstream/pool.ts';

/** A pool of HTTP/1.1 in clear text with room for everybody. */
export const POOL_SETTINGS: PoolSettings = {
  maxConnections: 100,
  maxPending: 100,
  maxRequestsPerConnection: 0,
  idleMs: 0,
  maxConnectionAgeMs: 0,
  connectTimeoutMs: 1_000,
  protocol: 'http',
  negotiates: false,
  localAddress: undefined,
};
