/** Telemetry by Istio's rules: what a narrower document leaves out, the wider one says. */
import type { Telemetry } from '../model/telemetry.ts';
import type { TelemetrySpec } from '../snapshot.ts';
import type { Catalog, Entry } from './catalog.ts';
import { hasLabels, selects } from './peer-modes.ts';

export function compileTelemetry(catalog: Catalog): TelemetrySpec {
  const scopes = inForce(catalog);
  return {
    samplingPercent: firstKnown(scopes.map(sampling)),
    accessLog: firstKnown(scopes.map(accessLog)),
  };
}

/** The document of the workload, of the namespace and of the mesh, as far as there are; of two alike the first by name. */
function inForce({ telemetries, self, mesh }: Catalog): Telemetry[] {
  const own = telemetries.filter(({ namespace }) => namespace === self.namespace);
  const scopes: (Entry<Telemetry> | undefined)[] = [
    own.find(({ value: { spec } }) => hasLabels(spec.selector) && selects(spec.selector, self.labels)),
    own.find(({ value: { spec } }) => !hasLabels(spec.selector)),
    telemetries.find(({ namespace, value: { spec } }) => namespace === mesh.rootNamespace && !hasLabels(spec.selector)),
  ];
  return scopes.filter((entry) => entry !== undefined).map(({ value }) => value);
}

function sampling({ spec }: Telemetry): number | null {
  const tracing = spec.tracing[0];
  if (tracing === undefined) return null;
  return tracing.disableSpanReporting ? 0 : (tracing.randomSamplingPercentage ?? null);
}

function accessLog({ spec }: Telemetry): 'json' | 'text' | 'off' | null {
  const logging = spec.accessLogging[0];
  if (logging === undefined) return null;
  if (logging.disabled) return 'off';
  // `envoy` is Istio's built-in provider, which writes lines of text.
  const provider = logging.providers[0]?.name ?? 'json';
  return provider === 'json' ? 'json' : 'text';
}

function firstKnown<T>(values: readonly (T | null)[]): T | null {
  return values.find((value) => value !== null) ?? null;
}
