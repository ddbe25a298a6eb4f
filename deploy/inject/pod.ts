/** A pod as far as injection looks at it. Everything else passes through untouched. Field names are the Kubernetes API's. */
import { z } from 'zod';
import { type Complaint, complaintsOf } from '../../proxy/config/wording.ts';
import { err, ok, type Result } from '../../shared/result.ts';

export interface HttpGet {
  readonly path?: string;
  readonly port: number | string;
  readonly host?: string;
  readonly scheme?: string;
  readonly httpHeaders?: readonly { readonly name: string; readonly value?: string }[];
}

/** What kubelet does at a container: for a probe or a lifecycle hook. */
export interface Handler {
  readonly httpGet?: HttpGet;
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string };
  readonly grpc?: { readonly port: number; readonly service?: string | null };
  readonly timeoutSeconds?: number;
  readonly [other: string]: unknown;
}

export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: object;
}

export interface Container {
  readonly name: string;
  readonly ports?:
    | readonly { readonly name?: string; readonly containerPort: number; readonly protocol?: string }[]
    | null;
  readonly livenessProbe?: Handler | null;
  readonly readinessProbe?: Handler | null;
  readonly startupProbe?: Handler | null;
  readonly lifecycle?: { readonly postStart?: Handler | null; readonly preStop?: Handler | null } | null;
  readonly securityContext?: {
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly [other: string]: unknown;
  } | null;
  readonly restartPolicy?: string;
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
  readonly restartPolicy?: string;
  readonly terminationGracePeriodSeconds?: number | null;
  readonly securityContext?: {
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly [other: string]: unknown;
  } | null;
  readonly [other: string]: unknown;
}

export type Texts = Readonly<Record<string, string>>;

export interface PodMetadata {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly labels?: Texts | null;
  readonly annotations?: Texts | null;
  readonly [other: string]: unknown;
}

/** A Pod, or the template that a workload makes its pods from. */
export interface PodTemplate {
  readonly metadata?: PodMetadata | null;
  readonly spec: PodSpec;
  readonly [other: string]: unknown;
}

const port = z.union([z.int(), z.string()]);
const texts = z.record(z.string(), z.string()).nullish();
const handler = z
  .looseObject({
    httpGet: z
      .looseObject({
        path: z.string().optional(),
        port,
        host: z.string().optional(),
        scheme: z.string().optional(),
        httpHeaders: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).optional(),
      })
      .optional(),
    tcpSocket: z.looseObject({ port, host: z.string().optional() }).optional(),
    grpc: z.looseObject({ port: z.int(), service: z.string().nullish() }).optional(),
    timeoutSeconds: z.int().optional(),
  })
  .nullish();
const user = z.looseObject({ runAsUser: z.int().optional(), runAsGroup: z.int().optional() }).nullish();
const container = z.looseObject({
  name: z.string(),
  ports: z.array(z.looseObject({ name: z.string().optional(), containerPort: z.int() })).nullish(),
  livenessProbe: handler,
  readinessProbe: handler,
  startupProbe: handler,
  lifecycle: z.looseObject({ postStart: handler, preStop: handler }).nullish(),
  securityContext: user,
  restartPolicy: z.string().optional(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).nullish(),
});
const template = z.looseObject({
  metadata: z
    .looseObject({ namespace: z.string().optional(), name: z.string().optional(), labels: texts, annotations: texts })
    .nullish(),
  spec: z.looseObject({
    containers: z.array(container).min(1),
    initContainers: z.array(container).nullish(),
    volumes: z.array(z.looseObject({ name: z.string() })).nullish(),
    hostNetwork: z.boolean().nullish(),
    hostPID: z.boolean().nullish(),
    shareProcessNamespace: z.boolean().nullish(),
    restartPolicy: z.string().optional(),
    terminationGracePeriodSeconds: z.int().nullish(),
    securityContext: user,
  }),
});

/** The value itself if it has the shape of a pod; else a complaint for each field that has not. */
export function readPod(value: unknown): Result<PodTemplate, Complaint[]> {
  const parsed = template.safeParse(value);
  if (parsed.success) return ok(value as PodTemplate);
  return err(complaintsOf(parsed.error.issues, value));
}
