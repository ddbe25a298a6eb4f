/**
 * Which requests are traced. The OpenTelemetry environment variables decide first, then the Telemetry documents, then
 * the default; the decision falls once per trace and travels in the `sampled` flag.
 */

/** Crosses to the data threads with their settings. */
export interface TracingSettings {
  /** Percent where `OTEL_TRACES_SAMPLER` says so; null leaves it to Telemetry, then to `DEFAULT_SAMPLING_PERCENT`. */
  readonly samplingPercent: number | null;
  /** Follow the caller's sampled flag where there is one. */
  readonly parentBased: boolean;
}

/** Istio's default: enough to see a busy service, cheap enough to leave on. */
const DEFAULT_SAMPLING_PERCENT = 1;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What the environment says of tracing; null where it is off. On when an OTLP endpoint is set or `OTEL_TRACES_EXPORTER`
 * names an exporter (OpenTelemetry, "Environment Variable Specification").
 */
export function tracingSettings(env: Environment): TracingSettings | null {
  if (!tracingEnabled(env)) return null;
  const sampler = setting(env, 'OTEL_TRACES_SAMPLER').toLowerCase();
  const parentBased = sampler.startsWith('parentbased_');
  switch (parentBased ? sampler.slice('parentbased_'.length) : sampler) {
    case 'always_on':
      return { samplingPercent: 100, parentBased };
    case 'always_off':
      return { samplingPercent: 0, parentBased };
    case 'traceidratio':
      return { samplingPercent: 100 * ratio(setting(env, 'OTEL_TRACES_SAMPLER_ARG')), parentBased };
    default:
      return { samplingPercent: null, parentBased: true };
  }
}

function tracingEnabled(env: Environment): boolean {
  if (setting(env, 'OTEL_SDK_DISABLED').toLowerCase() === 'true') return false;
  const exporter = setting(env, 'OTEL_TRACES_EXPORTER');
  if (exporter !== '') return exporter !== 'none';
  return (
    setting(env, 'OTEL_EXPORTER_OTLP_ENDPOINT') !== '' || setting(env, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') !== ''
  );
}

/** An empty variable counts as unset. */
function setting(env: Environment, name: string): string {
  return env[name]?.trim() ?? '';
}

/** From 0 to 1; anything else is 1, as the specification has it for a missing or bad argument. */
function ratio(text: string): number {
  const value = text === '' ? Number.NaN : Number(text);
  return value >= 0 && value <= 1 ? value : 1;
}

/** Trace IDs are compared by their last 13 hexadecimal digits, which every W3C generator fills at random. */
const COMPARED_FROM = 19;
const COMPARED = 13;
const TRACE_SPACE = 2 ** 52;

export class Sampler {
  private readonly percent: number;
  /** The first trace that is not sampled, as character codes of 13 digits. */
  private readonly threshold: Uint8Array;
  private readonly parentBased: boolean;

  constructor(percent: number, parentBased: boolean) {
    this.percent = Math.min(Math.max(percent, 0), 100);
    const threshold = Math.floor((this.percent / 100) * TRACE_SPACE);
    this.threshold = new TextEncoder().encode(threshold.toString(16).padStart(COMPARED, '0'));
    this.parentBased = parentBased;
  }

  /** `parent`: the caller's decision, null if it made none. Equal trace IDs are judged equally by every sidecar. */
  samples(parent: boolean | null, traceId: string): boolean {
    if (parent !== null && this.parentBased) return parent;
    if (this.percent === 100) return true;
    // Digit by digit, as their codes are in the order of their values: parsing costs 0.3 µs, and the first mostly tells.
    for (let i = 0; i < COMPARED; i++) {
      const difference = traceId.charCodeAt(COMPARED_FROM + i) - (this.threshold[i] as number);
      if (difference !== 0) return difference < 0;
    }
    return false;
  }
}

/** The sampler in force: `telemetryPercent` is what the Telemetry documents say, null if nothing. */
export function samplerOf(settings: TracingSettings, telemetryPercent: number | null): Sampler {
  const percent = settings.samplingPercent ?? telemetryPercent ?? DEFAULT_SAMPLING_PERCENT;
  return new Sampler(percent, settings.parentBased);
}
