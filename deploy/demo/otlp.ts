/**
 * A receiver of OTLP/HTTP traces for the demo: takes protobuf bodies (http/protobuf, the protocol that
 * OpenTelemetry defaults to) and keeps the spans.
 * Reads the part of opentelemetry-proto's trace.proto, resource.proto and common.proto that the picture needs.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: 'SERVER' | 'CLIENT' | 'OTHER';
  /** Nanoseconds since 1970. */
  readonly start: bigint;
  readonly end: bigint;
  readonly failed: boolean;
  /** `service.name` of the resource. */
  readonly service: string;
  readonly attributes: ReadonlyMap<string, string | number | boolean>;
}

const MOST_BODY_BYTES = 8 * 1024 * 1024;

/** Listening from `start` on; whoever started it closes it. */
export class TraceReceiver {
  readonly spans: Span[] = [];
  private readonly server: Server;

  private constructor() {
    this.server = createServer((incoming, outgoing) => void this.receive(incoming, outgoing));
  }

  static async start(): Promise<TraceReceiver> {
    const receiver = new TraceReceiver();
    receiver.server.listen(0, '127.0.0.1');
    await once(receiver.server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  trace(traceId: string): Span[] {
    return this.spans.filter((span) => span.traceId === traceId);
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async receive(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    let status = 200;
    try {
      this.spans.push(...decodeTraces(await bodyOf(incoming)));
    } catch {
      status = 400;
    }
    // An empty ExportTraceServiceResponse means that all was taken.
    outgoing.writeHead(status, { 'content-type': 'application/x-protobuf' }).end();
  }
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MOST_BODY_BYTES) throw new RangeError('a body that no demo sends');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** The spans of an ExportTraceServiceRequest. Throws RangeError where the bytes are none. */
export function decodeTraces(bytes: Buffer): Span[] {
  return messages(bytes, 1).flatMap((resourceSpans) => {
    const resource = attributes(messages(messages(resourceSpans, 1)[0] ?? EMPTY, 1));
    const service = String(resource.get('service.name') ?? 'unknown');
    return messages(resourceSpans, 2)
      .flatMap((scopeSpans) => messages(scopeSpans, 2))
      .map((span) => decodeSpan(span, service));
  });
}

/** Numbers of the fields of `Span` and `Status` in trace.proto. */
function decodeSpan(bytes: Buffer, service: string): Span {
  const fields = read(bytes);
  const hex = (field: number): string => blob(fields, field).toString('hex');
  const kind = Number(fields.get(6)?.[0] ?? 0);
  const status = read(blob(fields, 15));
  return {
    traceId: hex(1),
    spanId: hex(2),
    parentSpanId: hex(4),
    name: blob(fields, 5).toString(),
    kind: kind === 2 ? 'SERVER' : kind === 3 ? 'CLIENT' : 'OTHER',
    start: (fields.get(7)?.[0] as bigint | undefined) ?? 0n,
    end: (fields.get(8)?.[0] as bigint | undefined) ?? 0n,
    failed: status.get(3)?.[0] === 2n,
    service,
    attributes: attributes(messages(bytes, 9)),
  };
}

/** `KeyValue` messages; values other than text, numbers and booleans are left out. */
function attributes(pairs: readonly Buffer[]): Map<string, string | number | boolean> {
  const result = new Map<string, string | number | boolean>();
  for (const pair of pairs) {
    const fields = read(pair);
    const [[field, values] = []] = read(blob(fields, 2));
    const value = values?.[0];
    const key = blob(fields, 1).toString();
    if (field === 1 && value instanceof Buffer) result.set(key, value.toString());
    else if (field === 2) result.set(key, value === 1n);
    else if (field === 3 && typeof value === 'bigint') result.set(key, Number(BigInt.asIntN(64, value)));
    else if (field === 4 && typeof value === 'bigint') result.set(key, doubleOf(value));
  }
  return result;
}

type Value = bigint | Buffer;
const EMPTY: Buffer = Buffer.alloc(0);

function messages(bytes: Buffer, field: number): Buffer[] {
  return (read(bytes).get(field) ?? []).filter((value): value is Buffer => value instanceof Buffer);
}

function blob(fields: ReadonlyMap<number, readonly Value[]>, field: number): Buffer {
  const value = fields.get(field)?.[0];
  return value instanceof Buffer ? value : EMPTY;
}

/** The fields of one protobuf message: varints and fixed numbers as bigint, the rest as bytes. */
function read(bytes: Buffer): Map<number, Value[]> {
  const fields = new Map<number, Value[]>();
  let at = 0;

  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a varint of more than ten bytes');
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new RangeError('a field that is longer than its message');
    at += length;
    return bytes.subarray(at - length, at);
  };

  while (at < bytes.length) {
    const tag = Number(varint());
    const field = tag >>> 3;
    const values = fields.get(field) ?? [];
    fields.set(field, values);
    switch (tag & 7) {
      case 0:
        values.push(varint());
        break;
      case 1:
        values.push(take(8).readBigUInt64LE());
        break;
      case 2:
        values.push(take(Number(varint())));
        break;
      case 5:
        values.push(BigInt(take(4).readUInt32LE()));
        break;
      default:
        throw new RangeError(`wire type ${tag & 7}`);
    }
  }
  return fields;
}

function doubleOf(bits: bigint): number {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(bits);
  return buffer.readDoubleLE();
}
