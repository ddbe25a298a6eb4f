import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ejectPod, injectPod } from '../../../deploy/inject/inject.ts';
import { ejectText, injectText } from '../../../deploy/inject/manifests.ts';
import type { Container, PodSpec, PodTemplate } from '../../../deploy/inject/pod.ts';
import { DEFAULTS } from '../../../deploy/inject/settings.ts';
import { review } from '../../../deploy/injector/review.ts';

const CLASSIC = { ...DEFAULTS, nativeSidecar: false };

function injected(template: PodTemplate, defaults = DEFAULTS): PodTemplate {
  const result = injectPod(template, defaults);
  if (!result.ok || result.value.kind !== 'injected') throw new Error(JSON.stringify(result));
  return result.value.template;
}

function pod(spec: Partial<PodSpec> = {}, annotations: Record<string, string> = {}): PodTemplate {
  return { metadata: { annotations }, spec: { containers: [{ name: 'app' }], ...spec } };
}

/** The pod with another plug-in's changes in it. */
function changed(
  template: PodTemplate,
  change: (spec: Mutable, annotations: Record<string, string>) => void,
): PodTemplate {
  const copy = structuredClone(template);
  change(copy.spec as Mutable, copy.metadata?.annotations as Record<string, string>);
  return copy;
}

interface Mutable {
  containers: MutableContainer[];
  initContainers: MutableContainer[];
  volumes: { name: string; [other: string]: unknown }[];
  [other: string]: unknown;
}

interface MutableContainer {
  name: string;
  env?: { name: string; value?: string }[];
  [other: string]: unknown;
}

function named(template: PodTemplate, name: string): Container {
  const all = [...(template.spec.initContainers ?? []), ...template.spec.containers];
  return all.find((each) => each.name === name) as Container;
}

function variable(template: PodTemplate, name: string): string | undefined {
  return named(template, 'weft').env?.find((each) => each.name === name)?.value ?? undefined;
}

const web = {
  name: 'web',
  ports: [{ name: 'http', containerPort: 80 }],
  readinessProbe: { httpGet: { port: 'http' } },
};

