/** What every scene stands on: three services that can be killed, a sidecar before them, callers that number their requests. */
import { Agent, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { plain, TinyMesh } from '../../integration/mesh.ts';
import { trafficPolicy } from '../../support/policy.ts';
import { freePort } from '../../support/ports.ts';
import { type Program, startProgram } from '../../support/process.ts';
import type { Weft } from '../../support/weft.ts';

export const SERVICE = 'shop';
const UPSTREAM = join(import.meta.dirname, 'upstream.ts');
const REQUEST_TIMEOUT_MS = 10_000;

/** What a scene found: figures to print, and what should not have happened. */
export interface Outcome {
  readonly name: string;
  readonly figures: Readonly<Record<string, number | string>>;
  readonly problems: readonly string[];
}

/** A service in a process of its own, on a port that it keeps through its lives. */
export class Victim implements AsyncDisposable {
  readonly port: number;
  /** Ids of POSTs that its lives have acted on. */
  private readonly past: string[] = [];
  private program: Program;

  private constructor(port: number, program: Program) {
    this.port = port;
    this.program = program;
  }

  static async start(): Promise<Victim> {
    const port = await freePort();
    return new Victim(port, await live(port));
  }

  get acted(): string[] {
    return [...this.past, ...actedIn(this.program)];
  }

  /** Ends one life by this signal and begins the next. */
  async restart(signal: 'SIGTERM' | 'SIGKILL', downMs = 0): Promise<void> {
    await this.end(signal);
    await pause(downMs);
    await this.revive();
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await (signal === 'SIGKILL' ? this.program.kill() : this.program.stop('SIGTERM', 5_000));
    this.past.push(...actedIn(this.program));
  }

  async revive(): Promise<void> {
    this.program = await live(this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program.kill();
  }
}

async function live(port: number): Promise<Program> {
  const program = startProgram({ command: process.execPath, args: [UPSTREAM, String(port)] });
  await program.waitForLine((line) => line === 'listening' || undefined);
  return program;
}

function actedIn(program: Program): string[] {
  return program.lines.filter((line) => line.startsWith('acted ')).map((line) => line.slice('acted '.length));
}

export interface Stage extends AsyncDisposable {
  readonly weft: Weft;
  readonly mesh: TinyMesh;
  readonly victims: readonly Victim[];
}

/** `spec` is the TrafficPolicy of the service, if it has one. */
export async function setStage(spec?: Readonly<Record<string, unknown>>): Promise<Stage> {
  const mesh = new TinyMesh();
  const victims = await Promise.all([Victim.start(), Victim.start(), Victim.start()]);
  for (const victim of victims) mesh.own(victim);
  const documents = plain({ name: SERVICE, endpoints: victims.map(({ port }) => port) });
  const weft = await mesh.start({ account: 'caller' });
  await mesh.apply(weft, 'caller', spec === undefined ? documents : [...documents, trafficPolicy(SERVICE, spec)]);
  return { weft, mesh, victims, [Symbol.asyncDispose]: () => mesh[Symbol.asyncDispose]() };
}

/** Callers in a closed loop; each request has an id of its own. */
export class Callers {
  sent = 0;
  readonly failures: Map<string, number> = new Map();
  readonly latencies: number[] = [];
  private readonly agent: Agent;
  private readonly port: number;
  private readonly method: 'GET' | 'POST';
  private readonly connections: number;
  private readonly gapMs: number;
  private readonly host: string;
  private stopped = false;

  /** `gapMs`: pause between two requests of one caller. */
  constructor(weft: Weft, method: 'GET' | 'POST', connections: number, gapMs: number, host: string = SERVICE) {
    this.agent = new Agent({ keepAlive: true, maxSockets: connections });
    this.port = weft.ports.outbound;
    this.method = method;
    this.connections = connections;
    this.gapMs = gapMs;
    this.host = host;
  }

  get failed(): number {
    return this.sent - this.latencies.length;
  }

  /** Until `stop`, or until so many requests are sent. */
  async run(requests: number = Number.POSITIVE_INFINITY): Promise<void> {
    const loop = async (): Promise<void> => {
      while (!this.stopped && this.sent < requests) {
        const startedAt = performance.now();
        const failure = await this.one(`${this.method}-${this.sent++}`);
        if (failure === null) this.latencies.push(performance.now() - startedAt);
        else this.failures.set(failure, (this.failures.get(failure) ?? 0) + 1);
        if (this.gapMs > 0) await pause(this.gapMs);
      }
    };
    await Promise.all(Array.from({ length: this.connections }, loop));
    this.agent.destroy();
  }

  stop(): void {
    this.stopped = true;
  }

  private one(id: string): Promise<string | null> {
    const { agent, port, method } = this;
    const { promise, resolve } = Promise.withResolvers<string | null>();
    const headers = { host: this.host, 'x-id': id };
    const request = httpRequest({ agent, host: '127.0.0.1', port, method, headers }, (answer) => {
      answer.on('error', () => resolve('cut'));
      answer.on('close', () => {
        if (!answer.complete) resolve('cut');
        else resolve(answer.statusCode === 200 ? null : `status ${answer.statusCode} ${wordIn(answer.headers)}`);
      });
      answer.resume();
    });
    request.setTimeout(REQUEST_TIMEOUT_MS, () => request.destroy(new Error('timeout')));
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    request.end(method === 'POST' ? 'x'.repeat(100) : undefined);
    return promise;
  }
}

function wordIn(headers: Readonly<Record<string, string | readonly string[] | undefined>>): string {
  return /details="([a-z_]+)/.exec(String(headers['proxy-status'] ?? ''))?.[1] ?? '';
}

/** Ids that stand more than once. */
export function doubled(ids: readonly string[]): number {
  return ids.length - new Set(ids).size;
}

export function listed(failures: ReadonlyMap<string, number>): string {
  return [...failures].map(([kind, count]) => `${count} × ${kind}`).join(', ');
}
