/** `telemetry.istio.io/v1` Telemetry: how many requests are traced, and whether each is logged. */
import { z } from 'zod';
import { envelope, notYet, object } from './field.ts';
import type { Envelope, Kind } from './kind.ts';
import { type Selector, selector } from './peer-authentication.ts';

export interface Telemetry extends Envelope {
  readonly spec: {
    readonly selector?: Selector | undefined;
    readonly tracing: readonly {
      readonly randomSamplingPercentage?: number | undefined;
      readonly disableSpanReporting: boolean;
    }[];
    readonly accessLogging: readonly {
      readonly disabled: boolean;
      readonly providers: readonly { readonly name: 'json' | 'text' | 'envoy' }[];
    }[];
  };
}

/** Both directions are one setting here, so a match on one of them is refused. */
const match = object({ mode: z.literal('CLIENT_AND_SERVER').default('CLIENT_AND_SERVER') }).optional();

const tracing = object({
  match,
  // Where spans go is said by the OTEL_* variables; the name of a provider is only a name.
  providers: z
    .array(object({ name: z.string() }))
    .max(1)
    .default([]),
  randomSamplingPercentage: z.number().min(0).max(100).optional(),
  disableSpanReporting: z.boolean().default(false),
  customTags: notYet(),
  useRequestIdForTraceSampling: notYet(),
  enableIstioTags: notYet(),
});

const accessLogging = object({
  match,
  disabled: z.boolean().default(false),
  providers: z
    .array(object({ name: z.enum(['json', 'text', 'envoy']) }))
    .max(1)
    .default([]),
  filter: notYet(),
});

const spec = object({
  selector: selector.optional(),
  targetRefs: notYet(),
  tracing: z.array(tracing).max(1).default([]),
  accessLogging: z.array(accessLogging).max(1).default([]),
  metrics: notYet(),
});

export const telemetry: Kind<Telemetry> = {
  apiVersion: 'telemetry.istio.io/v1',
  kind: 'Telemetry',
  schema: object({ ...envelope, spec: spec.default({ tracing: [], accessLogging: [] }) }),
};
