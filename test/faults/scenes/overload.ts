/**
 * Three times more than can be served: by the sidecar itself, and by a service behind it. The machine has other work, too:
 * what the sidecar can do counts per second of its own CPU time, and what either can do is measured before and after.
 */
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { median } from '../../bench/compare.ts';
import { cpuMicros } from '../../bench/cpu.ts';
import { get, plain, TinyMesh } from '../../integration/mesh.ts';
import { type Behaviour, startBackend } from '../../support/backend.ts';
import { closedLoop, openLoop, quantile } from '../../support/load.ts';
import { trafficPolicy } from '../../support/policy.ts';
import type { Weft } from '../../support/weft.ts';
import { type Outcome, SERVICE } from './stage.ts';

const FACTOR = 3;
/** Capacity and overload in turn: what others do on the machine spoils one of them at most. */
const ROUNDS = 3;
const MIN_GOODPUT = 0.8;
/** A kubelet's probe gives up after a second. */
const PROBE_MS = 1_000;

const CALLERS = 256;

/** More requests than the sidecar can carry, to a service that costs far less than the sidecar does. */
export async function overloadedSidecar(seconds: number): Promise<Outcome> {
  await using mesh = new TinyMesh();
  const service = mesh.own(await RawService.listen());
  const weft = await mesh.start({ account: 'caller' });
  await mesh.apply(weft, 'caller', plain({ name: SERVICE, endpoints: [service.port] }));
  using callers = await RawCallers.connect(weft.ports.outbound, CALLERS);
  const saturate = (): Promise<Capacity> => perCpuSecond(weft.pid, () => callers.saturate(seconds));
  await saturate();
  const capacities = [await saturate()];
  const rounds: { readonly goodput: Capacity; readonly probes: Probes; readonly share: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = capacities.at(-1) as Capacity;
    const [goodput, probes] = await Promise.all([
      perCpuSecond(weft.pid, () => callers.offer(FACTOR * before.rate, seconds)),
      probeReadiness(weft, seconds * 1_000),
    ]);
    const after = await saturate();
    capacities.push(after);
    rounds.push({ goodput, probes, share: goodput.perCpu / Math.min(before.perCpu, after.perCpu) });
  }
  const share = median(rounds.map((round) => round.share));
  const capacity = median(capacities.map(({ rate }) => rate));
  const figures = {
    'requests/s at capacity': Math.round(capacity),
    'offered/s': Math.round(FACTOR * capacity),
    'answered/s': Math.round(median(rounds.map(({ goodput }) => goodput.rate))),
    'goodput per CPU second': `${Math.round(share * 100)} %`,
    'slowest readiness ms': Math.round(Math.max(...rounds.map(({ probes }) => probes.slowestMs))),
  };
  const problems = [
    ...(share < MIN_GOODPUT ? [`goodput is ${Math.round(share * 100)} % of the capacity`] : []),
    ...rounds.flatMap(({ probes }) => probes.problems),
  ];
  return { name: '3 × overload of the sidecar', figures, problems };
}

/** Answers per second, and per second of CPU time that this process has used for them. */
async function perCpuSecond(pid: number, work: () => Promise<Answered>): Promise<Capacity> {
  const before = cpuMicros([pid]);
  const { answers, seconds } = await work();
  return { rate: answers / seconds, perCpu: (answers * 1e6) / (cpuMicros([pid]) - before) };
}

interface Capacity {
  readonly rate: number;
  readonly perCpu: number;
}

interface Answered {
  readonly answers: number;
  readonly seconds: number;
}

const WORKERS = 5;
const WORK_MS = 10;
/** A caller has given up by then. */
const USEFUL_MS = 250;

