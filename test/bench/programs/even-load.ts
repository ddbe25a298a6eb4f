/**
 * Open-loop load at an even rate: requests fall due by the clock, whatever the answers do. A process of its own that does
 * nothing else, so that its own lateness can be told from the proxy's.
 *
 * Arguments: port, host, path, connections, requests per second, milliseconds, and as many of them before as do not
 * count: by then this program is compiled. Prints a line of JSON, `EvenLoadReport`.
 *
 * A latency counts from the moment at which the request could have been sent: when it fell due, as far as this process
 * was awake to see that, and not when a connection came free for it, so that a proxy that stalls is charged for all it
 * kept waiting. How late this process was is reported beside it: it is the machine's doing, not the proxy's.
 */
import { connect, type Socket } from 'node:net';
import type { EvenLoadReport } from '../even-load.ts';

const [port, host, path, connections, rate, milliseconds, leadMilliseconds] = process.argv.slice(2);
const intervalMs = 1_000 / Number(rate);
const lead = Math.round(Number(leadMilliseconds) / intervalMs);
const total = lead + Math.round(Number(milliseconds) / intervalMs);
const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
/** Without an answer for this long there is no figure. */
const PATIENCE_MS = 10_000;
/** How often it looks at the clock, which is as often as Node's timers allow. */
const TICK_MS = 1;
const HEAD_END = '\r\n\r\n';
const LENGTH = /\r\ncontent-length: (\d+)\r\n/i;

// By the number of the request. Those of [taken, due) wait for a connection.
const dueAt = new Float64Array(total);
const lateness = new Float64Array(total);
const latencies = new Float64Array(total);
let due = 0;
let taken = 0;
let answered = 0;

/** One keep-alive connection. */
class Caller {
  private readonly socket: Socket;
  private serial = 0;
  private head = '';
  /** Bytes of the body still to come; -1: the head is not whole. */
  private left = -1;

  constructor() {
    this.socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true });
    this.socket.on('connect', () => ready(this));
    this.socket.on('data', (chunk: Buffer) => this.take(chunk));
    this.socket.on('error', (error) => fail(error.message));
    this.socket.on('end', () => fail('a connection was closed'));
  }

  send(serial: number): void {
    this.serial = serial;
    this.socket.write(request);
  }

  private take(chunk: Buffer): void {
    if (this.left < 0) this.takeHead(chunk);
    else this.left -= chunk.length;
    if (this.left !== 0) return;
    this.left = -1;
    latencies[this.serial] = performance.now() - (dueAt[this.serial] ?? 0);
    answered += 1;
    if (answered === total) report();
    else free(this);
  }

  private takeHead(chunk: Buffer): void {
    this.head += chunk.toString('latin1');
    const end = this.head.indexOf(HEAD_END);
    if (end < 0) return;
    if (!this.head.startsWith('HTTP/1.1 200 ')) fail(this.head.slice(0, 200));
    this.left = Number(LENGTH.exec(this.head)?.[1]) - (this.head.length - end - HEAD_END.length);
    this.head = '';
  }
}

const idle: Caller[] = [];
let waiting = Number(connections);

function ready(caller: Caller): void {
  idle.push(caller);
  waiting -= 1;
  if (waiting === 0) begin();
}

function free(caller: Caller): void {
  if (taken < due) caller.send(taken++);
  else idle.push(caller);
}

function begin(): void {
  const start = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    while (due < total && start + due * intervalMs <= now) {
      lateness[due] = now - (start + due * intervalMs);
      dueAt[due++] = now;
    }
    while (taken < due) {
      const caller = idle.shift();
      if (caller === undefined) break;
      caller.send(taken++);
    }
    if (due === total) clearInterval(timer);
  }, TICK_MS);
}

/** The value below which `share` of the sorted ones lie. */
function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function report(): never {
  const counted = latencies.subarray(lead).sort();
  const figures: EvenLoadReport = {
    p50: quantile(counted, 0.5),
    p99: quantile(counted, 0.99),
    latest: Math.max(...lateness.subarray(lead)),
  };
  console.log(JSON.stringify(figures));
  process.exit();
}

function fail(why: string): never {
  console.error(`${answered} of ${total} answered: ${why}`);
  process.exit(1);
}

for (let i = waiting; i > 0; i -= 1) new Caller();
setTimeout(() => fail('no answer'), total * intervalMs + PATIENCE_MS);
