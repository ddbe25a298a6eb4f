/**
 * Pods as Linux network namespaces on one bridge: real interfaces, addresses and redirect rules, nothing of it in the host's
 * own network. Needs root, iproute2, nftables and tcpdump; `requirePods` skips the test where they are not to be had.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync } from 'node:fs';
import { TestCa, writeIdentity } from './certificates.ts';
import { lacking } from './debian.ts';
import { eventually } from './eventually.ts';
import { type Packet, packetsOf } from './packets.ts';
import type { Operations, Order, Reply, Seen } from './pod-app.ts';
import { Folder, policyText } from './policy.ts';
import { type Exit, type Program, runProgram, startProgram } from './process.ts';
import { skip } from './skips.ts';
import { ROOT, sumOfSeries } from './weft.ts';

const WEFT_UID = 1337;
const MAIN = `${ROOT}/proxy/main.ts`;
const APP = `${ROOT}/test/support/pod-app.ts`;
/** Of one process, on a machine that has others to start as well. */
const START_MS = 60_000;

let missing: Promise<string | null> | null = null;

/** Skips the running test, by name, where there can be no pods. What they need is installed by the first that asks. */
export async function requirePods(): Promise<void> {
  missing ??= whatIsMissing();
  const reason = await missing;
  if (reason !== null) skip(reason);
}

/** Can there be pods here? For what prepares several tests; each of them then tells why not (`requirePods`). */
export async function mayHavePods(): Promise<boolean> {
  missing ??= whatIsMissing();
  return (await missing) === null;
}

async function whatIsMissing(): Promise<string | null> {
  if (process.getuid?.() !== 0) return 'not root: network namespaces cannot be made';
  const packages = await lacking('iproute2', 'nftables', 'iptables', 'tcpdump');
  if (packages !== null) return packages;
  try {
    execFileSync('unshare', ['-n', 'true'], { stdio: 'ignore' });
    return null;
  } catch {
    return 'the kernel refuses network namespaces';
  }
}

/** Namespaces that exist: removed at the end of the process at the latest. */
const namespaces = new Set<string>();
process.on('exit', () => {
  for (const name of namespaces) removeNamespace(name);
});

function removeNamespace(name: string): void {
  namespaces.delete(name);
  execFileSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
}

let networks = 0;

/** A bridge and the pods on it, one CA, one policy. Whoever made it disposes of it. */
export class PodNetwork implements AsyncDisposable {
  readonly ca: TestCa = new TestCa();
  readonly folder: Folder = new Folder('weft-pods-');
  readonly pods: Pod[] = [];
  private readonly name: string;
  private readonly captures: Program[] = [];

  private constructor() {
    this.name = `weft-${process.pid}-${networks++}`;
    // weft's user reads it.
    chmodSync(this.folder.path, 0o755);
  }

  static async create(): Promise<PodNetwork> {
    const network = new PodNetwork();
    await network.makeNamespace(
      network.name,
      `
      ip link add bridge type bridge forward_delay 0
      ip addr add 10.77.0.1/24 dev bridge
      ip addr add fd77::1/64 dev bridge nodad
      ip link set bridge up`,
    );
    return network;
  }

  /** A pod with an application and, until `Pod.redirect`, no redirect. */
  async pod(name: string): Promise<Pod> {
    const number = this.pods.length + 10;
    const pod = new Pod(this, name, `${this.name}-${name}`, `10.77.0.${number}`, `fd77::${number}`);
    this.pods.push(pod);
    await this.makeNamespace(pod.namespace, '');
    await this.shell(
      this.name,
      `
      ip link add p${number} type veth peer name eth0 netns ${pod.namespace}
      ip link set p${number} master bridge up`,
    );
    await this.shell(
      pod.namespace,
      `
      ip link set eth0 up
      ip addr add ${pod.ipv4}/24 dev eth0
      ip addr add ${pod.ipv6}/64 dev eth0 nodad
      ip route add default via 10.77.0.1
      ip -6 route add default via fd77::1`,
    );
    await pod.startApp();
    return pod;
  }

  /** The policy of every sidecar, replaced at once. */
  write(documents: readonly string[]): string {
    this.folder.write('policy/policy.yaml', policyText(documents));
    return `${this.folder.path}/policy`;
  }

  /** What crosses the bridge while `during` runs, and until `complete` is content with it. */
  async capture(during: () => Promise<unknown>, complete: (packets: Packet[]) => boolean): Promise<Packet[]> {
    const file = `${this.folder.path}/bridge-${this.captures.length}.pcap`;
    const tcpdump = ['tcpdump', '--immediate-mode', '-i', 'bridge', '-n', '-U', '-Z', 'root', '-w', file, 'tcp or udp'];
    const capture = startProgram({ command: 'ip', args: ['netns', 'exec', this.name, ...tcpdump] });
    this.captures.push(capture);
    await capture.waitForLine((line) => line.includes('listening on') || undefined);
    await during();
    const packets = await eventually('the capture is complete', () => {
      const seen = packetsOf(readFileSync(file));
      return complete(seen) ? seen : undefined;
    });
    await capture.kill();
    return packets;
  }

  /** Runs lines of shell in a namespace; rejects with what it printed where one fails. */
  async shell(namespace: string, script: string): Promise<string> {
    return runProgram({ command: 'ip', args: ['netns', 'exec', namespace, 'sh', '-ec', script] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.pods.map((pod) => pod.stop()), ...this.captures.map((capture) => capture.kill())]);
    for (const name of [...this.pods.map(({ namespace }) => namespace), this.name]) {
      if (namespaces.has(name)) removeNamespace(name);
    }
    this.folder.remove();
  }

