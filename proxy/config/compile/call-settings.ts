/** From flat traffic settings to the parts of a ClusterSpec. Fields in one order, so that equal policy is equal text. */
import type { ClusterSpec, OutlierSettings, RetryRulesSpec } from '../snapshot.ts';
import type { Traffic } from './traffic.ts';

type CallSettings = Pick<
  ClusterSpec,
  | 'loadBalancer'
  | 'circuitBreaker'
  | 'outlier'
  | 'activeCheck'
  | 'faults'
  | 'connectTimeoutMs'
  | 'tcpIdleMs'
  | 'requestTimeoutMs'
  | 'attemptTimeoutMs'
  | 'streamIdleMs'
  | 'connectionIdleMs'
  | 'maxConnectionAgeMs'
  | 'retries'
  | 'retryRules'
>;

export function callSettings(traffic: Traffic): CallSettings {
  return {
    loadBalancer: {
      type: traffic.type,
      hashOn: traffic.hashOn,
      slowStartMs: traffic.slowStartMs,
      zones: traffic.zones,
      panicPercent: traffic.panicPercent,
    },
    circuitBreaker: {
      maxConnections: traffic.maxConnections,
      maxPendingRequests: traffic.maxPendingRequests,
      maxParallelRequests: traffic.maxParallelRequests,
      maxParallelRetries: traffic.maxParallelRetries,
      maxRequestsPerConnection: traffic.maxRequestsPerConnection,
      retryBudgetPercent: traffic.retryBudgetPercent,
      retryBudgetMinPerSecond: traffic.retryBudgetMinPerSecond,
      errorRatePercent: traffic.errorRatePercent,
      errorWindowMs: traffic.errorWindowMs,
      errorMinimumRequests: traffic.errorMinimumRequests,
      openMs: traffic.openMs,
      errorKinds: traffic.errorKinds,
      slowCallMs: traffic.slowCallMs,
      adaptiveConcurrency: traffic.adaptiveConcurrency,
    },
    outlier: outlierOf(traffic),
    activeCheck: traffic.activeCheck,
    faults: traffic.faults,
    connectTimeoutMs: traffic.connectTimeoutMs,
    tcpIdleMs: traffic.tcpIdleMs,
    requestTimeoutMs: traffic.requestTimeoutMs,
    attemptTimeoutMs: traffic.attemptTimeoutMs,
    streamIdleMs: traffic.streamIdleMs,
    connectionIdleMs: traffic.connectionIdleMs,
    maxConnectionAgeMs: traffic.maxConnectionAgeMs,
    retries: traffic.retries,
    retryRules: retryRulesOf(traffic),
  };
}

export function retryRulesOf(traffic: RetryRulesSpec): RetryRulesSpec {
  return {
    triggers: traffic.triggers,
    statuses: traffic.statuses,
    idempotencyKey: traffic.idempotencyKey,
    backOffMs: traffic.backOffMs,
    maxBackOffMs: traffic.maxBackOffMs,
    hedge: traffic.hedge,
  };
}

function outlierOf(traffic: OutlierSettings): OutlierSettings {
  return {
    consecutiveErrors: traffic.consecutiveErrors,
    consecutiveGatewayErrors: traffic.consecutiveGatewayErrors,
    consecutiveLocalFailures: traffic.consecutiveLocalFailures,
    intervalMs: traffic.intervalMs,
    successRateMinimumHosts: traffic.successRateMinimumHosts,
    successRateRequestVolume: traffic.successRateRequestVolume,
    successRateDeviations: traffic.successRateDeviations,
    baseEjectionMs: traffic.baseEjectionMs,
    maxEjectionMs: traffic.maxEjectionMs,
    maxEjectionPercent: traffic.maxEjectionPercent,
  };
}
