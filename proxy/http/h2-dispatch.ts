/**
 * What each kind of frame asks for (RFC 9113 section 6): checks that concern the frame alone, then a word to the half of
 * the connection that it is for.
 */
import { BlockGatherer } from './h2-block.ts';
import type { H2Connection } from './h2-connection.ts';
import type { H2Events } from './h2-events.ts';
import { malformed } from './h2-faults.ts';
import {
  ACK,
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  FLOW_CONTROL_ERROR,
  FRAME_HEADER_BYTES,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HAS_PRIORITY,
  HEADERS,
  NO_ERROR,
  PADDED,
  PING,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  RST_STREAM,
  readUint32,
  SETTINGS,
  WINDOW_UPDATE,
  writeFrameHeader,
  writePing,
} from './h2-frames.ts';
import type { H2Guard } from './h2-guard.ts';
import type { H2Limits } from './h2-limits.ts';
import { FrameReader, type FrameSink } from './h2-reader.ts';
import type { H2Receiver } from './h2-receiver.ts';
import type { H2Sender } from './h2-sender.ts';
import type { StreamTable } from './h2-streams.ts';

/** First halves of our PING payloads: the owner's, and the one that tells when a graceful GOAWAY has arrived. */
export const OWNER_PING = 0x77656674;
export const DRAIN_PING = 0x64726e21;

const WIDENED_BY_NOTHING = malformed('WINDOW_UPDATE by nothing');
const WIDENED_TOO_FAR = malformed('WINDOW_UPDATE opens a window beyond its bound');

export class FrameDispatch<T> implements FrameSink {
  readonly reader: FrameReader;
  private readonly connection: H2Connection<T>;
  private readonly events: H2Events<T>;
  private readonly limits: H2Limits;
  private readonly guard: H2Guard;
  private readonly streams: StreamTable<T>;
  private readonly sender: H2Sender<T>;
  private readonly receiver: H2Receiver<T>;
  private readonly gatherer: BlockGatherer;

  constructor(
    connection: H2Connection<T>,
    events: H2Events<T>,
    limits: H2Limits,
    guard: H2Guard,
    streams: StreamTable<T>,
    sender: H2Sender<T>,
    receiver: H2Receiver<T>,
  ) {
    this.connection = connection;
    this.events = events;
    this.limits = limits;
    this.guard = guard;
    this.streams = streams;
    this.sender = sender;
    this.receiver = receiver;
    this.reader = new FrameReader(this, connection.role === 'server');
    this.gatherer = new BlockGatherer(limits);
  }

  onFrameError(code: number, detail: string): void {
    this.connection.fail(code, detail);
  }

  onDataFrame(id: number, flags: number, length: number, padding: number): void {
    if (id === 0) this.connection.fail(PROTOCOL_ERROR, 'DATA on stream 0');
    else this.receiver.beginData(id, flags, length, padding);
  }

  onDataBytes(bytes: Buffer, start: number, end: number): void {
    this.receiver.data(bytes, start, end);
  }

  onDataFrameEnd(): void {
    this.receiver.endData();
  }

