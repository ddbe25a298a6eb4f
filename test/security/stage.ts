/**
 * Where attacks are played: one real sidecar between whoever attacks and an application that reads strictly and writes down
 * every byte. Outbound leads to it as the Service `app`, inbound (PERMISSIVE) as the own application.
 */
import type { Socket } from 'node:net';
import { expect } from 'vitest';
import { get, plain, type SidecarOptions, TinyMesh, wordOf } from '../integration/mesh.ts';
import { type RawBackend, startRawBackend } from '../support/backend.ts';
import { type Answer, openClient, type RawClient } from '../support/client.ts';
import { document } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';

/** A request as a strict application reads it. */
export interface Seen {
  /** Which of the application's connections it came on, from 0. */
  readonly connection: number;
  readonly head: string;
  readonly body: string;
}

export type Respond = (seen: Seen, socket: Socket) => void;

/** The request's own target as body, so that an answer tells which request it belongs to. */
export const echoTarget: Respond = (seen, socket) => void socket.write(answerWith(targetOf(seen.head)));

export function answerWith(body: string, ...fields: string[]): string {
  const lines = ['HTTP/1.1 200 OK', `Content-Length: ${body.length}`, ...fields];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

export function targetOf(head: string): string {
  return head.split(' ', 2)[1] ?? '';
}

/** Values of a field, its name in lower case, in a head as received. */
export function valuesOf(head: string, name: string): string[] {
  const lines = head.split('\r\n').slice(1);
  const fitting = lines.filter((line) => line.slice(0, line.indexOf(':')).toLowerCase() === name);
  return fitting.map((line) => line.slice(line.indexOf(':') + 1).trim());
}

/** Reads whole requests and hands each to `respond`; what it cannot read it leaves unanswered. */
export class StrictApplication {
  readonly seen: Seen[] = [];
  respond: Respond = echoTarget;
  /** Sees the bytes of the request that is arriving before it is whole; true: they have been dealt with. */
  early: (socket: Socket, arriving: string) => boolean = () => false;
  private readonly consumed = new Map<Socket, number>();
  private readonly numbers = new Map<Socket, number>();

  take(socket: Socket, received: Buffer): void {
    if (!this.numbers.has(socket)) this.numbers.set(socket, this.numbers.size);
    for (;;) {
      const from = this.consumed.get(socket) ?? 0;
      const arriving = received.toString('latin1', from);
      if (this.early(socket, arriving)) return;
      const request = readRequest(arriving);
      if (request === null) return;
      this.consumed.set(socket, from + request.length);
      const seen = { connection: this.numbers.get(socket) ?? -1, head: request.head, body: request.body };
      this.seen.push(seen);
      this.respond(seen, socket);
    }
  }
}

/** The first request in `text`, null while it is not whole. */
function readRequest(text: string): { head: string; body: string; length: number } | null {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return null;
  const head = text.slice(0, headEnd);
  const rest = text.slice(headEnd + 4);
  if (/\r\ntransfer-encoding:/i.test(head)) {
    const chunked = /^((?:(?!0\r)[0-9a-f]+\r\n[^]*?\r\n)*?)0\r\n((?:[^\r]+\r\n)*)\r\n/i.exec(rest);
    if (chunked === null) return null;
    return { head, body: chunked[0], length: headEnd + 4 + chunked[0].length };
  }
  const length = Number(/\r\ncontent-length: ([0-9]+)/i.exec(head)?.[1] ?? 0);
  return rest.length < length ? null : { head, body: rest.slice(0, length), length: headEnd + 4 + length };
}

/** Callers without TLS may speak to the own application. */
export const PERMISSIVE: string = document({
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  metadata: { name: 'default' },
  spec: { mtls: { mode: 'PERMISSIVE' } },
});

export class Stage implements AsyncDisposable {
  readonly mesh: TinyMesh;
  readonly weft: Weft;
  readonly app: StrictApplication;
  readonly backend: RawBackend;
  /** Bytes that each of the application's connections had received at `begin`. */
  private marks: number[] = [];

  private constructor(mesh: TinyMesh, weft: Weft, app: StrictApplication, backend: RawBackend) {
    this.mesh = mesh;
    this.weft = weft;
    this.app = app;
    this.backend = backend;
  }

  static async open(options: Partial<SidecarOptions> = {}): Promise<Stage> {
    const mesh = new TinyMesh();
    const app = new StrictApplication();
    const backend = mesh.own(await startRawBackend((socket, received) => app.take(socket, received)));
    const documents = [...plain({ name: 'app', endpoints: [backend.port] }), PERMISSIVE, ...(options.documents ?? [])];
    const weft = await mesh.start({ account: 'victim', app: backend.port, ...options, documents });
    return new Stage(mesh, weft, app, backend);
  }

  /** Forgets what the application saw, and sets how it answers from now on. */
  begin(respond: Respond = echoTarget): void {
    this.app.seen.length = 0;
    this.app.respond = respond;
    this.app.early = () => false;
    this.marks = this.backend.received.map((received) => received.length);
  }

  outbound(): Promise<RawClient> {
    return openClient(this.weft.ports.outbound);
  }

  inbound(): Promise<RawClient> {
    return openClient(this.weft.ports.inbound);
  }

  /** Asks for `path` on a connection of its own, as any other caller would. */
  async victim(path: string): Promise<Answer> {
    using client = await this.outbound();
    return await client.exchange(get('app', path));
  }

  /** Every byte that the application got since `begin`, whatever it made of them. */
  get bytes(): string {
    return this.backend.received.map((received, i) => received.toString('latin1', this.marks[i] ?? 0)).join('');
  }

  /** Sends `bytes` and expects the end of the connection without an answer, and an application that heard nothing. */
  async expectSilence(bytes: string): Promise<void> {
    this.begin();
    using client = await this.outbound();
    await client.write(bytes);
    await client.ended;
    expect(client.text, bytes).toBe('');
    expect((await this.victim('/after')).body.toString()).toBe('/after');
    expect(
      this.app.seen.map(({ head }) => targetOf(head)),
      bytes,
    ).toEqual(['/after']);
  }

  /** Sends `bytes` and expects weft's own refusal, the end of the connection, and an application that heard nothing. */
  async expectRefusal(bytes: string, status: number, word?: string): Promise<void> {
    this.begin();
    using client = await this.outbound();
    await client.write(bytes);
    const answer = await client.answer();
    expect(answer.status, bytes).toBe(status);
    if (word !== undefined) expect(wordOf(answer), bytes).toBe(word);
    expect(await client.ended, bytes).toBe('fin');
    expect(client.received.length, 'nothing follows the refusal').toBe(answer.end);
    expect((await this.victim('/after')).body.toString()).toBe('/after');
    expect(
      this.app.seen.map(({ head }) => targetOf(head)),
      bytes,
    ).toEqual(['/after']);
    expect(this.bytes).not.toContain('smuggled');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}
