/** The demo's pods: which there are, and how one is started, a service and its sidecar, each a process of its own. */
import { join } from 'node:path';
import { type Program, startProgram } from '../../test/support/process.ts';
import { launchWeft, type Ports, type Weft } from '../../test/support/weft.ts';

export interface PodPlan {
  /** Of the pod; also the instance's name in answers. */
  readonly name: string;
  /** Of the Kubernetes Service that selects it. */
  readonly service: string;
  /** Service account: who it is under mutual TLS. Also the `app` label and the name of its script in services/. */
  readonly account: 'storefront' | 'catalog' | 'inventory';
  readonly version: string;
}

export const PODS: readonly PodPlan[] = [
  { name: 'storefront', service: 'storefront', account: 'storefront', version: 'v1' },
  { name: 'catalog-v1-a', service: 'catalog-v1', account: 'catalog', version: 'v1' },
  { name: 'catalog-v1-b', service: 'catalog-v1', account: 'catalog', version: 'v1' },
  { name: 'catalog-v1-c', service: 'catalog-v1', account: 'catalog', version: 'v1' },
  { name: 'catalog-v2-a', service: 'catalog-v2', account: 'catalog', version: 'v2' },
  { name: 'inventory', service: 'inventory', account: 'inventory', version: 'v1' },
];

/** The one that is killed under load. */
export const VICTIM = 'catalog-v1-c';

/** Most milliseconds for a pod to start: on a busy machine twelve processes compile their sources at the same time. */
const START_MS = 60_000;

export interface PodPlace {
  readonly plan: PodPlan;
  readonly appPort: number;
  readonly ports: Ports;
  /** Folder with certificate and key. */
  readonly certs: string;
  /** File with the pod's labels, as the Downward API writes it. */
  readonly labels: string;
}

/** A service and its sidecar, running. Whoever started it ends it (`stop` or `kill`). */
export interface Pod {
  readonly plan: PodPlan;
  readonly place: PodPlace;
  readonly app: Program;
  readonly weft: Weft;
}

/** Starts both processes and returns when the sidecar is ready and the service listens. */
export async function startPod(place: PodPlace, policy: string, env: Readonly<Record<string, string>>): Promise<Pod> {
  const { plan } = place;
  const app = startProgram({
    command: process.execPath,
    args: [join(import.meta.dirname, `services/${plan.account}.ts`)],
    env: {
      PORT: String(place.appPort),
      OUTBOUND: `127.0.0.1:${place.ports.outbound}`,
      VERSION: plan.version,
      INSTANCE: plan.name,
    },
  });
  let weft: Weft | undefined;
  try {
    weft = await launchWeft({
      policy,
      certs: place.certs,
      ports: place.ports,
      app: `127.0.0.1:${place.appPort}`,
      flags: ['--service-account', plan.account, '--pod', plan.name, '--labels', place.labels, '--access-log', 'json'],
      env: { ...env, OTEL_SERVICE_NAME: plan.account, OTEL_RESOURCE_ATTRIBUTES: `service.instance.id=${plan.name}` },
    });
    await app.waitForLine((line) => line === 'listening' || undefined, START_MS);
    await Promise.race([weft.ready(START_MS), diesEarly(weft)]);
    return { plan, place, app, weft };
  } catch (error) {
    await Promise.all([app.kill(), weft?.kill()]);
    throw error;
  }
}

async function diesEarly({ program }: Weft): Promise<never> {
  await program.exit;
  throw new Error(`a sidecar ended before it was ready:\n${program.output}`);
}

/** Drains the sidecar as in a pod that ends, then ends the service. True if the sidecar ended by itself, with code 0. */
export async function stopPod(pod: Pod): Promise<boolean> {
  const exit = await pod.weft.stop(10_000);
  await pod.app.stop();
  return exit.code === 0;
}

/** Both at once and without a word, as when a node dies. */
export async function killPod(pod: Pod): Promise<void> {
  await Promise.all([pod.weft.kill(), pod.app.kill()]);
}