describe('a pod that comes again to the injector', () => {
  test.each([
    ['native', DEFAULTS],
    ['classic', CLASSIC],
  ])('keeps what other plug-ins did to it in between (%s sidecar)', (_kind, defaults) => {
    const once = injected(pod({ containers: [web], initContainers: [{ name: 'first' }] }), defaults);
    const mutated = changed(once, (spec) => {
      for (const each of [...spec.containers, ...spec.initContainers]) {
        each['imagePullPolicy'] = 'Always';
        each['image'] = `mirror.example/${each['image'] as string}`;
        each['resources'] = { limits: { cpu: '1', memory: '1Gi' } };
        each['volumeMounts'] = [
          ...((each['volumeMounts'] as object[] | undefined) ?? []),
          { name: 'kube-api-access', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true },
        ];
        each.env = [{ name: 'REGION', value: 'north' }, ...(each.env ?? [])];
      }
      spec.volumes.unshift({ name: 'kube-api-access', projected: {} });
      spec.initContainers.reverse();
      spec.containers.reverse();
      spec['priority'] = 7;
    });
    expect(injected(mutated, defaults)).toEqual(mutated);
  });

  test('keeps whatever was added to any of its containers, volumes and lists, and gives it back without weft', () => {
    const extra = fc.dictionary(fc.constantFrom('x', 'y'), fc.nat());
    fc.assert(
      fc.property(fc.boolean(), fc.array(extra, { minLength: 9, maxLength: 9 }), fc.nat(), (native, extras, seed) => {
        const defaults = { ...DEFAULTS, nativeSidecar: native };
        const original = pod({ containers: [web, { name: 'log' }], restartPolicy: 'Never', volumes: [{ name: 'v' }] });
        const mutated = changed(injected(original, defaults), (spec) => {
          const items = [...spec.containers, ...spec.initContainers, ...spec.volumes];
          for (const [i, item] of items.entries()) Object.assign(item, extras[i % extras.length]);
          for (const list of [spec.containers, spec.initContainers, spec.volumes])
            list.push(...list.splice(0, seed % list.length));
        });
        expect(injected(mutated, defaults)).toEqual(mutated);
        const bare = ejectPod(mutated);
        const theirs = (list: readonly { name: string }[]): object[] =>
          list.filter(({ name }) => !name.startsWith('weft'));
        expect(bare.spec.volumes).toEqual(theirs(mutated.spec.volumes ?? []));
        expect(bare.spec.containers.map(({ name }) => name)).toEqual(
          theirs(mutated.spec.containers).map((each) => (each as Container).name),
        );
        expect(named(bare, 'web').readinessProbe).toEqual(web.readinessProbe);
      }),
      { seed: 7, numRuns: 100 },
    );
  });

  test('gets for a container that came in between what it gets at first, and the sidecar hears of it', () => {
    const once = injected(pod({ containers: [web] }));
    const more = changed(once, (spec) => {
      for (const each of spec.initContainers) each['imagePullPolicy'] = 'Always';
      spec.containers.push({ name: 'late', livenessProbe: { tcpSocket: { port: 81 } } });
      spec['terminationGracePeriodSeconds'] = 60;
    });
    const again = injected(more);
    expect(named(again, 'late').livenessProbe).toEqual({
      httpGet: { path: '/app-health/late/livez', port: 15_021, scheme: 'HTTP' },
    });
    expect(Object.keys(JSON.parse(variable(again, 'WEFT_APP_PROBES') ?? '') as object)).toEqual([
      '/app-health/late/livez',
      '/app-health/web/readyz',
    ]);
    expect(variable(again, 'WEFT_DRAIN')).toBe('55');
    expect(again.spec.initContainers?.map((each) => each['imagePullPolicy'])).toEqual(['Always', 'Always']);
    expect(injected(again)).toEqual(again);
    const bare = changed(ejectPod(again), () => {});
    expect(bare.spec.containers.map(({ livenessProbe }) => livenessProbe)).toEqual([
      undefined,
      { tcpSocket: { port: 81 } },
    ]);
  });

  test('a classic sidecar waits as long as the grace period that came in between says', () => {
    const later = changed(injected(pod(), CLASSIC), (spec) => {
      (spec.containers[0] as MutableContainer)['image'] = 'mirror.example/weft:dev';
      spec['terminationGracePeriodSeconds'] = 60;
    });
    const sidecar = named(injected(later, CLASSIC), 'weft');
    expect(sidecar.lifecycle?.preStop).toMatchObject({
      exec: { command: ['node', '/weft/weft.js', 'drain', '--wait', '55'] },
    });
    expect(sidecar['image']).toBe('mirror.example/weft:dev');
  });

  test('gets back what of weft was taken away, and nothing else is made anew', () => {
    const once = injected(pod());
    const less = changed(once, (spec) => {
      spec.volumes = spec.volumes.filter(({ name }) => name !== 'weft-token');
      spec.initContainers = spec.initContainers.filter(({ name }) => name !== 'weft-init');
      (spec.initContainers[0] as MutableContainer)['image'] = 'mirror.example/weft:dev';
    });
    const again = injected(less);
    expect(again.spec.initContainers?.map((each) => [each.name, each['image']])).toEqual([
      ['weft-init', 'weft-init:dev'],
      ['weft', 'mirror.example/weft:dev'],
    ]);
    expect(again.spec.volumes?.map(({ name }) => name).sort()).toEqual(
      once.spec.volumes?.map(({ name }) => name).sort(),
    );
  });

  test('takes a probe of the application as others changed it, here and without weft', () => {
    const slower = changed(injected(pod({ containers: [web] })), (spec) => {
      Object.assign(spec.containers[0]?.['readinessProbe'] as object, { timeoutSeconds: 9 });
    });
    const again = injected(slower);
    expect(again.spec.containers).toEqual(slower.spec.containers);
    expect(variable(again, 'WEFT_APP_PROBES')).toContain('"timeoutSeconds":9');
    expect(named(ejectPod(again), 'web').readinessProbe).toEqual({ httpGet: { port: 'http' }, timeoutSeconds: 9 });
  });

  test("takes the application's port for Prometheus that came in between", () => {
    const once = injected(pod({}, { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '9464' }));
    const moved = changed(once, (_spec, annotations) => {
      annotations['prometheus.io/port'] = '9500';
    });
    const again = injected(moved);
    expect(variable(again, 'WEFT_APP_METRICS')).toContain('"port":9500');
    expect(again.metadata?.annotations?.['prometheus.io/port']).toBe('15020');
    expect(ejectPod(again).metadata?.annotations?.['prometheus.io/port']).toBe('9500');
    const off = changed(once, (_spec, annotations) => {
      annotations['prometheus.io/scrape'] = 'false';
    });
    expect(variable(injected(off), 'WEFT_APP_METRICS')).toBeUndefined();
    expect(injected(off).metadata?.annotations).toMatchObject({
      'prometheus.io/scrape': 'false',
      'prometheus.io/port': '9464',
    });
  });

  test.each([
    ['other settings of the injector', { ...DEFAULTS, image: 'weft:2' }, {}],
    ['another kind of sidecar', CLASSIC, {}],
    ['annotations that came in between', DEFAULTS, { 'weft.dev/cpu': '1' }],
  ])('is made anew for %s', (_what, defaults, annotations) => {
    const original = pod({ containers: [web] });
    const mutated = changed(injected(original), (spec, texts) => {
      for (const each of spec.initContainers) each['image'] = 'mirror.example/weft:old';
      Object.assign(texts, annotations);
    });
    const wanted = { ...original, metadata: { annotations } };
    expect(injected(mutated, defaults)).toEqual(injected(wanted, defaults));
  });
});

