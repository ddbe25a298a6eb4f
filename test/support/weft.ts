/** A real sidecar under test, started from the source on ports of its own choice. */
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { type Exit, type Program, startProgram } from './process.ts';

export type Listener = 'inbound' | 'outbound' | 'admin' | 'metrics' | 'ready';
export type Ports = Readonly<Record<Listener, number>>;

/** Up from the start; the others when the sidecar has a policy and a certificate. */
const SERVERS: readonly Listener[] = ['admin', 'metrics', 'ready'];
const TRAFFIC: readonly Listener[] = ['inbound', 'outbound'];
export const ROOT: string = join(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'proxy/main.ts');
/** Of each step of a start, and of an answer, on a machine that has others to start as well. */
const START_MS = 30_000;
const ASK_MS = 10_000;

export interface WeftOptions {
  /** The program, if not the source: a bundle. */
  readonly main?: string;
  /** Folder of policy files. */
  readonly policy: string;
  /** Folder with `tls.crt`, `tls.key`, `ca.crt`. */
  readonly certs: string;
  /** `host:port` of the application. */
  readonly app?: string | undefined;
  /** Further flags of `weft proxy`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly nodeFlags?: readonly string[];
  readonly cpu?: number | string | undefined;
  /** File descriptors that it may have, hard limit and soft. */
  readonly descriptors?: number;
  /** Given: the ports to use, else any free ones, read from what weft prints. */
  readonly ports?: Ports;
  /** Takes the output instead of memory; needs `ports`. */
  readonly outputFile?: string;
}

/** A running sidecar. Whoever started it stops it. */
export class Weft implements AsyncDisposable {
  readonly program: Program;
  /** Where it listens; a traffic listener has port 0 until `ready`. */
  readonly ports: Record<Listener, number>;

  constructor(program: Program, ports: Ports) {
    this.program = program;
    this.ports = { ...ports };
  }

  get pid(): number {
    return this.program.pid;
  }

  /** What one of the HTTP servers beside the data path answers. */
  ask(listener: 'admin' | 'metrics' | 'ready', path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.ports[listener]}${path}`, { ...init, signal: AbortSignal.timeout(ASK_MS) });
  }

  async metrics(): Promise<string> {
    return (await this.ask('metrics', '/metrics')).text();
  }

  /** Sum of all series of a metric whose line holds every one of `labels` (`name="value"`). */
  async metric(name: string, ...labels: string[]): Promise<number> {
    return sumOfSeries(await this.metrics(), name, ...labels);
  }

  async isReady(): Promise<boolean> {
    const answer = await this.ask('ready', '/healthz/ready');
    await answer.text();
    return answer.status === 200;
  }

  /** Resolves when readiness answers 200, with the traffic listeners known. */
  async ready(timeoutMs: number = START_MS): Promise<void> {
    if (this.ports.outbound === 0) Object.assign(this.ports, await printedPorts(this.program, TRAFFIC, timeoutMs));
    const ask = async (): Promise<true | undefined> => {
      if (this.program.exited !== null) throw new Error(this.program.output);
      return (await this.isReady()) || undefined;
    };
    await eventually('weft is ready', ask, timeoutMs).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.program.output}`, { cause: error });
    });
  }

  /** SIGTERM, and the end of the drain. */
  stop(timeoutMs = 30_000): Promise<Exit> {
    return this.program.stop('SIGTERM', timeoutMs);
  }

  kill(): Promise<Exit> {
    return this.program.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** The same sum in the text of a page of metrics. */
export function sumOfSeries(metrics: string, name: string, ...labels: string[]): number {
  const lines = metrics.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  const fitting = lines.filter((line) => labels.every((label) => line.includes(label)));
  return fitting.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** Starts a sidecar and returns when its admin, metrics and readiness servers are up; ready it may not be yet (`ready`). */
export async function launchWeft(options: WeftOptions): Promise<Weft> {
  const own = [process.execPath, ...(options.nodeFlags ?? []), options.main ?? MAIN, 'proxy', ...proxyFlags(options)];
  const { descriptors } = options;
  const [command = '', ...args] = descriptors === undefined ? own : ['prlimit', `--nofile=${descriptors}`, ...own];
  const program = startProgram({
    command,
    args,
    env: options.env,
    cpu: options.cpu,
    outputFile: options.outputFile,
  });
  try {
    const ports = options.ports ?? { ...(await printedPorts(program, SERVERS)), inbound: 0, outbound: 0 };
    return new Weft(program, ports);
  } catch (error) {
    await program.kill();
    throw error;
  }
}

/** Starts a sidecar and returns when it is ready. */
export async function startWeft(options: WeftOptions): Promise<Weft> {
  const weft = await launchWeft(options);
  try {
    await weft.ready();
    return weft;
  } catch (error) {
    await weft.kill();
    throw error;
  }
}

function proxyFlags(options: WeftOptions): string[] {
  const listeners = [...SERVERS, ...TRAFFIC].flatMap((name) => [
    `--${name}`,
    `127.0.0.1:${options.ports?.[name] ?? 0}`,
  ]);
  const app = options.app === undefined ? [] : ['--app', options.app];
  return ['--policy', options.policy, '--certs', options.certs, ...listeners, ...app, ...(options.flags ?? [])];
}

async function printedPorts(
  program: Program,
  listeners: readonly Listener[],
  timeoutMs: number = START_MS,
): Promise<Record<Listener, number>> {
  const entries = await Promise.all(
    listeners.map(async (name) => [name, await program.waitForLine((line) => portOf(line, name), timeoutMs)] as const),
  );
  return Object.fromEntries(entries) as Record<Listener, number>;
}

/** The port in the log line that weft writes for each listener. */
function portOf(line: string, listener: Listener): number | undefined {
  if (!line.includes('"listening"')) return undefined;
  const entry = JSON.parse(line) as { msg?: string; listener?: string; address?: string };
  if (entry.msg !== 'listening' || entry.listener !== listener || entry.address === undefined) return undefined;
  return Number(entry.address.slice(entry.address.lastIndexOf(':') + 1));
}
