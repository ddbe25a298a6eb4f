/**
 * A pod without weft made a pod with it, and back: pure functions of values, for the command line and the webhook alike. What a
 * pod said before in a place that injection changes stands in annotation `weft.dev/injected` and in the sidecar's variables.
 */
import { z } from 'zod';
import type { Complaint } from '../../proxy/config/wording.ts';
import { isObject, parseObject } from '../../shared/json.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { bounded } from './bounded.ts';
import { conflictsOf, isOurs, isOurVolume } from './conflicts.ts';
import type { Container, PodMetadata, PodSpec, PodTemplate, Texts, WrittenTexts } from './pod.ts';
import { type AppProbe, type AppProbes, redirectProbes, restoreProbes } from './probes.ts';
import { type InjectDefaults, oversized, type PodSettings, settingsOf, wish } from './settings.ts';
import {
  fromCa,
  graceOf,
  initContainer,
  METRICS_PORT,
  type PodFacts,
  SIDECAR,
  sidecarContainer,
  TRUST_ANNOTATION,
  volumes,
} from './sidecar.ts';
import { among, fingerprint, withFacts } from './standing.ts';

export const RECORD_ANNOTATION = 'weft.dev/injected';

/** What `weft.dev/injected` holds, as JSON: how to undo what cannot be seen from the pod. */
export interface InjectRecord {
  /** Fields that were absent, and fields and annotations that were there without a value. */
  readonly absent?: readonly string[];
  readonly empty?: readonly string[];
  /** Annotations as they were; null: absent. */
  readonly annotations?: Readonly<Record<string, string | null>>;
  /** Of the settings and the version of the injection (standing.ts): while it is the same, what it made is kept. */
  readonly made?: string;
  /** Source text of what was replaced in a file, by place (splice.ts). */
  readonly texts?: Texts;
}

const TEXTS = z.record(z.string(), z.string());
/** What nobody wrote but us; edited into another shape it counts as none. */
const RECORD = z.object({
  absent: z.array(z.string()).optional(),
  empty: z.array(z.string()).optional(),
  annotations: z.record(z.string(), z.string().nullable()).optional(),
  made: z.string().optional(),
  texts: TEXTS.optional(),
});
/** Characters of a text that somebody wrote by mistake. */
const MAX_SHOWN = 60;
const APP_PROBES = z.record(z.string(), z.object({ handler: z.looseObject({}), port: z.number() }));

export type Injection =
  | { readonly kind: 'injected'; readonly template: PodTemplate; readonly notes: readonly string[] }
  /** `template`: without weft, whatever an earlier injection put there. */
  | { readonly kind: 'left alone'; readonly template: PodTemplate; readonly why: string };

/**
 * Of a pod that the same injection with the same settings was applied to it keeps what others have made of it since; one that
 * another was applied to it makes anew. Each error stands at its field or annotation of the pod.
 */
export function injectPod(given: PodTemplate, defaults: InjectDefaults): Result<Injection, Complaint[]> {
  const large = oversized(textsOf(given).annotations);
  if (large !== null) return err([large]);
  const template = ejectPod(given);
  const { labels, annotations } = textsOf(template);
  const refusal = refusalOf(template, labels, annotations);
  if (refusal !== null) return ok({ kind: 'left alone', template, why: refusal });
  const settings = settingsOf(defaults, annotations);
  if (!settings.ok) return settings;
  const conflicts = conflictsOf(template.spec);
  if (conflicts.length > 0) return err(bounded(conflicts));
  return ok(added(template, given, annotations, settings.value));
}

/** The pod as it was before `injectPod`; the same object if it was not injected. */
export function ejectPod(template: PodTemplate): PodTemplate {
  if (typeof template.metadata?.annotations?.[RECORD_ANNOTATION] !== 'string') return template;
  const record = readRecord(template);
  const { initContainers, containers, volumes: mounted, shareProcessNamespace, ...others } = template.spec;
  const own = [...(initContainers ?? []), ...containers].find(({ name }) => name === SIDECAR);
  const probes = readProbes(own?.env?.find(({ name }) => name === 'WEFT_APP_PROBES')?.value);
  const theirs = (each: readonly Container[]): readonly Container[] =>
    each.filter((container) => !isOurs(container)).map((container) => restoreProbes(container, probes));
  const inits = theirs(initContainers ?? []);
  const kept = (mounted ?? []).filter(({ name }) => !isOurVolume(name));
  const spec: PodSpec = {
    ...others,
    containers: theirs(containers),
    ...(initContainers === undefined ? {} : asItWas('initContainers', inits, inits.length === 0, record)),
    ...(mounted === undefined ? {} : asItWas('volumes', kept, kept.length === 0, record)),
    ...(shareProcessNamespace === undefined
      ? {}
      : asItWas('shareProcessNamespace', shareProcessNamespace, true, record)),
  };
  return withMetadata({ ...template, spec }, restoredMetadata(template.metadata ?? {}, record));
}