/** More requests than a service can do; adaptive concurrency keeps its queue short and refuses the rest. */
export async function overloadedService(seconds: number): Promise<Outcome> {
  await using mesh = new TinyMesh();
  const backend = mesh.own(await startBackend(workers(WORKERS, WORK_MS)));
  const weft = await mesh.start({ account: 'caller' });
  const load = { port: weft.ports.outbound, headers: { host: SERVICE } };
  await mesh.apply(weft, 'caller', plain({ name: SERVICE, endpoints: [backend.port] }));
  const saturate = async (): Promise<number> => {
    const signal = AbortSignal.timeout(seconds * 1_000);
    return (await closedLoop({ ...load, connections: 2 * WORKERS, signal })).succeeded / seconds;
  };
  const before = await saturate();
  await mesh.apply(weft, 'caller', [
    ...plain({ name: SERVICE, endpoints: [backend.port] }),
    trafficPolicy(SERVICE, { circuitBreaker: { adaptiveConcurrency: { probeInterval: '2s' } } }),
  ]);
  const rate = FACTOR * before;
  const [report, probes] = await Promise.all([
    openLoop({ ...load, connections: 500, rate, durationMs: seconds * 1_000 }),
    probeReadiness(weft, seconds * 1_000),
  ]);
  const capacity = Math.min(before, await saturate());
  const useful = report.latencies.filter((ms) => ms <= USEFUL_MS).length;
  const share = useful / seconds / capacity;
  const refused = await weft.metric('weft_refusals_total', 'word="concurrency_limit"');
  const others = [...report.failures].filter(([kind]) => kind !== 'status 503');
  const figures = {
    'requests/s at capacity': Math.round(capacity),
    'offered/s': Math.round(rate),
    goodput: `${Math.round(share * 100)} %`,
    refused,
    'p99 ms': Math.round(quantile(report.latencies, 0.99)),
    'slowest readiness ms': Math.round(probes.slowestMs),
  };
  const problems = [
    ...(share < MIN_GOODPUT ? [`goodput is ${Math.round(share * 100)} % of the capacity`] : []),
    ...(refused === 0 ? ['nobody was refused'] : []),
    ...(others.length > 0 ? [`failed otherwise: ${others.map(([kind]) => kind).join(', ')}`] : []),
    ...probes.problems,
  ];
  return { name: '3 × overload of a service', figures, problems };
}

/** So many at a time, the others in order. */
function workers(count: number, ms: number): Behaviour {
  let busy = 0;
  const waiting: (() => void)[] = [];
  const work = (answer: () => void): void => {
    busy++;
    setTimeout(() => {
      busy--;
      answer();
      const next = waiting.shift();
      if (next !== undefined) work(next);
    }, ms);
  };
  return (_request, response) => {
    const answer = (): void => void response.writeHead(200, { 'content-length': 0 }).end();
    if (busy < count) work(answer);
    else waiting.push(answer);
  };
}

const REQUEST = get(SERVICE);
const RESPONSE = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const HEAD_END = '\r\n\r\n';
const ANSWER = 'HTTP/1.1 ';
const STATUS = '200';
const DRAIN_MS = 60_000;

/** A service that reads no more of a request than its end. */
class RawService implements AsyncDisposable {
  readonly port: number;
  private readonly server: Server;
  private readonly sockets: Set<Socket>;

  private constructor(server: Server, sockets: Set<Socket>) {
    this.server = server;
    this.sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
  }

