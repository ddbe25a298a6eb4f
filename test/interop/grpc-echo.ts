/**
 * A gRPC application and its callers, without a .proto file: messages are bytes. What a method does beyond its kind, the
 * request's metadata tell it, so that one service plays all cases of the interop suite.
 */
import { type EventEmitter, once } from 'node:events';
import {
  Client,
  credentials,
  type Deadline,
  Metadata,
  type MetadataValue,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
  type StatusObject,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/weft.test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

const SERVICE: ServiceDefinition = {
  unary: method('Unary', false, false),
  upload: method('Upload', true, false),
  download: method('Download', false, true),
  chat: method('Chat', true, true),
};

/** No bound of grpc-js on the size of a message. */
const UNBOUNDED = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };

type Call =
  | ServerUnaryCall<Buffer, Buffer>
  | ServerReadableStream<Buffer, Buffer>
  | ServerWritableStream<Buffer, Buffer>
  | ServerDuplexStream<Buffer, Buffer>;

/** The application. Whoever started it stops it. */
export class EchoServer implements AsyncDisposable {
  port = 0;
  /** Calls that began, that the caller gave up, and that wait because they were told to. */
  calls = 0;
  cancelled = 0;
  waiting = 0;
  private readonly server: Server = new Server(UNBOUNDED);

  constructor() {
    this.server.addService(SERVICE, {
      unary: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => this.unary(call, answer),
      upload: (call: ServerReadableStream<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => this.upload(call, answer),
      download: (call: ServerWritableStream<Buffer, Buffer>) => void this.download(call),
      chat: (call: ServerDuplexStream<Buffer, Buffer>) => this.chat(call),
    });
  }

  async listen(port = 0): Promise<this> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const bound = (error: Error | null, on: number): void => (error === null ? resolve(on) : reject(error));
    this.server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), bound);
    this.port = await promise;
    return this;
  }

  /** GOAWAY to every caller; resolves when their calls have ended. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.server.tryShutdown(() => resolve());
    });
  }

  stop(): void {
    this.server.forceShutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
  }

  private begin(call: Call): void {
    this.calls++;
    // The four kinds of call share an emitter, though the union of their typings does not.
    (call as EventEmitter).on('cancelled', () => this.cancelled++);
    const { metadata } = call;
    const initial = metadata.get('x-echo-initial');
    if (initial.length > 0) call.sendMetadata(withMetadata({ 'x-echo-initial': initial[0] as MetadataValue }));
  }

  /** What the call's metadata ask to end with instead of OK; null: OK. */
  private statusOf({ metadata }: Call): Partial<StatusObject> | null {
    const code = Number(metadata.get('x-status')[0] ?? status.OK);
    if (!isStatus(code) || code === status.OK) return null;
    return { code, details: decodeURIComponent(String(metadata.get('x-message')[0] ?? '')) };
  }

  private unary(call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void {
    this.begin(call);
    const status = this.statusOf(call);
    if (call.metadata.get('x-wait').length > 0) this.waiting++;
    else if (status !== null) answer(status, null, trailersOf(call));
    else answer(null, sized(call) ?? call.request, trailersOf(call));
  }

  private upload(call: ServerReadableStream<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void {
    this.begin(call);
    let bytes = 0;
    call.on('data', (message: Buffer) => {
      bytes += message.length;
    });
    call.on('end', () => answer(null, Buffer.from(String(bytes)), trailersOf(call)));
  }

  /** The request's message, `x-messages` times, or that many of `x-size` bytes. */
  private async download(call: ServerWritableStream<Buffer, Buffer>): Promise<void> {
    this.begin(call);
    const message = sized(call) ?? call.request;
    const count = Number(call.metadata.get('x-messages')[0] ?? 1);
    for (let i = 0; i < count && !call.cancelled; i++) {
      if (!call.write(message))
        await once(call, 'drain', { signal: AbortSignal.timeout(60_000) }).catch(() => undefined);
    }
    if (call.metadata.get('x-wait').length > 0) this.waiting++;
    else this.finish(call);
  }

  private chat(call: ServerDuplexStream<Buffer, Buffer>): void {
    this.begin(call);
    call.on('data', (message: Buffer) => call.write(message));
    call.on('end', () => this.finish(call));
  }

  private finish(call: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>): void {
    const status = this.statusOf(call);
    if (status === null) call.end(trailersOf(call));
    else call.emit('error', status);
  }
}

function isStatus(code: number): code is status {
  return code in status;
}

function sized({ metadata }: Call): Buffer | null {
  const [size] = metadata.get('x-size');
  return size === undefined ? null : Buffer.alloc(Number(size), 'x');
}

function trailersOf({ metadata }: Call): Metadata {
  const trailers = new Metadata();
  for (const name of ['x-echo-trailing', 'x-echo-trailing-bin']) {
    for (const value of metadata.get(name)) trailers.add(name, value);
  }
  return trailers;
}

export function withMetadata(entries: Readonly<Record<string, MetadataValue>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(entries)) metadata.set(name, value);
  return metadata;
}

