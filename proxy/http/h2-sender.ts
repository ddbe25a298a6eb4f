/**
 * The sending half of a connection: windows, turns and the output. Streams that find the connection full wait in a
 * queue and get one frame's worth each when there is room again, so that a large body cannot starve small ones.
 */
import {
  DEFAULT_WINDOW,
  FRAME_HEADER_BYTES,
  LARGEST_WINDOW,
  writeDataFrame,
  writeHeaders,
  writeNumberFrame,
} from './h2-frames.ts';
import type { H2Limits } from './h2-limits.ts';
import type { H2Output } from './h2-output.ts';
import type { PeerSettings } from './h2-settings.ts';
import type { H2Stream } from './h2-stream.ts';
import { TurnQueue } from './h2-turns.ts';
import { NO_TABLE } from './h2-write-heads.ts';

/** What a stream may send while others wait. */
const TURN_BYTES = 16_384;

export class H2Sender<T> {
  readonly output: H2Output;
  readonly peer: PeerSettings;
  /** What the peer still takes on the whole connection. */
  window: number = DEFAULT_WINDOW;
  /** Frames written since the last flush that only answer the peer. */
  controls = 0;
  private readonly outputBytes: number;
  private readonly onWindow: (stream: H2Stream<T>) => void;
  private readonly turns: TurnQueue<T> = new TurnQueue();
  private turn: H2Stream<T> | null = null;
  private turnLeft = 0;
  private tableSaid = false;

  constructor(output: H2Output, peer: PeerSettings, limits: H2Limits, onWindow: (stream: H2Stream<T>) => void) {
    this.output = output;
    this.peer = peer;
    this.outputBytes = limits.outputBytes;
    this.onWindow = onWindow;
  }

  headers(streamId: number, block: string, endStream: boolean): void {
    const whole = this.tableSaid ? block : NO_TABLE + block;
    this.tableSaid = true;
    writeHeaders(this.output, streamId, whole, endStream, this.peer.maxFrameBytes);
  }

  /** RST_STREAM or WINDOW_UPDATE. */
  control(type: number, streamId: number, value: number): void {
    this.controls += 1;
    writeNumberFrame(this.output, type, streamId, value);
  }

  /**
   * Sends what windows and output have room for and returns how many bytes that was. A stream that could not send
   * everything is told by onWindow when to go on.
   */
  data(stream: H2Stream<T>, bytes: Uint8Array, start: number, end: number, endStream: boolean): number {
    let at = start;
    while (at < end) {
      const count = Math.min(end - at, this.peer.maxFrameBytes, this.room(stream));
      if (count <= 0) {
        this.wait(stream);
        return at - start;
      }
      writeDataFrame(this.output, stream.id, bytes, at, at + count, endStream && at + count === end);
      at += count;
      stream.sendWindow -= count;
      this.window -= count;
      this.turnLeft -= count;
    }
    if (start === end && endStream) writeDataFrame(this.output, stream.id, bytes, start, end, true);
    return end - start;
  }

  /** WINDOW_UPDATE for the connection; false: beyond 2^31-1 (RFC 9113 section 6.9.1). */
  widen(increment: number): boolean {
    this.window += increment;
    if (this.window > LARGEST_WINDOW) return false;
    this.runTurns();
    return true;
  }

  /** A window update or a setting changed what one stream may send; false: beyond 2^31-1. */
  widenStream(stream: H2Stream<T>, increment: number): boolean {
    stream.sendWindow += increment;
    if (stream.sendWindow > LARGEST_WINDOW) return false;
    if (stream.starved && stream.sendWindow > 0) {
      stream.starved = false;
      this.turns.add(stream);
      this.runTurns();
    }
    return true;
  }

  /** The output was written out: those who waited for it go on. */
  flushed(): void {
    this.controls = 0;
    this.output.flushed();
    this.runTurns();
  }

  forget(stream: H2Stream<T>): void {
    this.turns.remove(stream);
    stream.starved = false;
  }

  private room(stream: H2Stream<T>): number {
    const shared = Math.min(this.window, this.outputBytes - this.output.unsent - FRAME_HEADER_BYTES);
    const fair = this.turn === stream ? this.turnLeft : this.turns.empty && this.turn === null ? TURN_FREE : 0;
    return Math.min(stream.sendWindow, shared, fair);
  }

  private wait(stream: H2Stream<T>): void {
    if (stream.sendWindow <= 0) stream.starved = true;
    else this.turns.add(stream);
  }

  private runTurns(): void {
    if (this.turn !== null) return;
    while (this.window > 0 && this.output.unsent + FRAME_HEADER_BYTES < this.outputBytes) {
      const stream = this.turns.next();
      if (stream === null) return;
      this.turn = stream;
      this.turnLeft = TURN_BYTES;
      this.onWindow(stream);
      this.turn = null;
    }
  }
}

/** Nobody waits: as much as windows allow. */
const TURN_FREE = LARGEST_WINDOW;
