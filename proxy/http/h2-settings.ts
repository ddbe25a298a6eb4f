/** SETTINGS (RFC 9113 section 6.5): ours as bytes, the peer's as checked numbers. */
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW,
  FLOW_CONTROL_ERROR,
  FRAME_HEADER_BYTES,
  LARGEST_FRAME_BYTES,
  LARGEST_WINDOW,
  NO_ERROR,
  PROTOCOL_ERROR,
  readUint32,
  SETTINGS,
  writeFrameHeader,
  writeUint32,
} from './h2-frames.ts';
import type { H2Limits } from './h2-limits.ts';
import type { H2Output } from './h2-output.ts';

export const HEADER_TABLE_SIZE = 1;
export const ENABLE_PUSH = 2;
export const MAX_CONCURRENT_STREAMS = 3;
export const INITIAL_WINDOW_SIZE = 4;
export const MAX_FRAME_SIZE = 5;
export const MAX_HEADER_LIST_SIZE = 6;
/** RFC 8441 section 3. */
export const ENABLE_CONNECT_PROTOCOL = 8;

const SETTING_BYTES = 6;
/** Streams we open before the peer has said how many it takes (section 6.5.2 recommends peers at least this). */
const STREAMS_BEFORE_SETTINGS = 100;

/** What the peer announced; the defaults of section 6.5.2 until then. */
export class PeerSettings {
  maxConcurrentStreams: number = STREAMS_BEFORE_SETTINGS;
  initialWindow: number = DEFAULT_WINDOW;
  maxFrameBytes: number = DEFAULT_FRAME_BYTES;
  connectProtocol = false;
  received = false;

  /** What is known from other connections to the same peer, until its SETTINGS come. */
  assume(maxConcurrentStreams: number = STREAMS_BEFORE_SETTINGS): void {
    this.maxConcurrentStreams = Math.min(STREAMS_BEFORE_SETTINGS, maxConcurrentStreams);
  }

  /** Applies a whole SETTINGS payload in order. Returns NO_ERROR or the connection error that it deserves. */
  apply(bytes: Uint8Array, start: number, end: number): number {
    if (!this.received) this.maxConcurrentStreams = Number.POSITIVE_INFINITY;
    this.received = true;
    for (let at = start; at + SETTING_BYTES <= end; at += SETTING_BYTES) {
      const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      const error = this.applyOne(id, readUint32(bytes, at + 2));
      if (error !== NO_ERROR) return error;
    }
    return NO_ERROR;
  }

  private applyOne(id: number, value: number): number {
    switch (id) {
      case ENABLE_PUSH:
        return value > 1 ? PROTOCOL_ERROR : NO_ERROR;
      case MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        return NO_ERROR;
      case INITIAL_WINDOW_SIZE:
        if (value > LARGEST_WINDOW) return FLOW_CONTROL_ERROR;
        this.initialWindow = value;
        return NO_ERROR;
      case MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_BYTES || value > LARGEST_FRAME_BYTES) return PROTOCOL_ERROR;
        this.maxFrameBytes = value;
        return NO_ERROR;
      case ENABLE_CONNECT_PROTOCOL:
        if (value > 1 || (value === 0 && this.connectProtocol)) return PROTOCOL_ERROR;
        this.connectProtocol = value === 1;
        return NO_ERROR;
      default:
        // HEADER_TABLE_SIZE means nothing to an encoder that has said NO_TABLE, MAX_HEADER_LIST_SIZE is advice that the
        // peer enforces itself; unknown settings are ignored as section 6.5.2 asks.
        return NO_ERROR;
    }
  }
}

/** Writes our SETTINGS. */
export function writeSettings(output: H2Output, role: 'client' | 'server', limits: H2Limits): void {
  const pairs: [number, number][] = [
    [HEADER_TABLE_SIZE, limits.tableBytes],
    [INITIAL_WINDOW_SIZE, limits.streamWindow],
    [MAX_HEADER_LIST_SIZE, limits.listBytes],
  ];
  if (role === 'client') pairs.push([ENABLE_PUSH, 0]);
  else pairs.push([MAX_CONCURRENT_STREAMS, limits.concurrentStreams], [ENABLE_CONNECT_PROTOCOL, 1]);

  const length = pairs.length * SETTING_BYTES;
  let at = output.reserve(FRAME_HEADER_BYTES + length);
  writeFrameHeader(output.bytes, at, length, SETTINGS, 0, 0);
  at += FRAME_HEADER_BYTES;
  for (const [id, value] of pairs) {
    output.bytes[at] = id >>> 8;
    output.bytes[at + 1] = id;
    writeUint32(output.bytes, at + 2, value);
    at += SETTING_BYTES;
  }
}
