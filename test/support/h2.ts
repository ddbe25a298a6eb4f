/** HTTP/2 for tests: frames made by hand, a connection whose events are recorded as lines, and two back to back. */

import { H2Connection, type H2Options } from '../../proxy/http/h2-connection.ts';
import type { H2Events } from '../../proxy/http/h2-events.ts';
import * as frames from '../../proxy/http/h2-frames.ts';
import { H2Output } from '../../proxy/http/h2-output.ts';
import type { H2Stream } from '../../proxy/http/h2-stream.ts';
import { Fields, RequestHead, ResponseHead } from '../../proxy/http/message.ts';
import { ManualClock } from '../../shared/clock.ts';

export type Pair = readonly [string, string];

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  frames.writeFrameHeader(bytes, 0, payload.length, type, flags, streamId);
  bytes.set(payload, 9);
  return bytes;
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, at) => bytes.writeUInt32BE(value >>> 0, 4 * at));
  return bytes;
}

export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  pairs.forEach(([id, value], at) => {
    payload.writeUInt16BE(id, 6 * at);
    payload.writeUInt32BE(value, 6 * at + 2);
  });
  return frame(frames.SETTINGS, 0, 0, payload);
}

/** A block of literal fields without Huffman or index. */
export function block(fields: readonly Pair[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const size = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>>= 7) size.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...size, rest]), bytes]);
}

export const GET: readonly Pair[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a.test'],
];
export const POST: readonly Pair[] = [[':method', 'POST'], ...GET.slice(1)];
export const OK: readonly Pair[] = [[':status', '200']];

export function headers(streamId: number, fields: readonly Pair[], flags = 0x5): Buffer {
  return frame(frames.HEADERS, flags, streamId, block(fields));
}

export function request(method: string, path: string, fields: readonly Pair[] = [], length = 0): RequestHead {
  const names = ['host', ...fields.map(([name]) => name)];
  const values = ['a.test', ...fields.map(([, value]) => value)];
  return new RequestHead(
    method,
    'http',
    'a.test',
    path,
    new Fields(names, values),
    length,
    20,
    false,
    false,
    false,
    null,
  );
}

export function response(status: number, fields: readonly Pair[] = [], length = -1): ResponseHead {
  const names = fields.map(([name]) => name);
  const values = fields.map(([, value]) => value);
  return new ResponseHead(status, '', new Fields(names, values), length, -1, 20, false, -1, null);
}

/** A connection that writes down what it is told; `on` hooks act within the events. */
export class Recorder {
  readonly lines: string[] = [];
  readonly streams: Map<number, H2Stream<unknown>> = new Map();
  readonly output: H2Output = new H2Output(4096, () => undefined);
  readonly clock: ManualClock = new ManualClock();
  readonly connection: H2Connection<unknown>;
  /** Give received content back at once. */
  consuming = true;
  hooks: Partial<H2Events<unknown>> = {};
  private body = 0;

  constructor(role: 'client' | 'server', options: H2Options = {}) {
    this.connection = new H2Connection<unknown>(role, this.events(), this.output, { clock: this.clock, ...options });
  }

  /** Takes what the connection wants to send, as a copy. */
  take(): Buffer {
    const bytes = Buffer.from(this.output.pending());
    this.output.clear();
    this.connection.flushed();
    return bytes;
  }

  feed(...parts: readonly Buffer[]): this {
    const bytes = Buffer.concat(parts);
    this.connection.feed(bytes, 0, bytes.length);
    return this;
  }

  private note(line: string): void {
    this.body = 0;
    this.lines.push(line);
  }

