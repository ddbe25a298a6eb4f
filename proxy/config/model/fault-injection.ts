/** TrafficPolicy `faultInjection`, in Envoy Gateway's names; `headers` is weft's own. */
import { z } from 'zod';
import { complain, object, positiveDuration } from './field.ts';
import { type Header, headerName } from './http-filter.ts';

export interface FaultInjection {
  /** Milliseconds; percent of requests. */
  readonly delay?: { readonly fixedDelay: number; readonly percentage: number } | undefined;
  readonly abort?:
    | {
        readonly httpStatus?: number | undefined;
        readonly grpcStatus?: number | undefined;
        readonly percentage: number;
      }
    | undefined;
  /** Only requests with all of these are hurt. */
  readonly headers: readonly Header[];
}

const percentage = z.number().min(0).max(100).default(100);

const abort = object({
  httpStatus: z.int().min(200).max(599).optional(),
  grpcStatus: z.int().min(0).max(16).optional(),
  percentage,
}).superRefine(({ httpStatus, grpcStatus }, context) => {
  if ((httpStatus === undefined) === (grpcStatus === undefined))
    complain(context, 'needs either httpStatus or grpcStatus', '');
});

export const faultInjection: z.ZodType<FaultInjection> = object({
  delay: object({ fixedDelay: positiveDuration, percentage }).optional(),
  abort: abort.optional(),
  headers: z
    .array(object({ name: headerName, value: z.string().max(4096) }))
    .max(16)
    .default([]),
}).superRefine(({ delay, abort: aborted }, context) => {
  if (delay === undefined && aborted === undefined) complain(context, 'needs a delay or an abort', '');
});
