import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { ejectPod, injectPod } from '../../../deploy/inject/inject.ts';
import { ejectText, injectText } from '../../../deploy/inject/manifests.ts';
import { type PodTemplate, readPod } from '../../../deploy/inject/pod.ts';
import { DEFAULTS, type InjectDefaults } from '../../../deploy/inject/settings.ts';
import { formatProblem } from '../../../shared/problem.ts';

const CLASSIC: InjectDefaults = { ...DEFAULTS, nativeSidecar: false };

function textOf(result: ReturnType<typeof injectText>): string {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value.text;
}

function notesOf(text: string): readonly string[] {
  const result = injectText('f', text, DEFAULTS);
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value.notes;
}

describe('null is a field that is not there', () => {
  const container = { name: 'app', livenessProbe: { tcpSocket: { port: 80 } } };
  test.each<[string, object]>([
    ['of the metadata', { metadata: null }],
    ['name', { metadata: { name: null } }],
    ['namespace', { metadata: { namespace: null, generateName: null } }],
    ['labels and annotations', { metadata: { labels: null, annotations: null } }],
    ['one of them', { metadata: { labels: { a: null }, annotations: { b: null, 'prometheus.io/path': null } } }],
    ['initContainers', { spec: { initContainers: null, containers: [container] } }],
    ['volumes', { spec: { volumes: null, containers: [container] } }],
    ['securityContext', { spec: { securityContext: null, containers: [{ ...container, securityContext: null }] } }],
    ['runAsUser', { spec: { securityContext: { runAsUser: null, runAsGroup: null }, containers: [container] } }],
    [
      'runAsUser of a container',
      { spec: { containers: [{ ...container, securityContext: { runAsUser: null, runAsGroup: null } }] } },
    ],
    ['hostNetwork', { spec: { hostNetwork: null, hostPID: null, containers: [container] } }],
    ['restartPolicy', { spec: { restartPolicy: null, shareProcessNamespace: null, containers: [container] } }],
    ['terminationGracePeriodSeconds', { spec: { terminationGracePeriodSeconds: null, containers: [container] } }],
    ['os and nodeSelector', { spec: { os: null, nodeSelector: null, containers: [container] } }],
    ['restartPolicy of a container', { spec: { containers: [{ ...container, restartPolicy: null }] } }],
    ['ports and env', { spec: { containers: [{ ...container, ports: null, env: null }] } }],
    [
      'fields of ports and variables',
      {
        spec: {
          containers: [
            {
              ...container,
              ports: [{ name: null, protocol: null, containerPort: 80 }],
              env: [{ name: 'A', value: null, valueFrom: null }],
            },
          ],
        },
      },
    ],
    ['probes', { spec: { containers: [{ name: 'app', livenessProbe: null, lifecycle: null }] } }],
    ['hooks', { spec: { containers: [{ name: 'app', lifecycle: { preStop: null, postStart: null } }] } }],
    [
      'ways of a probe',
      {
        spec: {
          containers: [
            {
              name: 'app',
              livenessProbe: { exec: null, httpGet: null, tcpSocket: { port: 80, host: null }, timeoutSeconds: null },
              readinessProbe: { grpc: { port: 9, service: null }, tcpSocket: null },
              startupProbe: { httpGet: { port: 80, path: null, host: null, scheme: null, httpHeaders: null } },
            },
          ],
        },
      },
    ],
    [
      'the value of a header',
      {
        spec: {
          containers: [
            { name: 'app', livenessProbe: { httpGet: { port: 80, httpHeaders: [{ name: 'A', value: null }] } } },
          ],
        },
      },
    ],
  ])('%s', (_field, fields) => {
    const object = { kind: 'Pod', spec: { containers: [container] }, ...fields };
    expect(readPod(object)).toMatchObject({ ok: true });
    for (const defaults of [DEFAULTS, CLASSIC]) {
      const result = injectPod(object, defaults);
      if (!result.ok || result.value.kind !== 'injected') throw new Error(JSON.stringify(result));
      expect(ejectPod(result.value.template)).toEqual(object);
      const again = injectPod(result.value.template, defaults);
      expect(again).toEqual(result);
      for (const text of [JSON.stringify(object), JSON.stringify(object, null, 2), stringify(object)]) {
        const there = textOf(injectText('f', text, defaults));
        expect(textOf(ejectText('f', there))).toBe(text);
        expect((parse(there) as PodTemplate).spec.containers.length).toBe(defaults.nativeSidecar ? 1 : 2);
      }
    }
  });

  test.each([
    ['behind the way that counts', { tcpSocket: { port: 80 }, httpGet: null }],
    ['before it', { grpc: null, httpGet: null, tcpSocket: { port: 80 } }],
    ['in it', { tcpSocket: { port: 80, host: null } }],
  ])('of a probe, %s: kubelet is sent to weft', (_where, livenessProbe) => {
    const result = injectPod({ spec: { containers: [{ name: 'app', livenessProbe }] } }, DEFAULTS);
    if (!result.ok) throw new Error(JSON.stringify(result));
    expect(result.value.template.spec.containers[0]?.livenessProbe?.httpGet).toMatchObject({ port: 15_021 });
  });

  test.each(['~', 'null', 'Null', ''])('however it is written: "%s"', (nothing) => {
    const text = `kind: Pod
metadata:
  annotations: ${nothing}
spec:
  hostNetwork: ${nothing}
  initContainers: ${nothing} # none
  volumes: ${nothing}
  containers:
    - name: app
      securityContext: ${nothing}
`;
    expect(notesOf(text)).toEqual(['Pod (no name): injected']);
    expect(textOf(ejectText('f', textOf(injectText('f', text, DEFAULTS))))).toBe(text);
  });
});

