import { describe, expect, test } from 'vitest';
import { injectPod } from '../../../deploy/inject/inject.ts';
import type { PodTemplate } from '../../../deploy/inject/pod.ts';
import { DEFAULTS } from '../../../deploy/inject/settings.ts';
import { review } from '../../../deploy/injector/review.ts';
import { formatComplaint } from '../../../proxy/config/wording.ts';

function pod(annotations: Record<string, string>): PodTemplate {
  return { metadata: { annotations }, spec: { containers: [{ name: 'app' }] } };
}

function problemsOf(annotations: Record<string, string>): string[] {
  const result = injectPod(pod(annotations), DEFAULTS);
  return result.ok ? [] : result.error.map(formatComplaint);
}

describe('annotations without end', () => {
  test('of many that nobody knows the first ten are named, the others counted', () => {
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`weft.dev/polic${i}`, '']));
    const problems = problemsOf(many);
    expect(problems).toHaveLength(11);
    expect(problems[0]).toBe(
      'metadata.annotations["weft.dev/polic0"]: unknown annotation (did you mean weft.dev/policy?)',
    );
    expect(problems[10]).toBe('metadata.annotations: and 50 more');
    expect(problemsOf(Object.fromEntries(Object.entries(many).slice(0, 10)))).toHaveLength(10);
  });

  test('more of them than Kubernetes takes are refused, whatever they say', () => {
    const name = 'weft.dev/x';
    const most = 256 * 1024 - name.length;
    expect(problemsOf({ [name]: 'x'.repeat(most) })[0]).toContain('unknown annotation');
    expect(problemsOf({ [name]: 'x'.repeat(most + 1) })).toEqual([
      'metadata.annotations: are 262145 bytes, but Kubernetes takes at most 262144',
    ]);
    expect(problemsOf({ [name]: '\u00e9'.repeat(most / 2 + 1) })[0]).toContain('Kubernetes takes at most');
  });

  test('the webhook answers sixty thousand at once', () => {
    const annotations = Object.fromEntries(Array.from({ length: 60_000 }, (_, i) => [`weft.dev/polic${i}`, '']));
    const before = performance.now();
    expect(refusal({ metadata: { annotations }, spec: { containers: [{ name: 'app' }] } })).toContain('at most 262144');
    expect(performance.now() - before).toBeLessThan(2000);
  });

  test('what the webhook says of a pod with many mistakes is short', () => {
    const containers = Array.from({ length: 500 }, () => ({ name: 1 }));
    expect(refusal({ spec: { containers } }).split('; ')).toHaveLength(21);
    expect(refusal({ spec: { containers } })).toMatch(/; and 480 more$/);
  });
});

function refusal(object: object): string {
  const request = { uid: 'u', kind: { group: '', version: 'v1', kind: 'Pod' }, operation: 'CREATE', object };
  const reviewed = review(
    JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request }),
    DEFAULTS,
  );
  return reviewed.ok && reviewed.value.outcome === 'refused' ? reviewed.value.detail : '';
}
