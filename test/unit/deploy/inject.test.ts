import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { runInject } from '../../../deploy/inject/cli.ts';
import { ejectPod, injectPod } from '../../../deploy/inject/inject.ts';
import { ejectText, injectText } from '../../../deploy/inject/manifests.ts';
import type { Container, PodSpec, PodTemplate } from '../../../deploy/inject/pod.ts';
import { DEFAULTS, type InjectDefaults } from '../../../deploy/inject/settings.ts';
import { formatComplaint } from '../../../proxy/config/wording.ts';

const CLASSIC: InjectDefaults = { ...DEFAULTS, nativeSidecar: false };

function pod(spec: Partial<PodSpec> = {}, annotations: Record<string, string> = {}, labels = {}): PodTemplate {
  return { metadata: { annotations, labels }, spec: { containers: [{ name: 'app' }], ...spec } };
}

function injected(template: PodTemplate, defaults = DEFAULTS): PodTemplate {
  const result = injectPod(template, defaults);
  if (!result.ok || result.value.kind !== 'injected') throw new Error(JSON.stringify(result));
  return result.value.template;
}

function sidecarOf(template: PodTemplate): Container {
  const all = [...(template.spec.initContainers ?? []), ...template.spec.containers];
  return all.find(({ name }) => name === 'weft') as Container;
}

function variable(template: PodTemplate, name: string): string | undefined {
  return sidecarOf(template).env?.find((each) => each.name === name)?.value ?? undefined;
}

describe('who gets a sidecar', () => {
  test.each([
    ['weft.dev/inject', 'label'],
    ['sidecar.istio.io/inject', 'label'],
    ['weft.dev/inject', 'annotation'],
    ['sidecar.istio.io/inject', 'annotation'],
  ])('%s "false" as a %s leaves the pod alone, and says so', (name, place) => {
    const no = { [name]: 'false' };
    const result = injectPod(place === 'label' ? pod({}, {}, no) : pod({}, no), DEFAULTS);
    expect(result).toMatchObject({ ok: true, value: { kind: 'left alone', why: `${place} ${name}: "false"` } });
  });

  test('a label counts more than an annotation, and our name more than that of Istio', () => {
    const both = pod({}, { 'weft.dev/inject': 'false' }, { 'weft.dev/inject': 'true' });
    expect(injectPod(both, DEFAULTS)).toMatchObject({ value: { kind: 'injected' } });
    const istio = pod({}, {}, { 'weft.dev/inject': 'false', 'sidecar.istio.io/inject': 'true' });
    expect(injectPod(istio, DEFAULTS)).toMatchObject({ value: { kind: 'left alone' } });
  });

  test('a pod in the network of its node is left alone even if it asks', () => {
    expect(injectPod(pod({ hostNetwork: true }, {}, { 'weft.dev/inject': 'true' }), DEFAULTS)).toMatchObject({
      ok: true,
      value: { kind: 'left alone', why: 'hostNetwork: the node has no redirect of its own' },
    });
  });

  test.each([{ os: { name: 'windows' } }, { nodeSelector: { 'kubernetes.io/os': 'windows' } }])(
    'a pod for nodes with Windows is left alone even if it asks: %j',
    (spec) => {
      expect(injectPod(pod(spec, {}, { 'weft.dev/inject': 'true' }), DEFAULTS)).toMatchObject({
        ok: true,
        value: { kind: 'left alone', why: 'Windows: weft and its redirect need Linux' },
      });
      const linux = { os: { name: 'linux' }, nodeSelector: { 'kubernetes.io/os': 'linux' } };
      expect(injectPod(pod(linux), DEFAULTS)).toMatchObject({ value: { kind: 'injected' } });
    },
  );

  test.each([
    ['a name of ours', { containers: [{ name: 'weft' }] }, 'spec.containers[0].name: is "weft", which is weft\'s own'],
    [
      "weft's user",
      { containers: [{ name: 'app', securityContext: { runAsUser: 1337 } }] },
      "spec.containers[0]: has runAsUser 1337, weft's own: its traffic would pass by the mesh",
    ],
    [
      "weft's user for the whole pod",
      { securityContext: { runAsUser: 1337 } },
      "spec.containers[0]: has runAsUser 1337, weft's own: its traffic would pass by the mesh",
    ],
    [
      "weft's group",
      { containers: [{ name: 'app', securityContext: { runAsGroup: 1337 } }] },
      "spec.containers[0]: has runAsGroup 1337, weft's own: its traffic would pass by the mesh",
    ],
    [
      'a volume of ours',
      { volumes: [{ name: 'weft-token' }] },
      'spec.volumes[0].name: is "weft-token", which is weft\'s own',
    ],
  ])('a pod that has %s is refused', (_case, spec, problem) => {
    const refused = injectPod(pod(spec), DEFAULTS);
    expect(refused.ok ? [] : refused.error.map(formatComplaint)).toEqual([problem]);
  });

  test.each([
    ['weft.dev/cpu', 'much', 'is "much", but must be a quantity such as 100m or 128Mi'],
    ['sidecar.istio.io/proxyMemory', '1 GB', 'is "1 GB", but must be a quantity such as 100m or 128Mi'],
    ['weft.dev/native-sidecar', 'yes', 'is "yes", but must be "true" or "false"'],
    ['weft.dev/nativ-sidecar', 'true', 'unknown annotation (did you mean weft.dev/native-sidecar?)'],
    ['weft.dev/certificates', 'Secret!', 'is "Secret!", but must be the name of an object'],
  ])('annotation %s: "%s" is refused with what to write', (name, value, problem) => {
    const refused = injectPod(pod({}, { [name]: value }), DEFAULTS);
    expect(refused.ok ? [] : refused.error.map(formatComplaint)).toEqual([
      `metadata.annotations["${name}"]: ${problem}`,
    ]);
  });

  test('the annotations of weft init are left to it', () => {
    const template = pod({}, { 'weft.dev/excludeOutboundPorts': '25' });
    expect(injectPod(template, DEFAULTS)).toMatchObject({ value: { kind: 'injected' } });
  });
});

