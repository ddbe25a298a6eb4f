/**
 * `weft.dev/v1` TrafficPolicy: what Gateway API lacks, in the names of Envoy Gateway's BackendTrafficPolicy. Fields whose
 * room is not built yet are refused.
 */
import { z } from 'zod';
import { ERROR_KINDS, type ErrorKind } from '../../upstream/breaker-errors.ts';
import { type FaultInjection, faultInjection } from './fault-injection.ts';
import { complain, duration, envelope, notYet, object, positiveDuration, subdomain } from './field.ts';
import { type HealthCheck, healthCheck } from './health-check.ts';
import type { Envelope, Kind } from './kind.ts';
import { type LoadBalancer, loadBalancer } from './load-balancer.ts';
import { type Hedge, hedge, type Retry, retry } from './retry.ts';

export interface TargetRef {
  readonly group: string;
  readonly kind: 'Service' | 'HTTPRoute' | 'GRPCRoute';
  readonly name: string;
  /** Port name of a Service, rule name of a route. */
  readonly sectionName?: string | undefined;
}

type Count = number | undefined;

export interface TrafficPolicySpec {
  readonly targetRefs: readonly TargetRef[];
  readonly loadBalancer?: LoadBalancer | undefined;
  readonly circuitBreaker?:
    | {
        readonly maxConnections?: Count;
        readonly maxPendingRequests?: Count;
        readonly maxParallelRequests?: Count;
        readonly maxParallelRetries?: Count;
        readonly maxRequestsPerConnection?: Count;
        readonly retryBudget?: { readonly percent?: Count; readonly minRetriesPerSecond?: Count } | undefined;
        /** `threshold` in percent; times in ms. */
        readonly errorRate?:
          | {
              readonly threshold: number;
              readonly window?: Count;
              readonly minimumRequests?: Count;
              readonly openTime?: Count;
              readonly errors?: readonly ErrorKind[] | undefined;
              readonly slowCall?: Count;
            }
          | undefined;
        /** `tolerance` in percent, the time in ms. */
        readonly adaptiveConcurrency?:
          | {
              readonly minLimit: number;
              readonly maxLimit: number;
              readonly tolerance: number;
              readonly probeInterval: number;
            }
          | undefined;
      }
    | undefined;
  readonly timeout?:
    | {
        /** `idleTimeout` is weft's own; 0: none. */
        readonly tcp?: { readonly connectTimeout?: Count; readonly idleTimeout?: Count } | undefined;
        readonly http?:
          | {
              readonly requestTimeout?: Count;
              readonly streamIdleTimeout?: Count;
              readonly connectionIdleTimeout?: Count;
              readonly maxConnectionDuration?: Count;
            }
          | undefined;
      }
    | undefined;
  readonly retry?: Retry | undefined;
  readonly hedge?: Hedge | undefined;
  readonly healthCheck?: HealthCheck | undefined;
  readonly faultInjection?: FaultInjection | undefined;
  readonly httpUpgrade?: readonly { readonly type: string }[] | undefined;
  readonly tls?:
    | {
        readonly mode?: 'Mesh' | 'Disable' | undefined;
        /** Files in the sidecar, in PEM; shown to Services that a BackendTLSPolicy targets. */
        readonly clientCertificate?: string | undefined;
        readonly privateKey?: string | undefined;
      }
    | undefined;
}

export interface TrafficPolicy extends Envelope {
  readonly spec: TrafficPolicySpec;
}

const ROUTE_GROUP = 'gateway.networking.k8s.io';

const targetRef = object({
  group: z.string().default(''),
  kind: z.enum(['Service', 'HTTPRoute', 'GRPCRoute']),
  name: subdomain,
  sectionName: subdomain.optional(),
}).superRefine((ref, context) => {
  const group = ref.kind === 'Service' ? '' : ROUTE_GROUP;
  if (ref.group !== group) complain(context, `must be "${group}" for kind ${ref.kind}`, '', ['group']);
});

/** Envoy's limits are 32-bit; so are the counters of a data thread in small integers. */
const limit = z
  .int()
  .min(0)
  .max(2 ** 30);
const percent = z.number().min(0).max(100);

/** Envoy's defaults, as far as it has the like. */
const adaptiveConcurrency = object({
  minLimit: limit.min(1).default(3),
  maxLimit: limit.min(1).default(1_000),
  tolerance: z.number().gt(0).max(1_000).default(25),
  probeInterval: positiveDuration.prefault('30s'),
}).superRefine(({ minLimit, maxLimit }, context) => {
  if (maxLimit < minLimit) complain(context, 'must not be below minLimit', '', ['maxLimit']);
});

const circuitBreaker = object({
  maxConnections: limit.min(1).optional(),
  maxPendingRequests: limit.optional(),
  maxParallelRequests: limit.min(1).optional(),
  maxParallelRetries: limit.optional(),
  maxRequestsPerConnection: limit.optional(),
  retryBudget: object({ percent: percent.optional(), minRetriesPerSecond: limit.optional() }).optional(),
  errorRate: object({
    threshold: percent.gt(0),
    window: positiveDuration.optional(),
    minimumRequests: limit.min(1).optional(),
    openTime: positiveDuration.optional(),
    errors: z.array(z.enum(ERROR_KINDS)).min(1).max(16).optional(),
    slowCall: positiveDuration.optional(),
  }).optional(),
  adaptiveConcurrency: adaptiveConcurrency.optional(),
  perEndpoint: notYet(),
});

/** Never a key itself: policy is shown to whoever asks. */
const keyFile = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, { error: 'must be the path of a file, from the root' });

const tls = object({
  mode: z.enum(['Mesh', 'Disable']).optional(),
  clientCertificate: keyFile.optional(),
  privateKey: keyFile.optional(),
}).superRefine(({ mode, clientCertificate, privateKey }, context) => {
  if (mode === undefined && clientCertificate === undefined && privateKey === undefined)
    complain(context, 'says nothing', 'mode, or clientCertificate and privateKey');
  if (clientCertificate !== undefined && privateKey === undefined)
    complain(context, 'is required beside clientCertificate', 'the file of its key', ['privateKey']);
  if (privateKey !== undefined && clientCertificate === undefined)
    complain(context, 'is required beside privateKey', 'the file of its certificate', ['clientCertificate']);
});

const spec = object({
  targetRefs: z.array(targetRef).min(1).max(16),
  loadBalancer: loadBalancer.optional(),
  circuitBreaker: circuitBreaker.optional(),
  timeout: object({
    tcp: object({ connectTimeout: positiveDuration.optional(), idleTimeout: duration.optional() }).optional(),
    http: object({
      requestTimeout: duration.optional(),
      streamIdleTimeout: duration.optional(),
      connectionIdleTimeout: positiveDuration.optional(),
      maxConnectionDuration: positiveDuration.optional(),
      maxStreamDuration: notYet(),
    }).optional(),
  }).optional(),
  retry: retry.optional(),
  httpUpgrade: z
    .array(
      object({ type: z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z/-]{1,64}$/, { error: 'must be an Upgrade token' }) }),
    )
    .max(16)
    .optional(),
  tls: tls.optional(),
  healthCheck: healthCheck.optional(),
  faultInjection: faultInjection.optional(),
  hedge: hedge.optional(),
});

export const trafficPolicy: Kind<TrafficPolicy> = {
  apiVersion: 'weft.dev/v1',
  kind: 'TrafficPolicy',
  schema: object({ ...envelope, spec }),
};
