/** TrafficPolicy `healthCheck`: outlier ejection (passive) and checks of our own (active), in Envoy Gateway's names. */
import { z } from 'zod';
import { complain, notYet, object, positiveDuration } from './field.ts';

type Count = number | undefined;

/** Times in milliseconds, shares in percent. */
export interface PassiveCheck {
  readonly consecutive5XxErrors?: Count;
  readonly consecutiveGatewayErrors?: Count;
  readonly consecutiveLocalOriginFailures?: Count;
  readonly interval?: Count;
  readonly baseEjectionTime?: Count;
  readonly maxEjectionTime?: Count;
  readonly maxEjectionPercent?: Count;
  readonly successRate?:
    | { readonly minimumHosts?: Count; readonly requestVolume?: Count; readonly deviations?: Count }
    | undefined;
}

export interface ActiveCheck {
  readonly type: 'HTTP' | 'TCP' | 'GRPC';
  readonly timeout: number;
  readonly interval: number;
  readonly unhealthyThreshold: number;
  readonly healthyThreshold: number;
  readonly http?:
    | {
        readonly path: string;
        readonly method: 'GET' | 'HEAD';
        readonly hostname?: string | undefined;
        readonly expectedStatuses: readonly number[];
      }
    | undefined;
  readonly grpc?: { readonly service?: string | undefined } | undefined;
}

export interface HealthCheck {
  readonly passive?: PassiveCheck | undefined;
  readonly active?: ActiveCheck | undefined;
  readonly panicThreshold?: Count;
}

const count = z
  .int()
  .min(0)
  .max(2 ** 30);
const percent = z.number().min(0).max(100);

const passive = object({
  consecutive5XxErrors: count.optional(),
  consecutiveGatewayErrors: count.optional(),
  consecutiveLocalOriginFailures: count.optional(),
  splitExternalLocalOriginErrors: notYet(),
  interval: positiveDuration.optional(),
  baseEjectionTime: positiveDuration.optional(),
  // weft's own, as is successRate: Envoy has both, its gateway neither.
  maxEjectionTime: positiveDuration.optional(),
  maxEjectionPercent: percent.optional(),
  failurePercentageThreshold: notYet(),
  successRate: object({
    minimumHosts: count.min(2).optional(),
    requestVolume: count.min(1).optional(),
    deviations: z.number().gt(0).max(100).optional(),
  }).optional(),
}).superRefine(({ baseEjectionTime, maxEjectionTime }, context) => {
  if (baseEjectionTime !== undefined && maxEjectionTime !== undefined && maxEjectionTime < baseEjectionTime)
    complain(context, 'must not be shorter than baseEjectionTime', '', ['maxEjectionTime']);
});

const path = z
  .string()
  .max(1024)
  .regex(/^\/[!-~]*$/, { error: 'must be a path that begins with "/"' });
const hostname = z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, { error: 'must be a host name' });

const active = object({
  type: z.enum(['HTTP', 'TCP', 'GRPC']),
  // Envoy Gateway's defaults.
  timeout: positiveDuration.prefault('1s'),
  interval: positiveDuration.prefault('3s'),
  unhealthyThreshold: count.min(1).default(3),
  healthyThreshold: count.min(1).default(1),
  initialJitter: notYet(),
  http: object({
    path,
    method: z.enum(['GET', 'HEAD']).default('GET'),
    hostname: hostname.optional(),
    expectedStatuses: z.array(z.int().min(100).max(599)).min(1).max(32).default([200]),
    expectedResponse: notYet(),
  }).optional(),
  tcp: notYet(),
  grpc: object({ service: z.string().max(1024).optional() }).optional(),
}).superRefine((check, context) => {
  if (check.type === 'HTTP' && check.http === undefined) complain(context, 'is required for type HTTP', '', ['http']);
  if (check.type !== 'HTTP' && check.http !== undefined)
    complain(context, `has no meaning for type ${check.type}`, '', ['http']);
  if (check.type !== 'GRPC' && check.grpc !== undefined)
    complain(context, `has no meaning for type ${check.type}`, '', ['grpc']);
});

export const healthCheck: z.ZodType<HealthCheck> = object({
  passive: passive.optional(),
  active: active.optional(),
  panicThreshold: percent.optional(),
});
