/** TrafficPolicy `retry` (Envoy Gateway's names) and `hedge` (weft's own), HTTPRoute `retry` (Gateway API, GEP-1731). */
import { z } from 'zod';
import { parseDuration } from '../../../shared/units.ts';
import { RETRY_TRIGGERS, type RetryTrigger } from '../../upstream/retry-policy.ts';
import { complain, duration, notYet, object, positiveDuration } from './field.ts';

/** Times in milliseconds. */
export interface Retry {
  readonly numRetries?: number | undefined;
  readonly retryOn?:
    | {
        readonly triggers?: readonly RetryTrigger[] | undefined;
        readonly httpStatusCodes?: readonly number[] | undefined;
        readonly idempotencyKey?: boolean | undefined;
      }
    | undefined;
  readonly perRetry?:
    | {
        readonly timeout?: number | undefined;
        readonly backOff?:
          | { readonly baseInterval?: number | undefined; readonly maxInterval?: number | undefined }
          | undefined;
      }
    | undefined;
}

/** `delay` in milliseconds, 0 for p95. */
export interface Hedge {
  readonly delay: number;
  readonly grpc: boolean;
}

/** Of a rule of an HTTPRoute. */
export interface RouteRetry {
  readonly codes?: readonly number[] | undefined;
  readonly attempts?: number | undefined;
  /** Milliseconds. */
  readonly backoff?: number | undefined;
}

const attempts = z.int().min(0).max(10);
/** Statuses that say something went wrong; GEP-1731 allows no others. */
const errorStatus = z.int().min(400).max(599);

const backOff = object({
  baseInterval: positiveDuration.optional(),
  maxInterval: positiveDuration.optional(),
}).superRefine(({ baseInterval, maxInterval }, context) => {
  if (baseInterval !== undefined && maxInterval !== undefined && maxInterval < baseInterval)
    complain(context, 'must not be shorter than baseInterval', '', ['maxInterval']);
});

const STATUS_TRIGGER = 'retriable-status-codes';

const retryOn = object({
  triggers: z.array(z.enum(RETRY_TRIGGERS)).max(16).optional(),
  httpStatusCodes: z.array(errorStatus).max(32).optional(),
  // A request with an Idempotency-Key may be repeated whatever its method: the upstream has promised to recognise it.
  idempotencyKey: z.boolean().optional(),
}).superRefine(({ triggers, httpStatusCodes }, context) => {
  if (triggers?.includes(STATUS_TRIGGER) === true && httpStatusCodes === undefined)
    complain(context, `is required for ${STATUS_TRIGGER}`, '', ['httpStatusCodes']);
  if (httpStatusCodes !== undefined && triggers?.includes(STATUS_TRIGGER) === false)
    complain(context, `has no meaning without the trigger ${STATUS_TRIGGER}`, '', ['httpStatusCodes']);
});

export const retry: z.ZodType<Retry> = object({
  numRetries: attempts.optional(),
  numAttemptsPerPriority: notYet(),
  retryOn: retryOn.optional(),
  perRetry: object({ timeout: positiveDuration.optional(), backOff: backOff.optional() }).optional(),
});

const hedgeDelay = z
  .union([z.string(), z.number()], { error: 'must be a duration or p95' })
  .transform((value, context) => {
    if (value === 'p95') return 0;
    const ms = parseDuration(String(value));
    if (ms !== null && ms > 0) return ms;
    const problem = ms === null ? `is not a duration: "${value}"` : 'must be longer than 0s';
    complain(context, problem, 'e.g. 50ms, or p95 for what the slowest of twenty late answers took');
    return z.NEVER;
  });

export const hedge: z.ZodType<Hedge> = object({ delay: hedgeDelay, grpc: z.boolean().default(false) });

export const routeRetry: z.ZodType<RouteRetry> = object({
  codes: z.array(errorStatus).max(32).optional(),
  attempts: attempts.optional(),
  backoff: duration.optional(),
});
