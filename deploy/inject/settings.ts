/** How a pod's sidecar is to be: the command line's defaults, changed by the pod's annotations. */
import { suggest } from '../../proxy/config/near.ts';
import type { Complaint } from '../../proxy/config/wording.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { PREFIXES, REDIRECT_ANNOTATIONS } from '../init/options.ts';
import { andMore } from './bounded.ts';
import type { Texts } from './pod.ts';

export interface InjectDefaults {
  readonly image: string;
  /** With nft and iptables in it. */
  readonly initImage: string;
  /** An init container that stays (Kubernetes 1.29); else a container beside the others. */
  readonly nativeSidecar: boolean;
  /** `https://HOST:PORT` of `weft ca serve`. */
  readonly ca: string;
  /** PEM of the root that the CA's own certificate comes from; null: ConfigMap `weft-ca-root` of the pod's namespace has it. */
  readonly caBundle: string | null;
}

export interface PodSettings extends InjectDefaults {
  /** Secret with tls.crt, tls.key and ca.crt; empty: certificates come from the CA. */
  readonly certificates: string;
  /** ConfigMap of policy files. */
  readonly policy: string;
  readonly rewriteProbes: boolean;
  readonly mergeMetrics: boolean;
  readonly resources: {
    readonly requests: Readonly<Record<string, string>>;
    readonly limits: Readonly<Record<string, string>>;
  };
}

export const DEFAULTS: InjectDefaults = {
  image: 'weft:dev',
  initImage: 'weft-init:dev',
  nativeSidecar: true,
  ca: 'https://weft-ca.weft-system.svc:15012',
  caBundle: null,
};

/** Measured: a sidecar under load stays below 110 MB; the limit leaves room for a thousand connections. */
const MEMORY_REQUEST = '128Mi';
const MEMORY_LIMIT = '512Mi';
const CPU_REQUEST = '50m';

type Refuse = (value: string) => string | null;

interface Setting {
  readonly name: string;
  /** Istio's name for the same. */
  readonly twin?: string;
  readonly refuse: Refuse;
}

