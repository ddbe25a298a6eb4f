/** What is added to a pod: the containers and volumes, ready for its settings. */
import type { Container, EnvVar, Handler, PodSpec } from './pod.ts';
import { READY_PORT } from './probes.ts';
import type { PodSettings } from './settings.ts';

export const SIDECAR = 'weft';
export const INIT = 'weft-init';
export const TRUST_ANNOTATION = 'weft.dev/trust-bundle';

/** Istio's number: the redirect lets this user's own connections pass. */
export const WEFT_USER = 1337;
export const METRICS_PORT = 15_020;
/** Between the end of weft's patience and kubelet's SIGKILL. */
const SPARE_SECONDS = 5;
/** Kubernetes' own default. */
const GRACE_SECONDS = 30;
/** Of a projected token; kubelet renews it at four fifths. */
const TOKEN_SECONDS = 43_200;
/** A sidecar that has no certificate yet waits for its CA this long before kubelet starts it anew. */
const START_SECONDS = 600;

const POD_FOLDER = '/etc/weft/pod';
const POLICY_FOLDER = '/etc/weft/policy';
const CERTS_FOLDER = '/var/run/secrets/weft';
const TOKEN_FOLDER = '/var/run/secrets/weft-token';
export const TOKEN_AUDIENCE = 'weft-ca';
const PROGRAM = ['node', '/weft/weft.js'] as const;

/** What the sidecar must know of the pod it goes into. */
export interface PodFacts {
  /** JSON, empty for none: `WEFT_APP_PROBES`, `WEFT_APP_METRICS`. */
  readonly probes: string;
  readonly metrics: string;
  /** The sidecar has to end by itself when the application has. */
  readonly exitWithApp: boolean;
  readonly graceSeconds: number;
}

/** The variables that PodFacts stand in. */
export const FACTS: readonly string[] = ['WEFT_DRAIN', 'WEFT_EXIT_WITH_APP', 'WEFT_APP_PROBES', 'WEFT_APP_METRICS'];

export function graceOf(spec: PodSpec): number {
  return spec.terminationGracePeriodSeconds ?? GRACE_SECONDS;
}

/** Sets the redirect up, and ends. */
export function initContainer(settings: PodSettings): Container {
  return {
    name: INIT,
    image: settings.initImage,
    args: ['init', '--annotations', `${POD_FOLDER}/annotations`],
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    resources: settings.resources,
    volumeMounts: [{ name: 'weft-pod', mountPath: POD_FOLDER, readOnly: true }],
  };
}

export function sidecarContainer(settings: PodSettings, facts: PodFacts): Container {
  return {
    name: SIDECAR,
    image: settings.image,
    ...(settings.nativeSidecar ? { restartPolicy: 'Always' } : {}),
    args: ['proxy'],
    env: environment(settings, facts),
    ports: [
      { name: 'weft-metrics', containerPort: METRICS_PORT, protocol: 'TCP' },
      { name: 'weft-ready', containerPort: READY_PORT, protocol: 'TCP' },
    ],
    ...(settings.nativeSidecar ? { startupProbe: readiness(1, START_SECONDS) } : {}),
    readinessProbe: readiness(5, 2),
    lifecycle: lifecycle(settings, facts),
    resources: settings.resources,
    securityContext: {
      runAsUser: WEFT_USER,
      runAsGroup: WEFT_USER,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [
      { name: 'weft-pod', mountPath: POD_FOLDER, readOnly: true },
      { name: 'weft-policy', mountPath: POLICY_FOLDER, readOnly: true },
      { name: 'weft-certs', mountPath: CERTS_FOLDER, readOnly: true },
      ...(fromCa(settings) ? [{ name: 'weft-token', mountPath: TOKEN_FOLDER, readOnly: true }] : []),
    ],
  };
}

export function volumes(settings: PodSettings): { name: string; [other: string]: unknown }[] {
  const field = (path: string, fieldPath: string): object => ({ path, fieldRef: { fieldPath } });
  const pod = [field('labels', 'metadata.labels'), field('annotations', 'metadata.annotations')];
  const token = {
    serviceAccountToken: { path: 'token', audience: TOKEN_AUDIENCE, expirationSeconds: TOKEN_SECONDS },
  };
  const list: { name: string; [other: string]: unknown }[] = [
    { name: 'weft-pod', downwardAPI: { items: pod } },
    // No policy is a valid policy.
    { name: 'weft-policy', configMap: { name: settings.policy, optional: true } },
  ];
  if (!fromCa(settings)) return [...list, { name: 'weft-certs', secret: { secretName: settings.certificates } }];
  const root =
    settings.caBundle === null
      ? { configMap: { name: 'weft-ca-root' } }
      : { downwardAPI: { items: [field('ca.crt', `metadata.annotations['${TRUST_ANNOTATION}']`)] } };
  return [...list, { name: 'weft-certs', ...root }, { name: 'weft-token', projected: { sources: [token] } }];
}

export function fromCa({ certificates }: PodSettings): boolean {
  return certificates === '';
}

function readiness(periodSeconds: number, failureThreshold: number): Handler {
  return { httpGet: { path: '/healthz/ready', port: READY_PORT }, periodSeconds, failureThreshold };
}

/**
 * A native sidecar outlives the application, so its hook only starts the drain. A classic one is told to end together with
 * the application, so its hook lasts until the application has no socket any more; and the application's start waits for
 * its postStart.
 */
function lifecycle(settings: PodSettings, { graceSeconds }: PodFacts): NonNullable<Container['lifecycle']> {
  const run = (...args: string[]): Handler => ({ exec: { command: [...PROGRAM, ...args] } });
  if (settings.nativeSidecar) return { preStop: run('drain') };
  return { postStart: run('wait'), preStop: run('drain', '--wait', String(drainSeconds(graceSeconds))) };
}

function drainSeconds(graceSeconds: number): number {
  return Math.max(0, graceSeconds - SPARE_SECONDS);
}

function environment(settings: PodSettings, facts: PodFacts): EnvVar[] {
  const field = (name: string, fieldPath: string): EnvVar => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  const fixed: [string, string][] = [
    ['WEFT_LABELS', `${POD_FOLDER}/labels`],
    ['WEFT_DRAIN', String(drainSeconds(facts.graceSeconds))],
    ['WEFT_CA', fromCa(settings) ? settings.ca : ''],
    ['WEFT_CA_TOKEN', fromCa(settings) ? `${TOKEN_FOLDER}/token` : ''],
    ['WEFT_EXIT_WITH_APP', facts.exitWithApp ? 'on' : ''],
    ['WEFT_APP_PROBES', facts.probes],
    ['WEFT_APP_METRICS', facts.metrics],
  ];
  return [
    field('WEFT_NAMESPACE', 'metadata.namespace'),
    field('WEFT_POD', 'metadata.name'),
    field('WEFT_SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    field('WEFT_POD_IP', 'status.podIP'),
    ...fixed.filter(([, value]) => value !== '').map(([name, value]) => ({ name, value })),
  ];
}