export function readRecord({ metadata }: PodTemplate): InjectRecord {
  const read = RECORD.safeParse(parseObject(metadata?.annotations?.[RECORD_ANNOTATION] ?? '{}'));
  return read.success ? (read.data as InjectRecord) : {};
}

/** `template` is `given` without weft. */
function added(template: PodTemplate, given: PodTemplate, annotations: Texts, settings: PodSettings): Injection {
  const { spec } = template;
  const notes: string[] = [];
  const probes: Record<string, AppProbe> = {};
  const redirect = (each: Container): Container => (settings.rewriteProbes ? redirectProbes(each, probes) : each);
  const containers = spec.containers.map(redirect);
  const initContainers = (spec.initContainers ?? []).map(redirect);
  const metrics = settings.mergeMetrics ? metricsOf(annotations, spec, notes) : null;
  const ends = !settings.nativeSidecar && /^(?:Never|OnFailure)$/.test(spec.restartPolicy ?? '');
  const shares = spec.shareProcessNamespace ?? null;
  const exitWithApp = ends && shares !== false && spec.hostPID !== true;
  if (ends && !exitWithApp) {
    notes.push('the sidecar cannot see the application end: shareProcessNamespace is false, or hostPID true');
  }
  if (exitWithApp && spec.restartPolicy === 'OnFailure') {
    notes.push('an application that fails starts again without the sidecar, which has ended: use restartPolicy Never');
  }
  const facts: PodFacts = {
    probes: Object.keys(probes).length === 0 ? '' : JSON.stringify(sorted(probes)),
    metrics: metrics === null ? '' : JSON.stringify(metrics),
    exitWithApp,
    graceSeconds: graceOf(spec),
  };
  const init = initContainer(settings);
  const sidecar = sidecarContainer(settings, facts);
  const earlier = readRecord(given);
  const made = fingerprint(settings);
  const isStanding = earlier.made === made;
  const standing: Partial<PodSpec> = isStanding ? given.spec : {};
  const ours = settings.nativeSidecar ? { inits: [init, sidecar], others: [] } : { inits: [init], others: [sidecar] };
  const initsAt = settings.nativeSidecar ? 'first' : 'last';
  const newSpec: PodSpec = {
    ...spec,
    ...(exitWithApp && shares === null ? { shareProcessNamespace: true } : {}),
    // What the own init containers send goes through a native sidecar; a classic one is not up yet, so they come first.
    initContainers: among(initContainers, ours.inits, standing.initContainers ?? [], initsAt, withFacts),
    containers: among(containers, ours.others, standing.containers ?? [], 'first', withFacts),
    volumes: among(spec.volumes ?? [], volumes(settings), standing.volumes ?? [], 'last'),
  };
  const changed = newAnnotations(annotations, settings);
  const record: InjectRecord = {
    ...recordOf(template, newSpec, changed, isStanding ? earlier : {}),
    made,
    ...(isStanding && earlier.texts !== undefined ? { texts: earlier.texts } : {}),
  };
  const metadata = {
    ...template.metadata,
    annotations: { ...template.metadata?.annotations, ...changed, [RECORD_ANNOTATION]: JSON.stringify(record) },
  };
  return { kind: 'injected', template: withMetadata({ ...template, spec: newSpec }, metadata), notes };
}