/** Of sigs.k8s.io/yaml, by which kubectl turns a file into JSON. */
describe('scalars are read as kubectl reads them', () => {
  const text = (spec: string, annotations = ''): string =>
    `kind: Pod\nmetadata:\n  name: p\n  annotations: {${annotations}}\nspec:\n  ${spec}\n  containers:\n    - name: app\n`;
  const alone = 'Pod p: left alone: hostNetwork: the node has no redirect of its own';

  test.each(['true', 'True', 'yes', 'Yes', 'YES', 'on', 'On', 'y', 'Y'])('hostNetwork: %s is true', (word) => {
    expect(notesOf(text(`hostNetwork: ${word}`))).toEqual([alone]);
  });

  test.each(['false', 'no', 'No', 'off', 'OFF', 'n', 'N'])('hostNetwork: %s is false', (word) => {
    const written = text(`hostNetwork: ${word}`);
    expect(notesOf(written)).toEqual(['Pod p: injected']);
    expect(textOf(ejectText('f', textOf(injectText('f', written, DEFAULTS))))).toBe(written);
  });

  test.each([
    ['hostNetwork: "yes"', '', 'must be true or false, not the text "yes"'],
    ['hostNetwork: 1', '', 'must be true or false, not number 1'],
    ['hostNetwork: false', 'sidecar.istio.io/inject: no', 'must be text, not boolean false'],
    ['hostNetwork: false', 'a: y', 'must be text, not boolean true'],
    ['hostNetwork: false', 'a: 1_000', 'must be text, not number 1000'],
  ])('%s {%s} is refused, as the API server refuses it', (spec, annotations, problem) => {
    const result = injectText('f', text(spec, annotations), DEFAULTS);
    expect(result.ok ? [] : result.error.map(({ message }) => message)).toEqual([problem]);
  });

  test.each(['0144', '0o144', '0x64', '1_00'])('%s is 100, and dates, times and binary text are text', (hundred) => {
    const written = text(
      `terminationGracePeriodSeconds: ${hundred}`,
      'day: 2026-01-02, time: 12:30:45, at: 2026-01-02T03:04:05Z, ratio: 1:30.5',
    );
    const there = textOf(injectText('f', written, DEFAULTS));
    expect(there).toContain('name: WEFT_DRAIN\n          value: "95"');
    expect(textOf(ejectText('f', there))).toBe(written);
  });

  test('a JSON file says true by true alone', () => {
    const result = injectText('f', '{"kind":"Pod","spec":{"hostNetwork":"yes","containers":[{"name":"a"}]}}', DEFAULTS);
    expect(result.ok).toBe(false);
  });
});

