/** A SPIFFE Workload API for tests: real gRPC and protobuf over a Unix socket, told when to speak, refuse, hang and go. */
import { createPrivateKey } from 'node:crypto';
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Identity } from '../../certs/identity.ts';
import { certificatesOf } from '../../certs/identity-pem.ts';
import { grpcFrame } from '../../certs/sources/workload-proto.ts';

export class WorkloadApi {
  private readonly path: string;
  private server: Http2Server | null = null;
  private readonly sessions: Set<ServerHttp2Session> = new Set();
  private readonly streams: Set<ServerHttp2Stream> = new Set();
  private message: Buffer | null = null;
  private status: string | null = null;
  /** Requests that came so far. */
  calls = 0;
  private called: () => void = () => {};

  constructor(path: string) {
    this.path = path;
  }

  get endpoint(): string {
    return `unix://${this.path}`;
  }

  async listen(): Promise<void> {
    const server = createServer();
    this.server = server;
    server.on('session', (session) => {
      this.sessions.add(session);
      session.on('error', () => {});
      session.on('close', () => this.sessions.delete(session));
    });
    server.on('stream', (stream: ServerHttp2Stream, headers) => this.answer(stream, headers));
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  /** Ends every connection, as a restart of the agent does. */
  async close(): Promise<void> {
    for (const session of this.sessions) session.destroy();
    await new Promise<void>((resolve) => this.server?.close(() => resolve()));
  }

  /** Sends these identities to everybody who listens now and later. */
  push(...identities: readonly Identity[]): void {
    this.send(Buffer.concat(identities.map((identity) => field(1, svid(identity)))));
  }

  /** Sends any bytes as a message. */
  send(message: Buffer): void {
    this.message = message;
    this.status = null;
    for (const stream of this.streams) stream.write(grpcFrame(message));
  }

  /** Refuses from now on with a gRPC status. */
  refuse(status: string): void {
    this.status = status;
  }

  /** Resolves when so many calls have come in all. */
  async waitForCalls(count: number): Promise<void> {
    while (this.calls < count) await new Promise<void>((resolve) => (this.called = resolve));
  }

  private answer(stream: ServerHttp2Stream, headers: Readonly<Record<string, unknown>>): void {
    stream.on('error', () => {});
    this.calls++;
    this.called();
    const secure = headers['workload.spiffe.io'] === 'true';
    const known = headers[':path'] === '/SpiffeWorkloadAPI/FetchX509SVID';
    const status = this.status ?? (!secure ? '3' : known ? null : '12');
    if (status !== null) {
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status },
        { endStream: true },
      );
      return;
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    this.streams.add(stream);
    stream.on('close', () => this.streams.delete(stream));
    if (this.message !== null) stream.write(grpcFrame(this.message));
  }
}

function svid(identity: Identity): Buffer {
  const der = (pem: string): Buffer => Buffer.concat((certificatesOf(pem) ?? []).map((certificate) => certificate.raw));
  return Buffer.concat([
    field(1, Buffer.from(identity.spiffeId)),
    field(2, der(identity.certificateChain)),
    field(3, createPrivateKey(identity.privateKey).export({ type: 'pkcs8', format: 'der' })),
    field(4, der(identity.trustBundle)),
    field(5, Buffer.from('a hint that nobody asked for')),
  ]);
}

/** A length-delimited protobuf field. */
export function field(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(value.length), value]);
}

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