  static async listen(): Promise<RawService> {
    const sockets = new Set<Socket>();
    const server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      let rest = '';
      socket.setEncoding('latin1');
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
      socket.on('data', (text: string) => {
        const heads = (rest + text).split(HEAD_END);
        rest = heads.pop() as string;
        if (heads.length > 0) socket.write(RESPONSE.repeat(heads.length));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new RawService(server, sockets);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** Connections that write requests without waiting and only count answers: they cost less than what they ask for. */
class RawCallers implements Disposable {
  private readonly sockets: readonly Socket[];
  private asked = 0;
  private heard = 0;
  /** Of those heard, the good ones. */
  private answers = 0;
  /** Asked again as soon as it has answered. */
  private closed = false;

  private constructor(sockets: readonly Socket[]) {
    this.sockets = sockets;
    for (const socket of sockets) {
      const answers = new AnswerCount();
      socket.setEncoding('latin1');
      socket.on('error', () => socket.destroy());
      socket.on('data', (text: string) => {
        const { all, good } = answers.in(text);
        this.heard += all;
        this.answers += good;
        if (this.closed) this.ask(socket, all);
      });
    }
  }

  static async connect(port: number, count: number): Promise<RawCallers> {
    const connecting = Array.from({ length: count }, () => {
      const { promise, resolve, reject } = Promise.withResolvers<Socket>();
      const socket = createConnection(port, '127.0.0.1', () => resolve(socket)).once('error', reject);
      return promise;
    });
    return new RawCallers(await Promise.all(connecting));
  }

  /** Each connection has one request under way. */
  saturate(seconds: number): Promise<Answered> {
    this.closed = true;
    for (const socket of this.sockets) this.ask(socket, 1);
    return this.count(seconds, () => {
      this.closed = false;
    });
  }

  /** So many requests per second are written, whatever is answered. */
  offer(rate: number, seconds: number): Promise<Answered> {
    const [startedAt, before] = [performance.now(), this.asked];
    const timer = setInterval(() => {
      const due = Math.floor((rate * (performance.now() - startedAt)) / 1_000) + before - this.asked;
      for (const socket of this.sockets) this.ask(socket, Math.ceil(due / this.sockets.length));
    }, 10);
    return this.count(seconds, () => clearInterval(timer));
  }

  [Symbol.dispose](): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private ask(socket: Socket, requests: number): void {
    this.asked += requests;
    socket.write(REQUEST.repeat(requests));
  }

  /** Whatever was asked is answered in the end, too late or not. */
  private async drain(): Promise<void> {
    const deadline = performance.now() + DRAIN_MS;
    while (this.heard < this.asked && performance.now() < deadline) await pause(20);
    if (this.heard < this.asked) throw new Error(`${this.asked - this.heard} requests were never answered`);
  }

  /** Asks for so long, and counts what was answered until the last of it is. */
  private async count(seconds: number, stop: () => void): Promise<Answered> {
    const [before, startedAt] = [this.answers, performance.now()];
    await pause(seconds * 1_000);
    stop();
    await this.drain();
    return { answers: this.answers - before, seconds: (performance.now() - startedAt) / 1_000 };
  }
}

/** Counts the answers on one connection, wherever reads cut them. */
class AnswerCount {
  private rest = '';

  in(chunk: string): { all: number; good: number } {
    const text = this.rest + chunk;
    let [all, good] = [0, 0];
    let at = text.indexOf(ANSWER);
    for (; at >= 0 && at + ANSWER.length + STATUS.length <= text.length; at = text.indexOf(ANSWER, at + 1)) {
      all++;
      if (text.startsWith(STATUS, at + ANSWER.length)) good++;
    }
    this.rest = at >= 0 ? text.slice(at) : text.slice(1 - ANSWER.length);
    return { all, good };
  }
}

interface Probes {
  readonly slowestMs: number;
  readonly problems: readonly string[];
}

async function probeReadiness(weft: Weft, forMs: number): Promise<Probes> {
  const endAt = performance.now() + forMs;
  let slowestMs = 0;
  let failed = 0;
  while (performance.now() < endAt) {
    const askedAt = performance.now();
    const ready = await weft.isReady().catch(() => false);
    slowestMs = Math.max(slowestMs, performance.now() - askedAt);
    if (!ready) failed++;
    await pause(100);
  }
  const problems = [
    ...(failed > 0 ? [`readiness failed ${failed} times`] : []),
    ...(slowestMs > PROBE_MS ? [`readiness took ${Math.round(slowestMs)} ms`] : []),
  ];
  return { slowestMs, problems };
}