describe('a JSON file stays JSON', () => {
  const annotations = {
    'prometheus.io/scrape': 'true',
    'prometheus.io/path': '/metrics',
    'prometheus.io/port': null,
    'prometheus.io/scheme': 'https',
  };
  const probe = { livenessProbe: { tcpSocket: { port: 80 } } };
  const spec = { restartPolicy: 'Never', shareProcessNamespace: null, containers: [{ name: 'a', ...probe }] };
  const object = { kind: 'Pod', metadata: { annotations }, spec };

  test.each([
    ['on one line', JSON.stringify(object)],
    ['on many', `\n${JSON.stringify(object, null, 2)}\n`],
  ])('%s, also where a value is another one', (_how, text) => {
    for (const defaults of [DEFAULTS, CLASSIC]) {
      const there = textOf(injectText('f', text, defaults));
      expect((JSON.parse(there) as PodTemplate).metadata?.annotations).toMatchObject({
        'prometheus.io/path': '/stats/prometheus',
        'prometheus.io/port': '15020',
      });
      expect(textOf(ejectText('f', there))).toBe(text);
    }
  });
});

describe('items of a list', () => {
  const template = 'spec: {template: {spec: {containers: [{name: a}]}}}';
  const list = (kind: string, item: string): string => `kind: ${kind}\nitems:\n  - ${item}\n`;

  test.each([
    ['DeploymentList', `{metadata: {name: d}, ${template}}`, 'Deployment d: injected'],
    ['DeploymentList', `{kind: null, metadata: {name: d}, ${template}}`, 'Deployment d: injected'],
    ['JobList', `{metadata: {name: j}, ${template}}`, 'Job j: injected'],
    ['PodList', '{metadata: {name: p}, spec: {containers: [{name: a}]}}', 'Pod p: injected'],
    [
      'PodTemplateList',
      '{metadata: {name: t}, template: {spec: {containers: [{name: a}]}}}',
      'PodTemplate t: injected',
    ],
    ['List', `{kind: StatefulSet, metadata: {name: s}, ${template}}`, 'StatefulSet s: injected'],
    ['DeploymentList', `{kind: DaemonSet, metadata: {name: s}, ${template}}`, 'DaemonSet s: injected'],
    ['List', `{kind: DeploymentList, items: [{metadata: {name: d}, ${template}}]}`, 'Deployment d: injected'],
  ])('without a kind are of the kind that the list names: %s with %s', (kind, item, note) => {
    const text = list(kind, item);
    expect(notesOf(text)).toEqual([note]);
    expect(textOf(ejectText('f', textOf(injectText('f', text, DEFAULTS))))).toBe(text);
  });

  test('without a kind in a List that names none are refused, as kubectl refuses them', () => {
    const text = list('List', `metadata: {name: d}\n    ${template}`);
    for (const result of [injectText('f', text, DEFAULTS), ejectText('f', text)]) {
      expect(result.ok ? [] : result.error.map(formatProblem)).toEqual([
        'f:3:5: items[0].kind: is required (a List names none for its items)',
      ]);
    }
  });

  test('of other kinds pass as they are', () => {
    for (const text of [list('ServiceList', '{metadata: {name: s}}'), list('List', '{kind: Service}'), 'kind: List\n'])
      expect(injectText('f', text, DEFAULTS)).toEqual({ ok: true, value: { text, notes: [] } });
  });
});
