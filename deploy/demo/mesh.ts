/** The demo's mesh: certificates from `weft ca`, a policy folder, and the pods, from nothing to ready and back. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { endpointSlice, Folder, policyText } from '../../test/support/policy.ts';
import { freePorts } from '../../test/support/ports.ts';
import { runProgram } from '../../test/support/process.ts';
import { ROOT } from '../../test/support/weft.ts';
import { killPod, PODS, type Pod, type PodPlace, type PodPlan, startPod, stopPod } from './pods.ts';

const MAIN = join(ROOT, 'proxy/main.ts');
const TRUST_DOMAIN = 'cluster.local';

/** Who calls ends before who is called. */
const CALLERS_FIRST: readonly PodPlan['account'][] = ['storefront', 'catalog', 'inventory'];

export function spiffeId(account: PodPlan['account']): string {
  return `spiffe://${TRUST_DOMAIN}/ns/default/sa/${account}`;
}

export type Say = (line: string) => void;

/** Whoever made it ends it: `stop`, or `end` when nothing matters any more. Its folder goes when the process does. */
export class Mesh {
  private readonly folder = new Folder('weft-demo-');
  private readonly running = new Map<string, Pod>();

  constructor() {
    process.once('exit', () => this.folder.remove());
  }

  get policy(): string {
    return join(this.folder.path, 'policy');
  }

  pod(name: string): Pod {
    const pod = this.running.get(name);
    if (pod === undefined) throw new Error(`no pod ${name} is running`);
    return pod;
  }

  get pods(): Pod[] {
    return [...this.running.values()];
  }

  /** Makes certificates and policy, starts every pod and waits until each is ready. `env` is for the sidecars. */
  async start(env: Readonly<Record<string, string>>, say: Say): Promise<void> {
    const places = await this.place();
    say('certificates: an own CA and one identity per pod, by `weft ca`');
    await this.issue(places);
    this.folder.write('policy/mesh.yaml', readFileSync(join(import.meta.dirname, 'policy/mesh.yaml'), 'utf8'));
    this.folder.write('policy/endpoints.yaml', endpoints(places));
    say(`policy: ${this.policy}`);
    const started = performance.now();
    await Promise.all(
      places.map(async (place) => {
        this.running.set(place.plan.name, await startPod(place, this.policy, env));
        say(`${place.plan.name}: service and sidecar ready after ${Math.round(performance.now() - started)} ms`);
      }),
    );
  }

  /** Ends a pod as a crash of its node would. Its log stays readable. */
  async crash(name: string): Promise<Pod> {
    const pod = this.pod(name);
    this.running.delete(name);
    await killPod(pod);
    return pod;
  }

  /** Drains and ends every pod, callers first. Answers the names of those whose sidecar did not end well. */
  async stop(): Promise<string[]> {
    const bad: string[] = [];
    for (const account of CALLERS_FIRST) {
      const tier = this.pods.filter((pod) => pod.plan.account === account);
      await Promise.all(
        tier.map(async (pod) => {
          if (!(await stopPod(pod))) bad.push(pod.plan.name);
          this.running.delete(pod.plan.name);
        }),
      );
    }
    return bad;
  }

  /** Ends what still runs, at once. */
  async end(): Promise<void> {
    await Promise.all(this.pods.map(killPod));
  }

  private async place(): Promise<PodPlace[]> {
    const ports = await freePorts(PODS.length * 6);
    const next = (): number => ports.pop() as number;
    return PODS.map((plan) => ({
      plan,
      appPort: next(),
      ports: { inbound: next(), outbound: next(), admin: next(), metrics: next(), ready: next() },
      certs: join(this.folder.path, 'certs', plan.name),
      labels: this.folder.write(`labels/${plan.name}`, `app="${plan.account}"\nversion="${plan.version}"\n`),
    }));
  }

  private async issue(places: readonly PodPlace[]): Promise<void> {
    const ca = join(this.folder.path, 'ca');
    await weft('ca', 'init', ca);
    for (const { plan, certs } of places) {
      await weft('ca', 'issue', ca, '--spiffe-id', spiffeId(plan.account), '--out', certs);
    }
  }
}

function weft(...args: string[]): Promise<string> {
  return runProgram({ command: process.execPath, args: [MAIN, ...args] });
}

/** A slice per pod, because each has its own port: traffic goes to the sidecar's inbound listener, not redirected. */
function endpoints(places: readonly PodPlace[]): string {
  return policyText(
    places.map(({ plan, ports }) =>
      endpointSlice({
        service: plan.service,
        suffix: plan.name,
        ports: [{ name: 'http', port: ports.inbound }],
        endpoints: ['127.0.0.1'],
      }),
    ),
  );
}
