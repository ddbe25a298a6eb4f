import { describe, expect, test } from 'vitest';
import { injectPod } from '../../../deploy/inject/inject.ts';
import { injectText } from '../../../deploy/inject/manifests.ts';
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
    const before = process.threadCpuUsage();
    expect(refusal({ metadata: { annotations }, spec: { containers: [{ name: 'app' }] } })).toContain('at most 262144');
    // Microseconds of this thread alone: others share the machine with the test.
    const { user, system } = process.threadCpuUsage(before);
    expect(user + system).toBeLessThan(2_000_000);
  });

  test.each([
    ['that are none', { name: 1 }],
    ["at weft's own port", { name: 'app', ports: [{ containerPort: 15_021 }] }],
    ["with weft's own user", { name: 'app', securityContext: { runAsUser: 1337 } }],
  ])('of many containers %s the first twenty are named, the others counted', (_what, container) => {
    const spec = { containers: Array.from({ length: 500 }, () => container) };
    expect(refusal({ spec }).split('; ')).toHaveLength(21);
    expect(refusal({ spec })).toMatch(/; spec.containers: and 480 more$/);
    const file = injectText('f', JSON.stringify({ kind: 'Pod', spec }), DEFAULTS);
    expect(file.ok ? [] : file.error).toHaveLength(21);
    expect(file.ok ? [] : file.error.at(-1)).toMatchObject({ path: 'spec.containers', message: 'and 480 more' });
    expect(refusal({ spec: { containers: spec.containers.slice(0, 20) } }).split('; ')).toHaveLength(20);
  });
});

test("the image that Istio's annotation names is Envoy's, and not the sidecar's", () => {
  const result = injectPod(pod({ 'sidecar.istio.io/proxyImage': 'istio/proxyv2:1.30' }), DEFAULTS);
  if (!result.ok || result.value.kind !== 'injected') throw new Error(JSON.stringify(result));
  expect(result.value.template.spec.initContainers?.map((each) => each['image'])).toEqual([
    DEFAULTS.initImage,
    DEFAULTS.image,
  ]);
});

describe('annotations of the redirect', () => {
  test.each([
    ['traffic.sidecar.istio.io/excludeInboundPorts', '80-90', 'holds "80-90", which is no port number'],
    [
      'weft.dev/includeOutboundIPRanges',
      '10.0.0.0/33',
      'holds "10.0.0.0/33", which is no address block, e.g. 10.0.0.0/8',
    ],
    ['weft.dev/excludeInterfaces', 'eth 0', 'holds "eth 0", which is no network interface name'],
    ['traffic.sidecar.istio.io/excludeInboundPort', '80', 'is not supported (did you mean excludeInboundPorts?)'],
  ])('%s: "%s", at which weft init would fail in every start of the pod, is refused', (name, value, problem) => {
    expect(problemsOf({ [name]: value })).toEqual([`metadata.annotations["${name}"]: ${problem}`]);
  });

  test('one that weft init has no equal of is refused with those it has', () => {
    expect(problemsOf({ 'traffic.sidecar.istio.io/kubevirt': '' })[0]).toMatch(
      /: is not supported \(one of includeOutboundIPRanges, .*excludeInterfaces\)$/,
    );
  });

  test('what weft init takes passes, and so does what it does not read', () => {
    const good = { includeInboundPorts: '*', excludeOutboundPorts: '25, 26', includeOutboundIPRanges: '' };
    for (const [name, value] of Object.entries(good)) expect(problemsOf({ [`weft.dev/${name}`]: value })).toEqual([]);
    const both = { 'weft.dev/excludeInboundPorts': '80', 'traffic.sidecar.istio.io/excludeInboundPorts': 'x' };
    expect(problemsOf(both)).toEqual([]);
  });
});

describe('requests and limits', () => {
  test.each([
    ['nothing', {}, { cpu: '50m', memory: '128Mi' }, { memory: '512Mi' }],
    ['a request above the usual limit', { 'weft.dev/memory': '1Gi' }, { memory: '1Gi' }, { memory: '1Gi' }],
    ['the same as Istio says it', { 'sidecar.istio.io/proxyMemory': '1Gi' }, { memory: '1Gi' }, { memory: '1Gi' }],
    ['one in another unit', { 'weft.dev/memory': '600M' }, { memory: '600M' }, { memory: '600M' }],
    ['a request below the usual limit', { 'weft.dev/memory': '512000k' }, { memory: '512000k' }, { memory: '512Mi' }],
    ['a limit below the usual request', { 'weft.dev/memory-limit': '64Mi' }, { memory: '64Mi' }, { memory: '64Mi' }],
    ['a CPU request, which has no usual limit', { 'weft.dev/cpu': '3' }, { cpu: '3' }, { memory: '512Mi' }],
    ['a CPU limit below the usual request', { 'weft.dev/cpu-limit': '0.02' }, { cpu: '0.02' }, { cpu: '0.02' }],
    [
      'both alike in different units',
      { 'weft.dev/cpu': '0.035', 'weft.dev/cpu-limit': '35m' },
      { cpu: '0.035' },
      { cpu: '35m' },
    ],
  ])('%s gives what the API server takes', (_case, annotations, requests, limits) => {
    const result = injectPod(pod(annotations), DEFAULTS);
    if (!result.ok || result.value.kind !== 'injected') throw new Error(JSON.stringify(result));
    for (const container of result.value.template.spec.initContainers ?? []) {
      expect(container['resources']).toMatchObject({ requests, limits });
    }
  });

  test.each([
    [
      { 'weft.dev/memory': '1Gi', 'sidecar.istio.io/proxyMemoryLimit': '1G' },
      'metadata.annotations["sidecar.istio.io/proxyMemoryLimit"]: is "1G", but the request is "1Gi", which is more',
    ],
    [
      { 'weft.dev/cpu': '1', 'weft.dev/cpu-limit': '999m' },
      'metadata.annotations["weft.dev/cpu-limit"]: is "999m", but the request is "1", which is more',
    ],
    [
      { 'weft.dev/cpu': '1', 'weft.dev/cpu-limit': 'x' },
      'metadata.annotations["weft.dev/cpu-limit"]: is "x", but must be a quantity such as 100m or 128Mi',
    ],
  ])('a limit below what is asked for is refused: %j', (annotations, problem) => {
    expect(problemsOf(annotations)).toEqual([problem]);
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