  private events(): H2Events<unknown> {
    return {
      onRequest: (stream, head, ended) => {
        this.streams.set(stream.id, stream);
        this.note(
          `request ${stream.id} ${head.method} ${head.scheme}://${head.authority}${head.path} ${told(head.fields)} length=${head.length}${mark(ended)}`,
        );
        this.hooks.onRequest?.(stream, head, ended);
      },
      onRequestRefused: (stream, failure, detail) => {
        this.note(`refused ${stream === null ? '-' : stream.id} ${failure.word}: ${detail}`);
        this.hooks.onRequestRefused?.(stream, failure, detail);
      },
      onInterim: (stream, head) => {
        this.note(`interim ${stream.id} ${head.status} ${told(head.fields)}`);
        this.hooks.onInterim?.(stream, head);
      },
      onResponse: (stream, head, ended) => {
        this.note(`response ${stream.id} ${head.status} ${told(head.fields)} length=${head.length}${mark(ended)}`);
        this.hooks.onResponse?.(stream, head, ended);
      },
      onData: (stream, bytes, start, end) => {
        const text = bytes.toString('latin1', start, end);
        // Pieces of one run are one line, so that any split of the input gives the same lines.
        if (this.body === stream.id) this.lines[this.lines.length - 1] += text;
        else this.lines.push(`data ${stream.id} ${text}`);
        this.body = stream.id;
        if (this.consuming) stream.consume(end - start);
        this.hooks.onData?.(stream, bytes, start, end);
      },
      onEnd: (stream, trailers) => {
        this.note(`end ${stream.id}${trailers === null ? '' : ` ${told(trailers)}`}`);
        this.hooks.onEnd?.(stream, trailers);
      },
      onReset: (stream, code, failure, detail) => {
        this.note(`reset ${stream.id} ${frames.errorName(code)}${failure === null ? '' : ` ${failure.word}`}`);
        this.hooks.onReset?.(stream, code, failure, detail);
      },
      onWindow: (stream) => this.hooks.onWindow?.(stream),
      onSettings: (peer) => this.hooks.onSettings?.(peer),
      onPingAck: (token) => this.note(`ping ${token}`),
      onGoaway: (lastId, code) => this.note(`goaway ${lastId} ${frames.errorName(code)}`),
      onConnectionError: (code, detail) => this.note(`failed ${frames.errorName(code)}: ${detail}`),
      onDone: () => this.note('done'),
    };
  }
}

function told(fields: Fields): string {
  return `[${fields.names.map((name, at) => `${name}: ${fields.values[at]}`).join(', ')}]`;
}

function mark(ended: boolean): string {
  return ended ? ' ended' : '';
}

/** The frames in `bytes`, one line each: `RST_STREAM 1 PROTOCOL_ERROR`, `SETTINGS`, `DATA 1 5 END`. */
export function framesIn(bytes: Buffer): string[] {
  const lines: string[] = [];
  let at = bytes.subarray(0, frames.PREFACE.length).equals(frames.PREFACE) ? frames.PREFACE.length : 0;
  while (at < bytes.length) {
    const length = bytes.readUIntBE(at, 3);
    lines.push(frameLine(bytes.subarray(at, at + 9 + length)));
    at += 9 + length;
  }
  return lines;
}

const NAMES = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
];

function frameLine(bytes: Buffer): string {
  const [type, flags] = [bytes.readUInt8(3), bytes.readUInt8(4)];
  const id = bytes.readUInt32BE(5);
  const name = NAMES[type] ?? `TYPE_${type}`;
  if (type === frames.DATA) return `${name} ${id} ${bytes.length - 9}${(flags & 1) === 1 ? ' END' : ''}`;
  if (type === frames.HEADERS) return `${name} ${id}${(flags & 1) === 1 ? ' END' : ''}`;
  if (type === frames.RST_STREAM) return `${name} ${id} ${frames.errorName(bytes.readUInt32BE(9))}`;
  if (type === frames.GOAWAY) return `${name} ${bytes.readUInt32BE(9)} ${frames.errorName(bytes.readUInt32BE(13))}`;
  if (type === frames.WINDOW_UPDATE) return `${name} ${id} ${bytes.readUInt32BE(9)}`;
  return (flags & 1) === 1 ? `${name} ACK` : name;
}

/** A server that has seen the client's preface; what it sent so far is taken. */
export function greetedServer(options: H2Options = {}, ...clientSettings: (readonly [number, number])[]): Recorder {
  const server = new Recorder('server', options);
  server.connection.start();
  server.feed(frames.PREFACE, settings(...clientSettings), frame(frames.SETTINGS, 1, 0));
  server.take();
  return server;
}

/** A client that has seen the server's SETTINGS. */
export function greetedClient(options: H2Options = {}, ...serverSettings: (readonly [number, number])[]): Recorder {
  const client = new Recorder('client', options);
  client.connection.start();
  client.feed(settings(...serverSettings), frame(frames.SETTINGS, 1, 0));
  client.take();
  return client;
}

/** Client and server over nothing. */
export class BackToBack {
  readonly client: Recorder;
  readonly server: Recorder;

  constructor(clientOptions: H2Options = {}, serverOptions: H2Options = {}) {
    this.client = new Recorder('client', clientOptions);
    this.server = new Recorder('server', serverOptions);
    this.client.connection.start();
    this.server.connection.start();
    this.settle();
  }

  /** Carries bytes both ways until none are left; fails the test if that does not end. */
  settle(): void {
    for (let rounds = 0; rounds < 10_000; rounds++) {
      const there = this.client.take();
      this.server.feed(there);
      const back = this.server.take();
      this.client.feed(back);
      if (there.length + back.length === 0) return;
    }
    throw new Error('the two ends never fall silent');
  }
}
