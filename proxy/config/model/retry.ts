/** TrafficPolicy `retry` (Envoy Gateway's names) and HTTPRoute `retry` (Gateway API, GEP-1731). */
import { z } from 'zod';
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

export const routeRetry: z.ZodType<RouteRetry> = object({
  codes: z.array(errorStatus).max(32).optional(),
  attempts: attempts.optional(),
  backoff: duration.optional(),
});
