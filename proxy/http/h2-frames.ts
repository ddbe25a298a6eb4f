/**
 * HTTP/2 frames as bytes: types, flags, error codes, and the writers of the small frames (RFC 9113 sections 4, 6, 7).
 * Nothing here knows of connections or streams.
 */
import { writeLatin1 } from '../../shared/latin1.ts';
import type { H2Output } from './h2-output.ts';

/** Length, type, flags, stream identifier (section 4.1). */
export const FRAME_HEADER_BYTES = 9;
/** SETTINGS_MAX_FRAME_SIZE before any SETTINGS, and the least it may be (section 6.5.2). */
export const DEFAULT_FRAME_BYTES = 16_384;
export const LARGEST_FRAME_BYTES = 16_777_215;
export const DEFAULT_WINDOW = 65_535;
export const LARGEST_WINDOW = 2_147_483_647;
export const LARGEST_STREAM_ID = 2_147_483_647;

/** What a client says first (section 3.4). */
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 0x01;
export const ACK = 0x01;
export const END_HEADERS = 0x04;
export const PADDED = 0x08;
export const HAS_PRIORITY = 0x20;

export const NO_ERROR = 0x0;
export const PROTOCOL_ERROR = 0x1;
export const INTERNAL_ERROR = 0x2;
export const FLOW_CONTROL_ERROR = 0x3;
export const STREAM_CLOSED = 0x5;
export const FRAME_SIZE_ERROR = 0x6;
export const REFUSED_STREAM = 0x7;
export const CANCEL = 0x8;
export const COMPRESSION_ERROR = 0x9;
export const ENHANCE_YOUR_CALM = 0xb;
/** Not on the wire: the transport ended, or the whole connection failed, under an open stream. */
export const CONNECTION_LOST = -1;

const ERROR_NAMES: readonly string[] = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];

/** Name of an error code for logs. */
export function errorName(code: number): string {
  return code === CONNECTION_LOST ? 'CONNECTION_LOST' : (ERROR_NAMES[code] ?? `ERROR_${code}`);
}

/** Big-endian 32 bits, unsigned. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Writes the nine bytes of a frame header at `at`. */
export function writeFrameHeader(
  bytes: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  writeUint32(bytes, at + 5, streamId);
}

/** RST_STREAM or WINDOW_UPDATE: a frame whose payload is one 32-bit number. */
export function writeNumberFrame(output: H2Output, type: number, streamId: number, value: number): void {
  const at = output.reserve(FRAME_HEADER_BYTES + 4);
  writeFrameHeader(output.bytes, at, 4, type, 0, streamId);
  writeUint32(output.bytes, at + FRAME_HEADER_BYTES, value);
}

/** PING with its 8 bytes given as two 32-bit numbers. */
export function writePing(output: H2Output, flags: number, high: number, low: number): void {
  const at = output.reserve(FRAME_HEADER_BYTES + 8);
  writeFrameHeader(output.bytes, at, 8, PING, flags, 0);
  writeUint32(output.bytes, at + FRAME_HEADER_BYTES, high);
  writeUint32(output.bytes, at + FRAME_HEADER_BYTES + 4, low);
}

/** GOAWAY; `detail` is debug text for the peer's log, cut to 128 bytes. */
export function writeGoaway(output: H2Output, lastId: number, code: number, detail: string): void {
  const text = detail.slice(0, 128);
  const length = 8 + text.length;
  const at = output.reserve(FRAME_HEADER_BYTES + length);
  writeFrameHeader(output.bytes, at, length, GOAWAY, 0, 0);
  writeUint32(output.bytes, at + FRAME_HEADER_BYTES, lastId);
  writeUint32(output.bytes, at + FRAME_HEADER_BYTES + 4, code);
  output.bytes.write(text, at + FRAME_HEADER_BYTES + 8, text.length, 'latin1');
}

/**
 * HEADERS, continued by CONTINUATION frames where the block is longer than the peer takes in one. `block` holds one
 * byte per character. The frames of one block leave together: nothing may come between them (section 6.10).
 */
export function writeHeaders(
  output: H2Output,
  streamId: number,
  block: string,
  endStream: boolean,
  largestFrame: number,
): void {
  const flags = endStream ? END_STREAM : 0;
  if (block.length <= largestFrame) {
    const at = output.reserve(FRAME_HEADER_BYTES + block.length);
    writeFrameHeader(output.bytes, at, block.length, HEADERS, flags | END_HEADERS, streamId);
    writeLatin1(output.bytes, block, at + FRAME_HEADER_BYTES);
    return;
  }
  for (let from = 0; from < block.length; from += largestFrame) {
    const piece = block.slice(from, from + largestFrame);
    const last = from + largestFrame >= block.length ? END_HEADERS : 0;
    const at = output.reserve(FRAME_HEADER_BYTES + piece.length);
    const type = from === 0 ? HEADERS : CONTINUATION;
    writeFrameHeader(output.bytes, at, piece.length, type, (from === 0 ? flags : 0) | last, streamId);
    output.bytes.write(piece, at + FRAME_HEADER_BYTES, piece.length, 'latin1');
  }
}

/** One DATA frame of bytes[start, end), which the caller has cut to the peer's frame size and windows. */
export function writeDataFrame(
  output: H2Output,
  streamId: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  endStream: boolean,
): void {
  const length = end - start;
  const at = output.reserve(FRAME_HEADER_BYTES + length);
  writeFrameHeader(output.bytes, at, length, DATA, endStream ? END_STREAM : 0, streamId);
  if (length > 0) output.copy(bytes, start, end, at + FRAME_HEADER_BYTES);
}