test.each([
  ['hostNetwork', { hostNetwork: true }, 'hostNetwork: the node has no redirect of its own'],
  ['another mesh', { containers: [web, { name: 'istio-proxy' }] }, 'container istio-proxy: it is in a mesh already'],
])('a pod that got %s in between loses what weft put there, with a word', (_what, spec, why) => {
  const original = pod({ containers: [web] });
  const object = { ...injected(original), spec: { ...injected(original).spec, ...spec } };
  const wanted = { ...original, spec: { ...original.spec, ...spec } };
  expect(injectPod(object, DEFAULTS)).toEqual({ ok: true, value: { kind: 'left alone', template: wanted, why } });
  const request = { uid: 'u', kind: { group: '', version: 'v1', kind: 'Pod' }, operation: 'CREATE', object };
  const body = JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request });
  const reviewed = review(body, DEFAULTS);
  if (!reviewed.ok) throw new Error(reviewed.error);
  expect(reviewed.value).toMatchObject({ outcome: 'left alone', detail: why });
  const { patch } = (reviewed.value.answer as { response: { patch: string } }).response;
  const paths = (JSON.parse(Buffer.from(patch, 'base64').toString()) as { path: string }[]).map(({ path }) => path);
  expect(paths).toEqual(expect.arrayContaining(['/spec/initContainers', '/spec/volumes']));
});

describe('a file that was injected and edited', () => {
  const text = `kind: Pod
metadata: { name: p }
spec:
  containers:
    - name: web
      livenessProbe:
        tcpSocket: { port: 80 }   # cheap
        periodSeconds: 3
`;

  function textOf(result: ReturnType<typeof injectText>): string {
    if (!result.ok) throw new Error(JSON.stringify(result.error));
    return result.value.text;
  }

  test('is made anew whatever weft made it', () => {
    const other = textOf(injectText('f', text, { ...DEFAULTS, image: 'weft:0.0.1' }));
    const once = textOf(injectText('f', text, DEFAULTS));
    expect(textOf(injectText('f', other, DEFAULTS))).toBe(once);
    const edited = once.replace('image: weft:dev', 'image: mirror.example/weft:dev');
    expect(textOf(injectText('f', edited, DEFAULTS))).toBe(once);
  });

  test("keeps what was edited in the application's probe", () => {
    const edited = textOf(injectText('f', text, DEFAULTS)).replace(/^( +)periodSeconds: 3$/m, '$1periodSeconds: 30');
    const again = textOf(injectText('f', edited, DEFAULTS));
    expect(again).toContain('periodSeconds: 30');
    const back = textOf(ejectText('f', again));
    expect(back).toContain('periodSeconds: 30');
    expect(back).not.toMatch(/periodSeconds: 3$/m);
    expect(back).toMatch(/tcpSocket:\s+port: 80/);
  });
});