/** The order of containers, which others may change, is no news. */
function sorted(probes: AppProbes): AppProbes {
  return Object.fromEntries(Object.entries(probes).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function recordOf(template: PodTemplate, spec: PodSpec, changed: Texts, earlier: InjectRecord): InjectRecord {
  const annotations = template.metadata?.annotations ?? {};
  const changes = Object.keys(changed).filter(
    (name) => name !== TRUST_ANNOTATION && changed[name] !== annotations[name],
  );
  const places: [string, unknown][] = [
    ['metadata', template.metadata],
    ['annotations', template.metadata?.annotations],
    ['initContainers', template.spec.initContainers],
    ['volumes', template.spec.volumes],
  ];
  if (spec.shareProcessNamespace !== template.spec.shareProcessNamespace)
    places.push(['shareProcessNamespace', template.spec.shareProcessNamespace]);
  // What others have put there since does not make the field one of the pod's own.
  const names = (wanted: undefined | null, before: readonly string[] = []): string[] =>
    places.filter(([name, value]) => value === wanted || before.includes(name)).map(([name]) => name);
  const absent = names(undefined, earlier.absent);
  const empty = [...names(null, earlier.empty), ...changes.filter((name) => annotations[name] === null)];
  const replaced = changes.map((name) => [name, annotations[name] ?? null] as const);
  return {
    ...(absent.length > 0 ? { absent } : {}),
    ...(empty.length > 0 ? { empty } : {}),
    ...(replaced.length > 0 ? { annotations: Object.fromEntries(replaced) } : {}),
  };
}

interface AppMetrics {
  readonly port: number;
  readonly path: string;
  readonly scheme: string;
}

/**
 * Where Prometheus finds the application, if the pod says so: `prometheus.io/*`, as scrape configurations read them. Adds to
 * `notes` why it does not: scrapers are sent to weft all the same, and kubelet would not complain of the pod.
 */
function metricsOf(annotations: Texts, spec: PodSpec, notes: string[]): AppMetrics | null {
  if (annotations['prometheus.io/scrape'] !== 'true') return null;
  const text = annotations['prometheus.io/port'] ?? '80';
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535 || port === METRICS_PORT) {
    const wrong = port === METRICS_PORT ? "weft's own" : 'no port number';
    const named = spec.containers.flatMap(({ ports }) => ports ?? []).find(({ name }) => name === text);
    const advice = named === undefined ? 'the number of its port' : String(named.containerPort);
    const shown = JSON.stringify(text.slice(0, MAX_SHOWN));
    notes.push(`prometheus.io/port ${shown} is ${wrong}, so the application's metrics are not served: write ${advice}`);
    return null;
  }
  const scheme = annotations['prometheus.io/scheme'] === 'https' ? 'https' : 'http';
  return { port, path: annotations['prometheus.io/path'] ?? '/metrics', scheme };
}

/** What scrapers are told instead. */
const SCRAPE: Texts = {
  'prometheus.io/scrape': 'true',
  'prometheus.io/port': String(METRICS_PORT),
  'prometheus.io/path': '/stats/prometheus',
  'prometheus.io/scheme': 'http',
};

/** A pod that says no to scraping keeps it. */
function newAnnotations(annotations: Texts, settings: PodSettings): Texts {
  const scraped = settings.mergeMetrics && (annotations['prometheus.io/scrape'] ?? 'true') === 'true';
  const { 'prometheus.io/scheme': scheme, ...others } = SCRAPE;
  return {
    ...(scraped ? others : {}),
    ...(scraped && annotations['prometheus.io/scheme'] !== undefined
      ? { 'prometheus.io/scheme': scheme as string }
      : {}),
    ...(fromCa(settings) && settings.caBundle !== null ? { [TRUST_ANNOTATION]: settings.caBundle } : {}),
  };
}

function refusalOf({ spec }: PodTemplate, labels: Texts, annotations: Texts): string | null {
  const wished = wish(labels, annotations);
  if (wished?.wanted === false) return wished.by;
  if (spec.hostNetwork === true) return 'hostNetwork: the node has no redirect of its own';
  if (isForWindows(spec)) return 'Windows: weft and its redirect need Linux';
  const foreign = [...(spec.initContainers ?? []), ...spec.containers].find(({ name }) =>
    ['istio-proxy', 'linkerd-proxy', 'envoy-sidecar', 'consul-dataplane'].includes(name),
  );
  return foreign === undefined ? null : `container ${foreign.name}: it is in a mesh already`;
}

/** Either way of saying it puts the pod on a node where no container of ours starts. */
function isForWindows(spec: PodSpec): boolean {
  const { os, nodeSelector } = spec;
  const named = isObject(os) && os['name'] === 'windows';
  return named || (isObject(nodeSelector) && nodeSelector['kubernetes.io/os'] === 'windows');
}

function restoredMetadata(metadata: PodMetadata, record: InjectRecord): PodMetadata | null | undefined {
  const { annotations: had, ...others } = metadata;
  const annotations: Record<string, string | null> = { ...had };
  delete annotations[RECORD_ANNOTATION];
  delete annotations[TRUST_ANNOTATION];
  for (const [name, value] of Object.entries(record.annotations ?? {})) {
    // What others have written there since is theirs.
    if (annotations[name] !== SCRAPE[name]) continue;
    if (value === null && record.empty?.includes(name) !== true) delete annotations[name];
    else annotations[name] = value;
  }
  const none = Object.keys(annotations).length === 0;
  const restored: PodMetadata = { ...others, ...asItWas('annotations', annotations, none, record) };
  if (Object.keys(restored).length > 0) return restored;
  return (asItWas('metadata', restored, true, record) as { metadata?: PodMetadata | null }).metadata;
}

/** The field with its value, unless all of it is ours: then what the record says of it, if anything. */
function asItWas(name: string, value: unknown, isOurOwn: boolean, record: InjectRecord): object {
  if (isOurOwn && record.absent?.includes(name) === true) return {};
  return { [name]: isOurOwn && record.empty?.includes(name) === true ? null : value };
}

function withMetadata(template: PodTemplate, metadata: PodMetadata | null | undefined): PodTemplate {
  if (metadata !== undefined) return { ...template, metadata };
  const { metadata: _, ...others } = template;
  return others;
}

function textsOf({ metadata }: PodTemplate): { labels: Texts; annotations: Texts } {
  const read = (texts: WrittenTexts): Texts =>
    Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, text ?? '']));
  return { labels: read(metadata?.labels ?? {}), annotations: read(metadata?.annotations ?? {}) };
}

function readProbes(text: string | null | undefined): AppProbes {
  const read = APP_PROBES.safeParse(parseObject(text ?? '{}'));
  return read.success ? read.data : {};
}