  onFrame(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case HEADERS:
        this.onHeaders(flags, id, bytes, start, end);
        break;
      case CONTINUATION:
        this.onFragment(flags, bytes, start, end);
        break;
      case WINDOW_UPDATE:
        this.onWindowUpdate(id, bytes, start, end);
        break;
      case RST_STREAM:
        this.onRstStream(id, bytes, start, end);
        break;
      case SETTINGS:
        this.onSettings(flags, id, bytes, start, end);
        break;
      case PING:
        this.onPing(flags, id, bytes, start, end);
        break;
      case GOAWAY:
        this.onGoaway(id, bytes, start, end);
        break;
      case PRIORITY:
        this.onPriority(id, bytes, start, end);
        break;
      case PUSH_PROMISE:
        this.connection.fail(PROTOCOL_ERROR, 'PUSH_PROMISE, which nobody may send here');
        break;
      default:
        this.connection.tolerate();
    }
    if (this.sender.controls > this.limits.queuedControls) this.connection.calm('the peer asks much and reads nothing');
  }

  private onHeaders(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id === 0) {
      this.connection.fail(PROTOCOL_ERROR, 'HEADERS on stream 0');
      return;
    }
    let from = start;
    let to = end;
    if ((flags & PADDED) !== 0) {
      to -= from < to ? (bytes[from] as number) : 1;
      from += 1;
    }
    let selfDependent = false;
    if ((flags & HAS_PRIORITY) !== 0) {
      selfDependent = from + 5 <= end && (readUint32(bytes, from) & 0x7fff_ffff) === id;
      from += 5;
    }
    const ends = (flags & END_STREAM) !== 0;
    if (from > to) {
      this.connection.fail(PROTOCOL_ERROR, 'padding or priority is longer than its frame');
    } else if ((flags & END_HEADERS) !== 0) {
      this.receiver.block(id, ends, selfDependent, bytes, from, to);
    } else {
      this.gatherer.begin(id, ends, selfDependent);
      this.onFragment(flags, bytes, from, to);
    }
  }

  private onFragment(flags: number, bytes: Buffer, start: number, end: number): void {
    const { gatherer } = this;
    const last = (flags & END_HEADERS) !== 0;
    if (start === end && !last && !this.connection.tolerateEmpty()) return;
    if (!gatherer.add(bytes, start, end)) {
      this.connection.calm('a header block is longer than the limit');
      return;
    }
    this.reader.expectContinuation(last ? 0 : gatherer.streamId);
    if (!last) return;
    const { bytes: block, length } = gatherer;
    gatherer.release();
    this.receiver.block(gatherer.streamId, gatherer.endStream, gatherer.selfDependent, block, 0, length);
  }

  private onPriority(id: number, bytes: Buffer, start: number, end: number): void {
    if (id === 0) this.connection.fail(PROTOCOL_ERROR, 'PRIORITY on stream 0');
    else if (end - start !== 5) this.priorityError(id, FRAME_SIZE_ERROR, 'PRIORITY is not five bytes');
    else if ((readUint32(bytes, start) & 0x7fff_ffff) === id) {
      this.priorityError(id, PROTOCOL_ERROR, 'a stream depends on itself');
    } else this.connection.tolerate();
  }

  /** PRIORITY may come in any state; on an idle stream there is nothing to reset, so the connection pays. */
  private priorityError(id: number, code: number, detail: string): void {
    if (this.streams.isIdle(id)) this.connection.fail(code, detail);
    else this.connection.streamError(id, this.streams.get(id) ?? null, code, malformed(detail));
  }

  private onRstStream(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) this.connection.fail(FRAME_SIZE_ERROR, 'RST_STREAM is not four bytes');
    else if (id === 0 || this.streams.isIdle(id)) this.connection.fail(PROTOCOL_ERROR, 'RST_STREAM on an idle stream');
    else {
      this.connection.resetByPeer(this.streams.get(id) ?? null, readUint32(bytes, start));
    }
  }

  private onSettings(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (id !== 0) this.connection.fail(PROTOCOL_ERROR, 'SETTINGS on a stream');
    else if (!this.guard.setting()) this.connection.calm('too many SETTINGS');
    else if ((flags & ACK) !== 0) {
      if (length !== 0) this.connection.fail(FRAME_SIZE_ERROR, 'an acknowledgement of SETTINGS has content');
      else this.receiver.decoder.limitTable(this.limits.tableBytes);
    } else if (length % 6 !== 0) this.connection.fail(FRAME_SIZE_ERROR, 'SETTINGS are not of six bytes each');
    else this.applySettings(bytes, start, end);
  }

  private applySettings(bytes: Buffer, start: number, end: number): void {
    const before = this.sender.peer.initialWindow;
    const error = this.sender.peer.apply(bytes, start, end);
    if (error !== NO_ERROR) {
      this.connection.fail(error, 'SETTINGS have a value out of range');
      return;
    }
    this.sender.controls += 1;
    const at = this.sender.output.reserve(FRAME_HEADER_BYTES);
    writeFrameHeader(this.sender.output.bytes, at, 0, SETTINGS, ACK, 0);
    const change = this.sender.peer.initialWindow - before;
    if (change !== 0) {
      for (const stream of this.streams.all()) {
        if (!this.sender.widenStream(stream, change)) {
          this.connection.fail(FLOW_CONTROL_ERROR, 'SETTINGS open a window beyond its bound');
          return;
        }
      }
    }
    this.events.onSettings(this.sender.peer);
  }

  private onPing(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) this.connection.fail(PROTOCOL_ERROR, 'PING on a stream');
    else if (end - start !== 8) this.connection.fail(FRAME_SIZE_ERROR, 'PING is not eight bytes');
    else if (!this.guard.ping()) this.connection.calm('too many PINGs');
    else {
      const high = readUint32(bytes, start);
      const low = readUint32(bytes, start + 4);
      if ((flags & ACK) === 0) {
        this.sender.controls += 1;
        writePing(this.sender.output, ACK, high, low);
      } else if (high === OWNER_PING) this.events.onPingAck(low);
      else if (high === DRAIN_PING) this.connection.drainArrived();
    }
  }

  private onGoaway(id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) this.connection.fail(PROTOCOL_ERROR, 'GOAWAY on a stream');
    else if (end - start < 8) this.connection.fail(FRAME_SIZE_ERROR, 'GOAWAY is shorter than eight bytes');
    else if (this.connection.tolerate()) {
      const lastId = readUint32(bytes, start) & 0x7fff_ffff;
      const code = readUint32(bytes, start + 4);
      this.connection.leftByPeer(lastId, code, bytes.toString('latin1', start + 8, Math.min(end, start + 136)));
    }
  }

  private onWindowUpdate(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) {
      this.connection.fail(FRAME_SIZE_ERROR, 'WINDOW_UPDATE is not four bytes');
      return;
    }
    const increment = readUint32(bytes, start) & 0x7fff_ffff;
    const stream = id === 0 ? undefined : this.streams.get(id);
    if (id === 0) {
      if (increment === 0) this.connection.fail(PROTOCOL_ERROR, 'WINDOW_UPDATE by nothing');
      else if (!this.sender.widen(increment))
        this.connection.fail(FLOW_CONTROL_ERROR, 'the window is beyond its bound');
    } else if (stream === undefined) {
      if (this.streams.isIdle(id)) this.connection.fail(PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream');
      else this.connection.tolerate();
    } else if (increment === 0) {
      this.connection.streamError(id, stream, PROTOCOL_ERROR, WIDENED_BY_NOTHING);
    } else if (!this.sender.widenStream(stream, increment)) {
      this.connection.streamError(id, stream, FLOW_CONTROL_ERROR, WIDENED_TOO_FAR);
    }
  }
}
