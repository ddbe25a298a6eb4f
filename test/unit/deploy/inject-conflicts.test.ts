import { describe, expect, test } from 'vitest';
import { injectPod } from '../../../deploy/inject/inject.ts';
import { injectText } from '../../../deploy/inject/manifests.ts';
import type { Container } from '../../../deploy/inject/pod.ts';
import { DEFAULTS, type InjectDefaults } from '../../../deploy/inject/settings.ts';
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
