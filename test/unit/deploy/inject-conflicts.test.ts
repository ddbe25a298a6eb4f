import { describe, expect, test } from 'vitest';
import { injectPod } from '../../../deploy/inject/inject.ts';
import { injectText } from '../../../deploy/inject/manifests.ts';
import type { Container } from '../../../deploy/inject/pod.ts';
import { DEFAULTS, type InjectDefaults } from '../../../deploy/inject/settings.ts';
import { review } from '../../../deploy/injector/review.ts';
import { formatComplaint } from '../../../proxy/config/wording.ts';
import { formatProblem } from '../../../shared/problem.ts';

function problemsOf(containers: Container[], initContainers: Container[] = [], defaults = DEFAULTS): string[] {
  const result = injectPod({ spec: { containers, initContainers } }, defaults);
  return result.ok ? [] : result.error.map(formatComplaint);
}

function listening(containerPort: number, protocol?: string | null): Container {
  return {
    name: 'app',
    ports: [{ containerPort: 8080 }, { containerPort, ...(protocol === undefined ? {} : { protocol }) }],
  };
}

describe('a port for Prometheus at which the application cannot be asked', () => {
  const injectedWith = (annotations: Record<string, string>): { notes: readonly string[]; text: string } => {
    const ports = [{ name: 'metrics', containerPort: 9464 }];
    const spec = { containers: [{ name: 'app', ports }] };
    const result = injectPod({ metadata: { annotations }, spec }, DEFAULTS);
    if (!result.ok || result.value.kind !== 'injected') throw new Error(JSON.stringify(result));
    return { notes: result.value.notes, text: JSON.stringify(result.value.template) };
  };
  const lost = "so the application's metrics are not served";

  test.each([
    ['metrics', `prometheus.io/port "metrics" is no port number, ${lost}: write 9464`],
    ['metric', `prometheus.io/port "metric" is no port number, ${lost}: write the number of its port`],
    ['', `prometheus.io/port "" is no port number, ${lost}: write the number of its port`],
    ['0', `prometheus.io/port "0" is no port number, ${lost}: write the number of its port`],
    ['70000', `prometheus.io/port "70000" is no port number, ${lost}: write the number of its port`],
    ['0x50', `prometheus.io/port "0x50" is no port number, ${lost}: write the number of its port`],
    ['15020', `prometheus.io/port "15020" is weft's own, ${lost}: write the number of its port`],
  ])('is said: %j', (port, note) => {
    const { notes, text } = injectedWith({ 'prometheus.io/scrape': 'true', 'prometheus.io/port': port });
    expect(notes).toEqual([note]);
    expect(text).not.toContain('WEFT_APP_METRICS');
  });

  test.each<[string, Record<string, string>]>([
    ['a number', { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '9464' }],
    ['none', { 'prometheus.io/scrape': 'true' }],
    ['one that nobody scrapes', { 'prometheus.io/scrape': 'false', 'prometheus.io/port': 'x' }],
    ['one without a wish to be scraped', { 'prometheus.io/port': 'x' }],
    [
      'one that stays as it is',
      { 'prometheus.io/scrape': 'true', 'prometheus.io/port': 'x', 'weft.dev/merge-metrics': 'false' },
    ],
  ])('is not %s', (_what, annotations) => {
    expect(injectedWith(annotations).notes).toEqual([]);
  });

  test('is a warning that kubectl shows', () => {
    const metadata = { annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': 'x' } };
    const object = { metadata, spec: { containers: [{ name: 'app' }] } };
    const request = { uid: 'u', kind: { group: '', version: 'v1', kind: 'Pod' }, operation: 'CREATE', object };
    const body = JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request });
    expect(review(body, DEFAULTS)).toMatchObject({
      value: {
        answer: {
          response: {
            allowed: true,
            warnings: [`weft: prometheus.io/port "x" is no port number, ${lost}: write the number of its port`],
          },
        },
      },
    });
  });
});

describe('a container at a port of weft', () => {
  test.each([
    [15_000, 'admin server'],
    [15_001, 'outbound listener'],
    [15_006, 'inbound listener'],
    [15_020, 'metrics server'],
    [15_021, 'readiness server'],
  ])('%d is refused with what to do', (port, listener) => {
    const problem = `ports[1].containerPort: is ${port}, where weft's ${listener} listens: one of them would not start (let the application listen at another port)`;
    for (const protocol of [undefined, null, 'TCP']) {
      expect(problemsOf([listening(port, protocol)])).toEqual([`spec.containers[0].${problem}`]);
    }
    const classic: InjectDefaults = { ...DEFAULTS, nativeSidecar: false };
    expect(problemsOf([{ name: 'app' }], [{ ...listening(port), name: 'first' }], classic)).toEqual([
      `spec.initContainers[0].${problem}`,
    ]);
  });

  test('is pointed at in its file', () => {
    const text = 'kind: Pod\nspec:\n  containers:\n    - name: a\n      ports:\n        - containerPort: 15021\n';
    const result = injectText('pod.yaml', text, DEFAULTS);
    expect(result.ok ? [] : result.error.map(formatProblem)).toEqual([
      expect.stringMatching(/^pod.yaml:6:26: spec.containers\[0\].ports\[0\].containerPort: is 15021/),
    ]);
  });

  test.each([
    [15_001, 'UDP'],
    [15_021, 'SCTP'],
    [15_090, 'TCP'],
    [15_012, 'TCP'],
    [8080, undefined],
  ])('is none that weft does not listen at: %d %s', (port, protocol) => {
    expect(problemsOf([listening(port, protocol)])).toEqual([]);
  });

  test('is none of a pod that is injected again', () => {
    const once = injectPod({ spec: { containers: [{ name: 'app' }] } }, DEFAULTS);
    if (!once.ok || once.value.kind !== 'injected') throw new Error(JSON.stringify(once));
    expect(injectPod(once.value.template, DEFAULTS)).toEqual(once);
  });
});
