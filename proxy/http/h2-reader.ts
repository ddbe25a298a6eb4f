/**
 * Cuts the bytes of a connection into frames. DATA passes through in pieces as it comes; the payload of every other
 * frame is handed over whole, from the caller's buffer where it lies there whole, else from a copy of at most one frame.
 */
import {
  CONTINUATION,
  DATA,
  DEFAULT_FRAME_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_SIZE_ERROR,
  PADDED,
  PREFACE,
  PROTOCOL_ERROR,
  readUint32,
  SETTINGS,
} from './h2-frames.ts';

export interface FrameSink {
  /** A DATA frame begins; `length` counts all that flow control counts, `padding` what of it is no content. */
  onDataFrame(streamId: number, flags: number, length: number, padding: number): void;
  onDataBytes(bytes: Buffer, start: number, end: number): void;
  onDataFrameEnd(): void;
  /** Any other frame, payload bytes[start, end). */
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void;
  /** The bytes are no HTTP/2; the connection is lost. */
  onFrameError(code: number, detail: string): void;
}

type Phase = 'preface' | 'header' | 'padLength' | 'content' | 'padding' | 'payload' | 'stopped';

export class FrameReader {
  /** Frames that have begun; a header block counts once, however many carry it. */
  begun = 0;
  private readonly sink: FrameSink;
  private phase: Phase;
  /** Bytes of the preface seen, of the frame header gathered, of the payload held. */
  private filled = 0;
  private readonly header: Buffer = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES);
  private held: Buffer | null = null;
  private type = 0;
  private flags = 0;
  private streamId = 0;
  private length = 0;
  /** Content and padding of the DATA frame that are still to come. */
  private contentLeft = 0;
  private paddingLeft = 0;
  /** The peer's first frame has to be SETTINGS. */
  private greeted = false;
  /** Stream whose header block is unfinished: only its CONTINUATION may come. 0: none. */
  private continues = 0;

  constructor(sink: FrameSink, expectPreface: boolean) {
    this.sink = sink;
    this.phase = expectPreface ? 'preface' : 'header';
  }

  /** Within a frame or a header block: a peer that leaves it at this has not finished what it began. */
  get midway(): boolean {
    if (this.phase === 'stopped') return false;
    return this.phase !== 'header' || this.filled > 0 || this.continues !== 0;
  }

  /** From within an event: nothing more is read. */
  stop(): void {
    this.phase = 'stopped';
    this.held = null;
  }

  /** The next frame has to continue the header block of `streamId`; 0: any frame may come. */
  expectContinuation(streamId: number): void {
    this.continues = streamId;
  }

  feed(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      switch (this.phase) {
        case 'header':
          at = this.readHeader(bytes, at, end);
          break;
        case 'payload':
          at = this.readPayload(bytes, at, end);
          break;
        case 'content':
          at = this.readContent(bytes, at, end);
          break;
        case 'padding':
          at = this.skipPadding(at, end);
          break;
        case 'padLength':
          this.beginData(bytes[at] as number);
          at += 1;
          break;
        case 'preface':
          at = this.readPreface(bytes, at, end);
          break;
        case 'stopped':
          return;
      }
    }
  }

  private readPreface(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && this.filled < PREFACE.length) {
      if (bytes[at] !== PREFACE[this.filled]) {
        this.fail(PROTOCOL_ERROR, 'the connection does not begin with the HTTP/2 preface');
        return end;
      }
      at += 1;
      this.filled += 1;
    }
    if (this.filled === PREFACE.length) this.awaitHeader();
    return at;
  }

  private readHeader(bytes: Buffer, start: number, end: number): number {
    if (this.filled === 0 && end - start >= FRAME_HEADER_BYTES) {
      this.parseHeader(bytes, start);
      return start + FRAME_HEADER_BYTES;
    }
    const count = Math.min(FRAME_HEADER_BYTES - this.filled, end - start);
    bytes.copy(this.header, this.filled, start, start + count);
    this.filled += count;
    if (this.filled === FRAME_HEADER_BYTES) this.parseHeader(this.header, 0);
    return start + count;
  }

  private parseHeader(bytes: Buffer, at: number): void {
    this.length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    this.type = bytes[at + 3] as number;
    this.flags = bytes[at + 4] as number;
    this.streamId = readUint32(bytes, at + 5) & 0x7fff_ffff;
    this.filled = 0;
    if (!this.allowed()) return;
    if (this.continues === 0) this.begun++;
    if (this.type === DATA) {
      if ((this.flags & PADDED) === 0) this.beginData(-1);
      else if (this.length > 0) this.phase = 'padLength';
      else this.fail(FRAME_SIZE_ERROR, 'a padded frame has no room for the length of its padding');
    } else {
      this.phase = 'payload';
      if (this.length === 0) this.deliver(bytes, 0, 0);
    }
  }

  /** What can be said of a frame by its header alone. */
  private allowed(): boolean {
    if (this.length > DEFAULT_FRAME_BYTES) return this.fail(FRAME_SIZE_ERROR, 'a frame is longer than announced');
    if (this.continues !== 0 && (this.type !== CONTINUATION || this.streamId !== this.continues)) {
      return this.fail(PROTOCOL_ERROR, 'a frame interrupts a header block');
    }
    if (this.continues === 0 && this.type === CONTINUATION) {
      return this.fail(PROTOCOL_ERROR, 'CONTINUATION continues nothing');
    }
    if (!this.greeted && this.type !== SETTINGS) {
      return this.fail(PROTOCOL_ERROR, 'the first frame is not SETTINGS');
    }
    this.greeted = true;
    return true;
  }

  /** `padLength` is -1 for a frame without padding. */
  private beginData(padLength: number): void {
    const overhead = padLength < 0 ? 0 : 1 + padLength;
    if (overhead > this.length) {
      this.fail(PROTOCOL_ERROR, 'padding is longer than its frame');
      return;
    }
    this.contentLeft = this.length - overhead;
    this.paddingLeft = padLength < 0 ? 0 : padLength;
    this.phase = 'content';
    this.sink.onDataFrame(this.streamId, this.flags, this.length, overhead);
    if (this.contentLeft === 0) this.endContent();
  }

  private readContent(bytes: Buffer, start: number, end: number): number {
    const to = Math.min(end, start + this.contentLeft);
    this.contentLeft -= to - start;
    this.sink.onDataBytes(bytes, start, to);
    if (this.contentLeft === 0) this.endContent();
    return to;
  }

  private endContent(): void {
    if (this.phase === 'stopped') return;
    if (this.paddingLeft > 0) this.phase = 'padding';
    else this.endData();
  }

  private skipPadding(start: number, end: number): number {
    const to = Math.min(end, start + this.paddingLeft);
    this.paddingLeft -= to - start;
    if (this.paddingLeft === 0) this.endData();
    return to;
  }

  private endData(): void {
    this.awaitHeader();
    this.sink.onDataFrameEnd();
  }

  private readPayload(bytes: Buffer, start: number, end: number): number {
    if (this.held === null && end - start >= this.length) {
      this.deliver(bytes, start, start + this.length);
      return start + this.length;
    }
    this.held ??= Buffer.allocUnsafeSlow(this.length);
    const count = Math.min(this.length - this.filled, end - start);
    bytes.copy(this.held, this.filled, start, start + count);
    this.filled += count;
    if (this.filled === this.length) {
      const { held } = this;
      this.held = null;
      this.deliver(held, 0, this.length);
    }
    return start + count;
  }

  private deliver(bytes: Buffer, start: number, end: number): void {
    this.awaitHeader();
    this.sink.onFrame(this.type, this.flags, this.streamId, bytes, start, end);
  }

  private awaitHeader(): void {
    this.phase = 'header';
    this.filled = 0;
  }

  private fail(code: number, detail: string): false {
    this.stop();
    this.sink.onFrameError(code, detail);
    return false;
  }
}
