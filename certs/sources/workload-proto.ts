/**
 * The two messages of the SPIFFE Workload API that weft needs, and gRPC's frame around them. By hand, since a protobuf
 * library is larger than these ten fields; unknown fields are passed over as protobuf demands.
 *
 * SPIFFE Workload API, section 5.2.1 (X509SVIDResponse); Protocol Buffers, "Encoding"; gRPC over HTTP/2,
 * "Length-Prefixed-Message".
 */

/** One identity of the workload; certificates and bundle are DER, one after the other, the key is PKCS#8 DER. */
export interface X509Svid {
  readonly spiffeId: string;
  readonly certificates: Uint8Array;
  readonly key: Uint8Array;
  readonly bundle: Uint8Array;
}

const WIRE_VARINT = 0;
const WIRE_64_BIT = 1;
const WIRE_BYTES = 2;
const WIRE_32_BIT = 5;

/** X509SVIDResponse: the SVIDs (field 1) in their order, the first being the default one. Throws RangeError. */
export function decodeX509SvidResponse(message: Uint8Array): X509Svid[] {
  const svids: X509Svid[] = [];
  for (const [field, value] of byteFields(message)) {
    if (field === 1) svids.push(decodeSvid(value));
  }
  return svids;
}

function decodeSvid(message: Uint8Array): X509Svid {
  const empty = new Uint8Array(0);
  const fields = new Map(byteFields(message));
  return {
    spiffeId: Buffer.from(fields.get(1) ?? empty).toString(),
    certificates: fields.get(2) ?? empty,
    key: fields.get(3) ?? empty,
    bundle: fields.get(4) ?? empty,
  };
}

/** The fields that hold bytes, strings or messages, with their numbers. */
function byteFields(message: Uint8Array): [number, Uint8Array][] {
  const reader = new Reader(message);
  const found: [number, Uint8Array][] = [];
  while (!reader.done()) {
    const tag = reader.varint();
    switch (tag & 7) {
      case WIRE_VARINT:
        reader.varint();
        break;
      case WIRE_64_BIT:
        reader.take(8);
        break;
      case WIRE_BYTES:
        found.push([tag >>> 3, reader.take(reader.varint())]);
        break;
      case WIRE_32_BIT:
        reader.take(4);
        break;
      default:
        throw new RangeError('a wire type that protobuf does not have');
    }
  }
  return found;
}

class Reader {
  private readonly bytes: Uint8Array;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  done(): boolean {
    return this.at >= this.bytes.length;
  }

  /** Up to 64 bits; beyond 2^53 the value is inexact, which no tag or length of a valid message is. */
  varint(): number {
    let value = 0;
    let weight = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.take(1)[0] ?? 0;
      value += (byte & 0x7f) * weight;
      if (byte < 0x80) return value;
      weight *= 128;
    }
    throw new RangeError('a varint of more than ten bytes');
  }

  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) throw new RangeError('the message ends early');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

const PREFIX_BYTES = 5;

/** Cuts gRPC messages out of a stream of chunks. */
export class GrpcFrames {
  private readonly maxBytes: number;
  private held: Buffer = Buffer.alloc(0);

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** The messages that are complete now. Throws RangeError for a compressed or too long one. */
  push(chunk: Buffer): Buffer[] {
    this.held = Buffer.concat([this.held, chunk]);
    const messages: Buffer[] = [];
    while (this.held.length >= PREFIX_BYTES) {
      if (this.held[0] !== 0) throw new RangeError('a compressed message, which was not asked for');
      const length = this.held.readUInt32BE(1);
      if (length > this.maxBytes) throw new RangeError(`a message of more than ${this.maxBytes} bytes`);
      if (this.held.length < PREFIX_BYTES + length) break;
      messages.push(this.held.subarray(PREFIX_BYTES, PREFIX_BYTES + length));
      this.held = this.held.subarray(PREFIX_BYTES + length);
    }
    return messages;
  }
}

/** One gRPC message, not compressed. */
export function grpcFrame(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}