describe('what the sidecar is told', () => {
  test('its drain ends five seconds before the grace period of the pod', () => {
    expect(variable(injected(pod()), 'WEFT_DRAIN')).toBe('25');
    expect(variable(injected(pod({ terminationGracePeriodSeconds: 90 })), 'WEFT_DRAIN')).toBe('85');
    expect(variable(injected(pod({ terminationGracePeriodSeconds: 3 })), 'WEFT_DRAIN')).toBe('0');
  });

  test('a native one starts before the application and before its init containers, a classic one after those', () => {
    const spec = { initContainers: [{ name: 'first' }] };
    const native = injected(pod(spec)).spec;
    expect(native.initContainers?.map(({ name }) => name)).toEqual(['weft-init', 'weft', 'first']);
    expect(native.initContainers?.[1]).toMatchObject({
      restartPolicy: 'Always',
      startupProbe: { httpGet: { path: '/healthz/ready', port: 15_021 } },
      lifecycle: { preStop: { exec: { command: ['node', '/weft/weft.js', 'drain'] } } },
    });
    const classic = injected(pod(spec), CLASSIC).spec;
    expect(classic.initContainers?.map(({ name }) => name)).toEqual(['first', 'weft-init']);
    expect(classic.containers.map(({ name }) => name)).toEqual(['weft', 'app']);
    expect(classic.containers[0]?.lifecycle).toEqual({
      postStart: { exec: { command: ['node', '/weft/weft.js', 'wait'] } },
      preStop: { exec: { command: ['node', '/weft/weft.js', 'drain', '--wait', '25'] } },
    });
  });

  test.each(['Never', 'OnFailure'])(
    'only a classic one in a pod with restartPolicy %s ends with the application',
    (restartPolicy) => {
      const classic = injected(pod({ restartPolicy }), CLASSIC);
      expect([variable(classic, 'WEFT_EXIT_WITH_APP'), classic.spec.shareProcessNamespace]).toEqual(['on', true]);
      const native = injected(pod({ restartPolicy }));
      expect([variable(native, 'WEFT_EXIT_WITH_APP'), native.spec.shareProcessNamespace]).toEqual([
        undefined,
        undefined,
      ]);
      expect(variable(injected(pod({ restartPolicy: 'Always' }), CLASSIC), 'WEFT_EXIT_WITH_APP')).toBeUndefined();
    },
  );

  test('it runs without any right that it does not need', () => {
    expect(sidecarOf(injected(pod()))['securityContext']).toEqual({
      runAsUser: 1337,
      runAsGroup: 1337,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
  });

  test('its CA is trusted by the bundle in the annotation, or by the ConfigMap, or not needed at all', () => {
    const volumeOf = (template: PodTemplate): unknown =>
      template.spec.volumes?.find(({ name }) => name === 'weft-certs');
    const bundled = injected(pod(), { ...DEFAULTS, caBundle: 'PEM' });
    expect(bundled.metadata?.annotations?.['weft.dev/trust-bundle']).toBe('PEM');
    expect(JSON.stringify(volumeOf(bundled))).toContain("metadata.annotations['weft.dev/trust-bundle']");
    expect(volumeOf(injected(pod()))).toEqual({ name: 'weft-certs', configMap: { name: 'weft-ca-root' } });
    const secret = injected(pod({}, { 'weft.dev/certificates': 'own' }));
    expect(volumeOf(secret)).toEqual({ name: 'weft-certs', secret: { secretName: 'own' } });
    expect([variable(secret, 'WEFT_CA'), variable(secret, 'WEFT_CA_TOKEN')]).toEqual([undefined, undefined]);
  });

  test('where Prometheus found the application stands in a variable, and the scraper is sent to weft', () => {
    const template = injected(pod({}, { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '9464' }));
    expect(JSON.parse(variable(template, 'WEFT_APP_METRICS') ?? '')).toEqual({
      port: 9464,
      path: '/metrics',
      scheme: 'http',
    });
    expect(template.metadata?.annotations).toMatchObject({
      'prometheus.io/port': '15020',
      'prometheus.io/path': '/stats/prometheus',
    });
    expect(variable(injected(pod()), 'WEFT_APP_METRICS')).toBeUndefined();
  });
});

describe('undoing', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const probe = fc.oneof(
    fc.record({ httpGet: fc.record({ path: fc.webPath(), port: fc.integer({ min: 1, max: 65_535 }) }) }),
    fc.record({ tcpSocket: fc.record({ port: fc.constant('web') }), periodSeconds: fc.nat({ max: 9 }) }),
    fc.record({ exec: fc.record({ command: fc.array(fc.string()) }) }),
  );
  const container = fc.record(
    {
      name,
      livenessProbe: probe,
      readinessProbe: fc.oneof(probe, fc.constant(null)),
      lifecycle: fc.record({ preStop: probe }, { requiredKeys: [] }),
      ports: fc.constant([{ name: 'web', containerPort: 81 }]),
      text: fc.string(),
    },
    { requiredKeys: ['name'] },
  );
  const containers = fc.uniqueArray(container, { minLength: 1, maxLength: 3, selector: (each) => each.name });
  const texts = fc.dictionary(fc.constantFrom('a/b', 'prometheus.io/port', 'prometheus.io/scrape', 'x'), fc.string());
  const anyPod = fc.record(
    {
      metadata: fc.oneof(
        fc.record({ labels: texts, annotations: fc.oneof(texts, fc.constant(null)) }, { requiredKeys: [] }),
        fc.constant(null),
      ),
      spec: fc.record(
        {
          containers,
          initContainers: fc.oneof(fc.constant([]), fc.constant(null), fc.constant([{ name: 'z' }])),
          volumes: fc.oneof(fc.constant([]), fc.constant(null), fc.constant([{ name: 'v' }])),
          restartPolicy: fc.constantFrom('Always', 'Never'),
          shareProcessNamespace: fc.boolean(),
        },
        { requiredKeys: ['containers'] },
      ),
    },
    { requiredKeys: ['spec'] },
  );

  test('gives back any pod as it was', () => {
    fc.assert(
      fc.property(anyPod, fc.boolean(), (value, nativeSidecar) => {
        const defaults = { ...DEFAULTS, nativeSidecar };
        const template = value as PodTemplate;
        const once = injected(template, defaults);
        expect(ejectPod(once)).toEqual(template);
        expect(injected(once, defaults)).toEqual(once);
      }),
      { seed: 11, numRuns: 300 },
    );
  });

  test('gives back the text of any pod, byte for byte', () => {
    fc.assert(
      fc.property(anyPod, fc.boolean(), fc.constantFrom(0, 2, 4), (value, nativeSidecar, indent) => {
        const pod = { apiVersion: 'v1', kind: 'Pod', ...(value as PodTemplate) };
        const yaml = stringify(pod, { aliasDuplicateObjects: false, indent: indent === 0 ? 3 : indent });
        const text = indent === 0 ? JSON.stringify(pod, null, 2) : yaml;
        const edited = injectText('pod.yaml', text, { ...DEFAULTS, nativeSidecar });
        if (!edited.ok) throw new Error(JSON.stringify(edited.error));
        expect(ejectText('pod.yaml', edited.value.text)).toMatchObject({ value: { text } });
      }),
      { seed: 12, numRuns: 25 },
    );
  });
});

describe('files', () => {
  const text = 'apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec:\n  containers: [{ name: app }]\n';

  test.each([
    ['that is no YAML', 'a: b: c\n', /^x.yaml:1:\d+: .*mapping/i],
    ['without containers', 'kind: Pod\nspec: {}\n', /^x.yaml:2:7: spec.containers: is required$/],
    [
      'whose template is an alias',
      'a: &t { spec: { containers: [{ name: app }] } }\nkind: Deployment\nspec: { template: *t }\n',
      /^x.yaml:\d+:\d+: spec.template: is an alias, which stands for other places too$/,
    ],
    [
      'with a bad annotation',
      text.replace('name: p', 'name: p, annotations: { weft.dev/cpu: x }'),
      /^x.yaml:3:51: metadata.annotations\["weft.dev\/cpu"\]: is "x", but must be a quantity such as 100m or 128Mi$/,
    ],
    [
      'with an annotation that is no text',
      text.replace('name: p', 'name: p, annotations: { weft.dev/cpu: 2 }'),
      /^x.yaml:3:51: metadata.annotations\["weft.dev\/cpu"\]: must be text, not number 2 \(in quotes\)$/,
    ],
    [
      'with an annotation nobody knows in the template of a List',
      `kind: List\nitems:\n- kind: Deployment\n  spec:\n    template:\n      metadata:\n        annotations:\n          weft.dev/cpuu: "1"\n      spec: { containers: [{ name: a }] }\n`,
      /^x.yaml:8:11: items\[0\].spec.template.metadata.annotations\["weft.dev\/cpuu"\]: unknown annotation \(did you mean weft.dev\/cpu\?\)$/,
    ],
  ])('a file %s is refused with its place', (_case, bad, problem) => {
    const lines: string[] = [];
    const folder = mkdtempSync(join(tmpdir(), 'weft-inject-'));
    afterAll(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'x.yaml'), bad);
    const printed: string[] = [];
    const code = runInject(['-f', join(folder, 'x.yaml')], {
      readInput: () => '',
      out: (out) => printed.push(out),
      err: (line) => lines.push(line.replace(`${folder}/`, '')),
    });
    expect([code, printed]).toEqual([1, []]);
    expect(lines[0]).toMatch(problem);
  });

  test.each([
    ['with a last line break', 'kind: A\n', 'kind: B\n', 'kind: A\n---\nkind: B\n'],
    ['without one', 'kind: A', 'kind: B', 'kind: A\n---\nkind: B'],
    ['of which the second says itself where it begins', 'kind: A', '---\nkind: B\n', 'kind: A\n---\nkind: B\n'],
    ['of which the first is empty', '', 'kind: B\n', '---\nkind: B\n'],
  ])('files %s come out as documents of their own', (_case, first, second, joined) => {
    const inputs = [first, second];
    const printed: string[] = [];
    const streams = { readInput: () => inputs.shift() ?? '', out: (out: string) => printed.push(out), err: () => {} };
    expect(runInject(['-f', '-', '-f', '-'], streams)).toBe(0);
    expect(printed.join('')).toBe(joined);
  });

  test('what goes in by standard input comes out with a sidecar, and back', () => {
    const run = (input: string, ...args: string[]): { code: number; out: string; err: string[] } => {
      const out: string[] = [];
      const lines: string[] = [];
      const code = runInject(args, {
        readInput: () => input,
        out: (o) => out.push(o),
        err: (line) => lines.push(line),
      });
      return { code, out: out.join(''), err: lines };
    };
    const there = run(text, '-f', '-', '--image', 'mirror/weft:3');
    expect([there.code, there.err]).toEqual([0, ['weft inject: Pod p: injected']]);
    expect((parse(there.out) as PodTemplate).spec.initContainers?.[1]?.['image']).toBe('mirror/weft:3');
    expect(run(there.out, '-f', '-', '--uninject')).toMatchObject({ code: 0, out: text });
    expect(run(text, '-f', '-', '--ca', 'ftp://x').code).toBe(1);
    for (const wrong of [[], ['x.yaml'], ['-f', '-', '--nonsense']]) {
      expect(run(text, ...wrong)).toMatchObject({ code: 2, out: '' });
    }
  });
});