/** How a call ended, as the caller sees it. */
export interface Ending {
  readonly code: status;
  readonly details: string;
  readonly initial: Metadata;
  readonly trailing: Metadata;
  readonly messages: readonly Buffer[];
}

export interface CallOptions {
  readonly metadata?: Metadata;
  readonly deadline?: Deadline;
  /** Called at each message that comes. */
  readonly onMessage?: (message: Buffer, call: { cancel(): void }) => void;
  /** Called when the call is under way. */
  readonly onStart?: (call: { cancel(): void }) => void;
  readonly path?: string;
}

/** A caller: one channel to one sidecar, for one Service. Whoever made it closes it. */
export class EchoCaller implements Disposable {
  private readonly client: Client;

  constructor(port: number, authority: string, options: Readonly<Record<string, string | number>> = {}) {
    this.client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      ...UNBOUNDED,
      'grpc.default_authority': authority,
      // A channel of its own: calls of one test share nothing with those of another.
      'grpc.use_local_subchannel_pool': 1,
      ...options,
    });
  }

  unary(message: Buffer, options: CallOptions = {}): Promise<Ending> {
    return this.call('Unary', [message], options);
  }

  upload(messages: Iterable<Buffer>, options: CallOptions = {}): Promise<Ending> {
    return this.call('Upload', messages, options);
  }

  download(message: Buffer, options: CallOptions = {}): Promise<Ending> {
    return this.call('Download', [message], options);
  }

  /** Each message is sent when the one before has come back. */
  async chat(messages: readonly Buffer[], options: CallOptions = {}): Promise<Ending> {
    const { promise, resolve } = Promise.withResolvers<Ending>();
    const call = this.open('Chat', options, resolve);
    for (const message of messages) {
      call.write(message);
      await Promise.race([once(call, 'data'), promise]);
    }
    call.end();
    return promise;
  }

  [Symbol.dispose](): void {
    this.client.close();
  }

  private async call(name: string, messages: Iterable<Buffer>, options: CallOptions): Promise<Ending> {
    const { promise, resolve } = Promise.withResolvers<Ending>();
    const call = this.open(name, options, resolve);
    let over = false;
    void promise.then(() => (over = true));
    for (const message of messages) {
      if (over) break;
      if (!call.write(message)) await Promise.race([once(call, 'drain'), promise]);
    }
    if (!over) call.end();
    return promise;
  }

  private open(name: string, options: CallOptions, resolve: (ending: Ending) => void) {
    const { metadata = new Metadata(), deadline, onMessage, onStart, path = `/weft.test.Echo/${name}` } = options;
    const call = this.client.makeBidiStreamRequest(
      path,
      same,
      same,
      metadata,
      deadline === undefined ? {} : { deadline },
    );
    const messages: Buffer[] = [];
    let initial = new Metadata();
    call.on('metadata', (received: Metadata) => {
      initial = received;
    });
    call.on('data', (message: Buffer) => {
      if (onMessage === undefined) messages.push(message);
      else onMessage(message, call);
    });
    call.on('error', (_error: ServiceError) => undefined);
    call.on('status', ({ code, details, metadata: trailing }: StatusObject) =>
      resolve({ code, details, initial, trailing, messages }),
    );
    onStart?.(call);
    return call;
  }
}