const flag: Refuse = (value) => (/^(?:true|false)$/.test(value) ? null : 'must be "true" or "false"');
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};
// apimachinery, resource.Quantity: a number with a unit.
const QUANTITY = /^([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;
const quantity: Refuse = (value) => (QUANTITY.test(value) ? null : 'must be a quantity such as 100m or 128Mi');
const objectName: Refuse = (value) =>
  /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/.test(value) ? null : 'must be the name of an object';
const image: Refuse = (value) => (/^[^\s]{1,500}$/.test(value) ? null : 'must be an image');

const SETTINGS: readonly Setting[] = [
  { name: 'inject', twin: 'sidecar.istio.io/inject', refuse: flag },
  // sidecar.istio.io/proxyImage is no twin: it names an image with Envoy in it.
  { name: 'image', refuse: image },
  { name: 'init-image', refuse: image },
  { name: 'native-sidecar', twin: 'sidecar.istio.io/nativeSidecar', refuse: flag },
  { name: 'certificates', refuse: objectName },
  { name: 'policy', refuse: objectName },
  { name: 'rewrite-probes', twin: 'sidecar.istio.io/rewriteAppHTTPProbers', refuse: flag },
  { name: 'merge-metrics', twin: 'prometheus.istio.io/merge-metrics', refuse: flag },
  { name: 'cpu', twin: 'sidecar.istio.io/proxyCPU', refuse: quantity },
  { name: 'memory', twin: 'sidecar.istio.io/proxyMemory', refuse: quantity },
  { name: 'cpu-limit', twin: 'sidecar.istio.io/proxyCPULimit', refuse: quantity },
  { name: 'memory-limit', twin: 'sidecar.istio.io/proxyMemoryLimit', refuse: quantity },
];

const [PREFIX, ISTIO_REDIRECT] = PREFIXES;
/** Nobody mends more at once, and each costs a search for the name that was meant: a webhook answers others meanwhile. */
const MAX_UNKNOWN = 10;
/** Kubernetes' own bound (apimachinery, TotalAnnotationSizeLimitB): names and values together. */
const MAX_ANNOTATION_BYTES = 256 * 1024;
/** What others read or write under the prefix on pods: `weft init`, and injection itself. */
const OTHERS = [...REDIRECT_ANNOTATIONS.keys(), 'injected', 'trust-bundle'];

/** null, or what the API server would say of the pod anyway: looked at before anything is read from annotations. */
export function oversized(annotations: Texts): Complaint | null {
  let bytes = 0;
  for (const [name, value] of Object.entries(annotations)) bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  if (bytes <= MAX_ANNOTATION_BYTES) return null;
  const message = `are ${bytes} bytes, but Kubernetes takes at most ${MAX_ANNOTATION_BYTES}`;
  return { path: ['metadata', 'annotations'], message, advice: '', at: 'key' };
}

/** The annotations that are wrong, in their place in the pod; of many that nobody knows, the first. */
export function settingsOf(defaults: InjectDefaults, annotations: Texts): Result<PodSettings, Complaint[]> {
  const problems = [...unknowns(Object.keys(annotations).filter(isUnknown)), ...redirectProblems(annotations)];
  const said = (name: string): string | undefined => {
    const setting = settingOf(name);
    const written = writtenAs(setting, annotations);
    if (written === undefined) return undefined;
    const value = annotations[written] as string;
    const wrong = setting.refuse(value);
    if (wrong !== null) problems.push(complaint(written, 'value', `is "${value}", but ${wrong}`, ''));
    return value;
  };
  const cpu = pairOf(said('cpu'), CPU_REQUEST, said('cpu-limit'), undefined);
  const memory = pairOf(said('memory'), MEMORY_REQUEST, said('memory-limit'), MEMORY_LIMIT);
  for (const [name, { request, limit }] of Object.entries({ cpu, memory })) {
    if (limit === undefined || !isMore(request, limit)) continue;
    const written = writtenAs(settingOf(`${name}-limit`), annotations) as string;
    problems.push(complaint(written, 'value', `is "${limit}", but the request is "${request}", which is more`, ''));
  }
  const settings: PodSettings = {
    image: said('image') ?? defaults.image,
    initImage: said('init-image') ?? defaults.initImage,
    nativeSidecar: (said('native-sidecar') ?? String(defaults.nativeSidecar)) === 'true',
    ca: defaults.ca,
    caBundle: defaults.caBundle,
    certificates: said('certificates') ?? '',
    policy: said('policy') ?? 'weft-policy',
    rewriteProbes: said('rewrite-probes') !== 'false',
    mergeMetrics: said('merge-metrics') !== 'false',
    resources: {
      requests: { cpu: cpu.request, memory: memory.request },
      limits: { ...(cpu.limit === undefined ? {} : { cpu: cpu.limit }), memory: memory.limit },
    },
  };
  return problems.length === 0 ? ok(settings) : err(problems);
}

/** The API server takes no request above its limit: of the two, what nobody wrote goes by what somebody did. */
function pairOf<Limit extends string | undefined>(
  request: string | undefined,
  usualRequest: string,
  limit: string | undefined,
  usualLimit: Limit,
): { readonly request: string; readonly limit: string | Limit } {
  if (limit !== undefined) return { request: request ?? (isMore(usualRequest, limit) ? limit : usualRequest), limit };
  if (request === undefined) return { request: usualRequest, limit: usualLimit };
  return { request, limit: usualLimit !== undefined && isMore(request, usualLimit) ? request : usualLimit };
}

/** False where one is no quantity, which has been said already. */
function isMore(a: string, b: string): boolean {
  return amount(a) > amount(b);
}

function amount(text: string): number {
  const [, digits, unit = ''] = QUANTITY.exec(text) ?? [];
  // Divided, 70m is the very number that 0.07 is; times 0.001 it need not be.
  return unit === 'm' ? Number(digits) / 1000 : Number(digits) * (UNITS[unit] as number);
}

function settingOf(name: string): Setting {
  return SETTINGS.find((each) => each.name === name) as Setting;
}

/** Under which name the pod says it: ours counts more than Istio's. */
function writtenAs({ name, twin }: Setting, annotations: Texts): string | undefined {
  return [PREFIX + name, twin ?? ''].find((key) => annotations[key] !== undefined);
}

/** Whether the pod itself says that it wants a sidecar: labels before annotations, our name before Istio's. */
export function wish(labels: Texts, annotations: Texts): { readonly wanted: boolean; readonly by: string } | null {
  for (const [place, texts] of [
    ['label', labels],
    ['annotation', annotations],
  ] as const) {
    for (const name of [`${PREFIX}inject`, 'sidecar.istio.io/inject']) {
      const value = texts[name];
      if (value !== undefined) return { wanted: value === 'true', by: `${place} ${name}: "${value}"` };
    }
  }
  return null;
}

/** What `weft init` would refuse in the pod, again and again; it reads a name of Istio's only where ours is not there. */
function redirectProblems(annotations: Texts): Complaint[] {
  return [...REDIRECT_ANNOTATIONS].flatMap(([name, refuse]) => {
    const written = PREFIXES.map((prefix) => prefix + name).find((each) => annotations[each] !== undefined);
    const wrong = written === undefined ? null : refuse(annotations[written] as string);
    return wrong === null ? [] : [complaint(written as string, 'value', wrong, '')];
  });
}

function isUnknown(annotation: string): boolean {
  if (annotation.startsWith(ISTIO_REDIRECT)) return !REDIRECT_ANNOTATIONS.has(annotation.slice(ISTIO_REDIRECT.length));
  if (!annotation.startsWith(PREFIX)) return false;
  const name = annotation.slice(PREFIX.length);
  return !OTHERS.includes(name) && !SETTINGS.some((setting) => setting.name === name);
}

function unknowns(annotations: readonly string[]): Complaint[] {
  const names = [...SETTINGS.map(({ name }) => name), ...OTHERS].map((name) => PREFIX + name);
  const complaints = annotations.slice(0, MAX_UNKNOWN).map((annotation) => {
    if (annotation.startsWith(PREFIX))
      return complaint(annotation, 'key', 'unknown annotation', suggest(annotation, names));
    const advice = suggest(annotation.slice(ISTIO_REDIRECT.length), [...REDIRECT_ANNOTATIONS.keys()]);
    return complaint(annotation, 'key', 'is not supported', advice);
  });
  return [...complaints, ...andMore(annotations.length - complaints.length, ['metadata', 'annotations'])];
}

function complaint(annotation: string, at: Complaint['at'], message: string, advice: string): Complaint {
  return { path: ['metadata', 'annotations', annotation], message, advice, at };
}
