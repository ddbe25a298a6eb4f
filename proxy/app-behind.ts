/** What injection left with weft to do for the application: kubelet's probes, and its metrics beside weft's own. */
import type { AdminSources, AppQuestion } from './admin/routes.ts';
import { type AppMetrics, readAppMetrics, withAppMetrics } from './app-metrics.ts';
import { callApp, readAppProbes } from './app-probes.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type MetricsSources = Pick<AdminSources, 'metricsText' | 'quit' | 'onError'>;

export class AppBehind {
  readonly questions: readonly AppQuestion[];
  private readonly metrics: AppMetrics | null;
  private readonly address: string;
  private readonly onProblem: (reason: string) => void;

  /** From `WEFT_APP_PROBES`, `WEFT_APP_METRICS` and `WEFT_POD_IP`; throws where they cannot be read. */
  constructor(env: Environment, onProblem: (reason: string) => void) {
    const probes = readAppProbes(env['WEFT_APP_PROBES']);
    if (!probes.ok) throw new Error(probes.error);
    const metrics = readAppMetrics(env['WEFT_APP_METRICS']);
    if (!metrics.ok) throw new Error(metrics.error);
    const address = env['WEFT_POD_IP'] ?? '';
    this.address = address === '' ? '127.0.0.1' : address;
    this.metrics = metrics.value;
    this.onProblem = onProblem;
    this.questions = probes.value.map((call) => ({ path: call.path, ask: () => callApp(call, this.address) }));
  }

  /** The same sources, with the application's metrics in their text. */
  metricsBeside(sources: MetricsSources): MetricsSources {
    const { metrics } = this;
    if (metrics === null) return sources;
    return {
      metricsText: () => withAppMetrics(sources.metricsText(), metrics, this.address, this.onProblem),
      quit: () => sources.quit(),
      onError: (error) => sources.onError(error),
    };
  }
}
