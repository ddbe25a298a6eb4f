/**
 * A pod as far as injection looks at it. Everything else passes through untouched. Field names are the Kubernetes API's, and
 * null means there what an absent field means.
 */
import { z } from 'zod';
import { type Complaint, complaintsOf } from '../../proxy/config/wording.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { bounded } from './bounded.ts';

export interface HttpGet {
  readonly path?: string | null;
  readonly port: number | string;
  readonly host?: string | null;
  readonly scheme?: string | null;
  readonly httpHeaders?: readonly { readonly name: string; readonly value?: string | null }[] | null;
}

/** What kubelet does at a container: for a probe or a lifecycle hook. */
export interface Handler {
  readonly httpGet?: HttpGet | null;
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string | null } | null;
  readonly grpc?: { readonly port: number; readonly service?: string | null } | null;
  readonly timeoutSeconds?: number | null;
  readonly [other: string]: unknown;
}

export interface EnvVar {
  readonly name: string;
  readonly value?: string | null;
  readonly valueFrom?: object | null;
}

export interface Container {
  readonly name: string;
  readonly ports?:
    | readonly { readonly name?: string | null; readonly containerPort: number; readonly protocol?: string | null }[]
    | null;
  readonly livenessProbe?: Handler | null;
  readonly readinessProbe?: Handler | null;
  readonly startupProbe?: Handler | null;
  readonly lifecycle?: { readonly postStart?: Handler | null; readonly preStop?: Handler | null } | null;
  readonly securityContext?: {
    readonly runAsUser?: number | null;
    readonly runAsGroup?: number | null;
    readonly [other: string]: unknown;
  } | null;
  readonly restartPolicy?: string | null;
  readonly env?: readonly EnvVar[] | null;
  readonly [other: string]: unknown;
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[] | null;
  readonly volumes?: readonly { readonly name: string; readonly [other: string]: unknown }[] | null;
  readonly hostNetwork?: boolean | null;
  readonly hostPID?: boolean | null;
  readonly shareProcessNamespace?: boolean | null;
  readonly restartPolicy?: string | null;
  readonly terminationGracePeriodSeconds?: number | null;
  readonly securityContext?: {
    readonly runAsUser?: number | null;
    readonly runAsGroup?: number | null;
    readonly [other: string]: unknown;
  } | null;
  readonly [other: string]: unknown;
}

export type Texts = Readonly<Record<string, string>>;
/** Here null means empty text. */
export type WrittenTexts = Readonly<Record<string, string | null>>;

export interface PodMetadata {
  readonly name?: string | null;
  readonly generateName?: string | null;
  readonly namespace?: string | null;
  readonly labels?: WrittenTexts | null;
  readonly annotations?: WrittenTexts | null;
  readonly [other: string]: unknown;
}

/** A Pod, or the template that a workload makes its pods from. */
export interface PodTemplate {
  readonly metadata?: PodMetadata | null;
  readonly spec: PodSpec;
  readonly [other: string]: unknown;
}

const port = z.union([z.int(), z.string()]);
const texts = z.record(z.string(), z.string().nullable()).nullish();
const handler = z
  .looseObject({
    httpGet: z
      .looseObject({
        path: z.string().nullish(),
        port,
        host: z.string().nullish(),
        scheme: z.string().nullish(),
        httpHeaders: z.array(z.looseObject({ name: z.string(), value: z.string().nullish() })).nullish(),
      })
      .nullish(),
    tcpSocket: z.looseObject({ port, host: z.string().nullish() }).nullish(),
    grpc: z.looseObject({ port: z.int(), service: z.string().nullish() }).nullish(),
    timeoutSeconds: z.int().nullish(),
  })
  .nullish();
const user = z.looseObject({ runAsUser: z.int().nullish(), runAsGroup: z.int().nullish() }).nullish();
const container = z.looseObject({
  name: z.string(),
  ports: z
    .array(z.looseObject({ name: z.string().nullish(), containerPort: z.int(), protocol: z.string().nullish() }))
    .nullish(),
  livenessProbe: handler,
  readinessProbe: handler,
  startupProbe: handler,
  lifecycle: z.looseObject({ postStart: handler, preStop: handler }).nullish(),
  securityContext: user,
  restartPolicy: z.string().nullish(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().nullish() })).nullish(),
});
const template = z.looseObject({
  metadata: z
    .looseObject({ namespace: z.string().nullish(), name: z.string().nullish(), labels: texts, annotations: texts })
    .nullish(),
  spec: z.looseObject({
    containers: z.array(container).min(1),
    initContainers: z.array(container).nullish(),
    volumes: z.array(z.looseObject({ name: z.string() })).nullish(),
    hostNetwork: z.boolean().nullish(),
    hostPID: z.boolean().nullish(),
    shareProcessNamespace: z.boolean().nullish(),
    restartPolicy: z.string().nullish(),
    terminationGracePeriodSeconds: z.int().nullish(),
    securityContext: user,
  }),
});

/** The value itself if it has the shape of a pod; else a complaint for each field that has not, of many the first. */
export function readPod(value: unknown): Result<PodTemplate, Complaint[]> {
  const parsed = template.safeParse(value);
  if (parsed.success) return ok(value as PodTemplate);
  return err(bounded(complaintsOf(parsed.error.issues, value)));
}