  private async makeNamespace(name: string, script: string): Promise<void> {
    await runProgram({ command: 'ip', args: ['netns', 'add', name] });
    namespaces.add(name);
    await this.shell(name, `ip link set lo up\n${script}`);
  }
}

export interface SidecarOptions {
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
}

export class Pod {
  readonly name: string;
  readonly namespace: string;
  readonly ipv4: string;
  readonly ipv6: string;
  weft: Program | null = null;
  private readonly network: PodNetwork;
  private app: PodApp | null = null;

  constructor(network: PodNetwork, name: string, namespace: string, ipv4: string, ipv6: string) {
    this.network = network;
    this.name = name;
    this.namespace = namespace;
    this.ipv4 = ipv4;
    this.ipv6 = ipv6;
  }

  /** `weft init` with these flags; answers what it printed. */
  redirect(...flags: string[]): Promise<string> {
    return runProgram(this.program([process.execPath, MAIN, 'init', ...flags]));
  }

  /** `weft proxy` as user 1337 on its usual ports; up, but perhaps not ready. */
  launchWeft({ serviceAccount = this.name, labels = {}, flags = [] }: SidecarOptions = {}): Program {
    const { folder, ca } = this.network;
    const certs = `${folder.path}/${this.name}-certs`;
    writeIdentity(certs, ca.identity(`default/${serviceAccount}`));
    const text = Object.entries(labels).map(([name, value]) => `${name}="${value}"\n`);
    const file = folder.write(`${this.name}-labels`, text.join(''));
    const own = ['--policy', `${folder.path}/policy`, '--certs', certs, '--service-account', serviceAccount];
    // The sources and keys may be for root's eyes only; the user is what the redirect goes by.
    const user = ['setpriv', `--reuid=${WEFT_UID}`, `--regid=${WEFT_UID}`, '--clear-groups'];
    const mayRead = ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search'];
    const command = [process.execPath, MAIN, 'proxy', ...own, '--labels', file, '--pod', this.name, ...flags];
    this.weft = startProgram(this.program([...user, ...mayRead, ...command]));
    return this.weft;
  }

  /** The same, and ready. */
  async startWeft(options: SidecarOptions = {}): Promise<Program> {
    const weft = this.launchWeft(options);
    await this.weftReady();
    return weft;
  }

  async weftReady(): Promise<void> {
    const { weft } = this;
    if (weft === null) throw new Error('no sidecar was started');
    await weft.waitForLine(
      (line) => (line.includes('"listening"') && line.includes('"outbound"')) || undefined,
      START_MS,
    );
  }

  /** Sum of a metric's series whose line holds every one of `labels`. */
  async metric(name: string, ...labels: string[]): Promise<number> {
    const { text } = await this.do('get', { host: '127.0.0.1', port: 15_020, path: '/metrics' });
    return sumOfSeries(text, name, ...labels);
  }

  async startApp(): Promise<void> {
    this.app = await PodApp.start(this.program([process.execPath, APP]), this.name);
  }

  /** Has the application do something; rejects with the code of its error. */
  do<K extends keyof Operations>(name: K, ...options: Parameters<Operations[K]>): ReturnType<Operations[K]> {
    if (this.app === null) throw new Error(`${this.name} has no application`);
    return this.app.order(name, options[0]) as ReturnType<Operations[K]>;
  }

  /** A request that is served: who served it and how. */
  async seen(host: string, port: number, headers: Readonly<Record<string, string>> = {}): Promise<Seen> {
    const { status, text } = await this.do('get', { host, port, headers });
    if (status !== 200) throw new Error(`status ${status}: ${text}`);
    return JSON.parse(text) as Seen;
  }

  stopApp(): void {
    this.app?.kill();
    this.app = null;
  }

  async killWeft(): Promise<Exit> {
    if (this.weft === null) throw new Error('no sidecar was started');
    return this.weft.kill();
  }

  async shell(script: string): Promise<string> {
    return this.network.shell(this.namespace, script);
  }

  async stop(): Promise<void> {
    this.app?.kill();
    await this.weft?.kill();
  }

  private program(words: readonly string[]): { command: string; args: string[] } {
    return { command: 'ip', args: ['netns', 'exec', this.namespace, ...words] };
  }
}

/** The application's process, and the channel to it. */
class PodApp {
  private readonly child: ChildProcess;
  private readonly pending = new Map<number, PromiseWithResolvers<unknown>>();
  private orders = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
    child.on('message', ({ id, value, error }: Reply) => {
      const waiting = this.pending.get(id);
      this.pending.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(error));
    });
    child.on('exit', () => {
      for (const { reject } of this.pending.values()) reject(new Error('the application is gone'));
      this.pending.clear();
    });
  }

  static async start({ command, args }: { command: string; args: string[] }, pod: string): Promise<PodApp> {
    const env = { ...process.env, POD: pod };
    const child = spawn(command, args, { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const app = new PodApp(child);
    await once(child, 'message', { signal: AbortSignal.timeout(START_MS) });
    return app;
  }

  order(name: keyof Operations, options: unknown): Promise<unknown> {
    const id = ++this.orders;
    const waiting = Promise.withResolvers<unknown>();
    this.pending.set(id, waiting);
    this.child.send({ id, name, options: options as never } satisfies Order);
    return waiting.promise;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}
