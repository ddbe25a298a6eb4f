/**
 * Load from this process over keep-alive connections, closed loop (each connection asks again when it has its answer)
 * or open loop (requests start by the clock, whatever the answers do), with every failure counted by its kind.
 */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';

export interface LoadOptions {
  readonly port: number;
  readonly host?: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Most connections at a time. */
  readonly connections: number;
  /** A request without its whole answer by then has failed. */
  readonly timeoutMs?: number;
  /** Ends the load early. */
  readonly signal?: AbortSignal;
  /** What is wrong with a whole answer of status 2xx; null for nothing. */
  readonly check?: (body: Buffer, answer: IncomingMessage) => string | null;
}

export interface LoadReport {
  readonly sent: number;
  readonly succeeded: number;
  /** Kind of failure (`status 503`, `ECONNRESET`, `timeout`, `cut`, or what `check` said) to how often. */
  readonly failures: ReadonlyMap<string, number>;
  /** Milliseconds of the successful requests, sorted; open loop: from the time the request was due. */
  readonly latencies: readonly number[];
}

const DEFAULT_TIMEOUT_MS = 10_000;

class Load {
  sent = 0;
  readonly failures = new Map<string, number>();
  readonly latencies: number[] = [];
  private readonly options: LoadOptions;
  private readonly agent: Agent;

  constructor(options: LoadOptions) {
    this.options = options;
    this.agent = new Agent({ keepAlive: true, maxSockets: options.connections, scheduling: 'fifo' });
  }

  /** One request; `dueAt` is what its latency counts from. */
  async request(dueAt: number): Promise<void> {
    this.sent += 1;
    const failure = await this.attempt();
    if (failure === null) this.latencies.push(performance.now() - dueAt);
    else this.failures.set(failure, (this.failures.get(failure) ?? 0) + 1);
  }

  report(): LoadReport {
    this.agent.destroy();
    return {
      sent: this.sent,
      succeeded: this.latencies.length,
      failures: this.failures,
      latencies: this.latencies.sort((a, b) => a - b),
    };
  }

  private attempt(): Promise<string | null> {
    const { options, agent } = this;
    const { host = '127.0.0.1', port, method = 'GET', path = '/', headers = {}, body } = options;
    return new Promise((resolve) => {
      const request = httpRequest({ agent, host, port, method, path, headers }, (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('error', () => resolve('cut'));
        answer.on('close', () => resolve(answer.complete ? this.judge(answer, Buffer.concat(parts)) : 'cut'));
      });
      request.setTimeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS, () => {
        resolve('timeout');
        request.destroy();
      });
      request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      request.end(body);
    });
  }

  private judge(answer: IncomingMessage, body: Buffer): string | null {
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299) return `status ${status}`;
    return this.options.check?.(body, answer) ?? null;
  }
}

/** Every connection sends its next request when it has its answer, until `requests` are sent or the signal fires. */
export async function closedLoop(options: LoadOptions & { readonly requests?: number }): Promise<LoadReport> {
  const load = new Load(options);
  const most = options.requests ?? Number.POSITIVE_INFINITY;
  if (most === Number.POSITIVE_INFINITY && options.signal === undefined) throw new Error('a load without an end');
  const loop = async (): Promise<void> => {
    while (load.sent < most && options.signal?.aborted !== true) await load.request(performance.now());
  };
  await Promise.all(Array.from({ length: options.connections }, loop));
  return load.report();
}

/** `rate` requests per second for `durationMs`; those that find no free connection wait, and their wait counts. */
export async function openLoop(
  options: LoadOptions & { readonly rate: number; readonly durationMs: number },
): Promise<LoadReport> {
  const load = new Load(options);
  const start = performance.now();
  const total = Math.round((options.rate * options.durationMs) / 1_000);
  const pending: Promise<void>[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const tick = setInterval(() => {
    const due = Math.min(total, Math.floor(((performance.now() - start) * options.rate) / 1_000));
    while (pending.length < due) pending.push(load.request(start + (pending.length * 1_000) / options.rate));
    if (pending.length >= total || options.signal?.aborted === true) resolve();
  }, 1);
  await promise;
  clearInterval(tick);
  await Promise.all(pending);
  return load.report();
}

/** The value below which `share` (0..1) of the sorted values lie; NaN without values. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
