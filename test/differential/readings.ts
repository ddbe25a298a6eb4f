/** What each party of a differential run understood: one reading per request, from its access log. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startNginx } from '../support/nginx.ts';
import { freePorts } from '../support/ports.ts';
import type { Program } from '../support/process.ts';
import type { Weft } from '../support/weft.ts';
import type { RequestStream } from './streams.ts';

/** One request as a proxy read it. */
export interface Reading {
  /** Without its query, which a log may redact. */
  readonly path: string;
  readonly bodyBytes: number;
  /** It was whole, went upstream and was answered from there with 200. */
  readonly isDone: boolean;
}

/** When this request is in a log, everything sent before it is. */
const LAST = '/the-last-one';
const AT_A_TIME = 16;
/** Without a byte for so long, a connection waits for the rest of a body that will not come. */
const QUIET_MS = 400;

/** Sends every stream on a connection of its own and waits until its proxy has said all that it will. */
export async function sendAll(port: number, streams: readonly RequestStream[]): Promise<void> {
  const waiting = [...streams];
  const loop = async (): Promise<void> => {
    for (let stream = waiting.shift(); stream !== undefined; stream = waiting.shift()) await sendOne(port, stream);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, loop));
}

async function sendOne(port: number, { index, text }: RequestStream): Promise<void> {
  using client = await openClient(port);
  await client.write(`${text}GET /end-${index} HTTP/1.1\r\nHost: backend\r\nConnection: close\r\n\r\n`);
  for (let seen = -1; seen !== client.received.length; ) {
    seen = client.received.length;
    await client.until(() => (client.received.length > seen ? true : undefined), QUIET_MS).catch(() => undefined);
  }
}

async function sendLast(port: number): Promise<void> {
  using client = await openClient(port);
  await client.exchange(`GET ${LAST} HTTP/1.1\r\nHost: backend\r\nConnection: close\r\n\r\n`);
}

/** nginx in front of `next`, with a log that says how it read each request. */
export class LoggingNginx implements AsyncDisposable {
  readonly port: number;
  private readonly program: Program;
  private readonly log: string;

  private constructor(program: Program, port: number, log: string) {
    this.program = program;
    this.port = port;
    this.log = log;
  }

  /** `next` null: it answers everything itself, with 200 and once the body is read. */
  static async start(folder: string, name: string, next: number | null): Promise<LoggingNginx> {
    const [port = 0, own = 0] = await freePorts(2);
    const log = join(folder, `${name}.log`);
    const http = `
  log_format reading escape=json '{"path":"$uri","status":"$upstream_status","body":"$request_body"}';
  client_body_buffer_size 64k;
  proxy_http_version 1.1;
  server { listen 127.0.0.1:${own}; location / { return 200; } }
  server {
    listen 127.0.0.1:${port};
    access_log ${log} reading;
    location / { proxy_pass http://127.0.0.1:${next ?? own}; proxy_set_header Host backend; }
  }`;
    return new LoggingNginx(await startNginx({ folder, name, http, ports: [port, own] }), port, log);
  }

  async readings(): Promise<Reading[]> {
    await sendLast(this.port);
    const text = await eventually('nginx logs the last request', () => {
      const lines = readFileSync(this.log, 'latin1');
      return lines.includes(LAST) ? lines : undefined;
    });
    return withoutLast(text.trimEnd().split('\n').map(nginxReading));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program.kill();
  }
}

function nginxReading(line: string): Reading {
  const { path, status, body } = JSON.parse(line) as { path: string; status: string; body: string };
  return { path, bodyBytes: body.length, isDone: status === '200' };
}

/** What a sidecar with `--access-log json` read. */
export async function weftReadings(weft: Weft): Promise<Reading[]> {
  await sendLast(weft.ports.outbound);
  await weft.program.waitForLine((line) => (line.includes(LAST) ? true : undefined));
  return withoutLast(weft.program.lines.flatMap(weftReading));
}

interface AccessLine {
  readonly msg?: string;
  readonly path: string;
  readonly status: number;
  readonly word: string;
  readonly upstream: string;
  readonly request_bytes: number;
}

function weftReading(line: string): Reading[] {
  const entry = JSON.parse(line) as AccessLine;
  if (entry.path === undefined) return [];
  const isDone = entry.status === 200 && entry.word === '' && entry.upstream !== '';
  return [{ path: entry.path.split('?')[0] ?? '', bodyBytes: entry.request_bytes, isDone }];
}

export function withoutLast(readings: readonly Reading[]): Reading[] {
  return readings.filter((reading) => reading.path !== LAST);
}
