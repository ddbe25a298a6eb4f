/**
 * Reads just enough of a fresh connection to tell what it speaks, with ordinary `data` events, and stops the flow. Ends it
 * where nothing decisive comes in time.
 */
import type { Socket } from 'node:net';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Deadline } from '../net/deadline.ts';
import { plainAddress } from './caller.ts';
import { type Detected, detect, MAX_DETECT_BYTES } from './detect.ts';
import { HEAD_TIMEOUT_MS, KEEP_ALIVE_MS } from './http.ts';
import type { Closable, Room } from './room.ts';

/** The socket is stopped; `first` holds everything read. */
export type Sniffed = (first: Buffer, detected: Detected) => void;

export function sniff(room: Room, socket: Socket, decided: Sniffed): void {
  new Sniff(room, socket, decided).start();
}

class Sniff implements Closable {
  private readonly room: Room;
  private readonly socket: Socket;
  private readonly decided: Sniffed;
  private readonly deadline: Deadline;
  private seen: Buffer | null = null;
  private readonly onData = (chunk: Buffer): void => this.read(chunk);
  private readonly onEnd = (): void => this.destroy();
  private readonly onError = (): void => this.destroy();
  private readonly onClose = (): void => this.leave();

  constructor(room: Room, socket: Socket, decided: Sniffed) {
    this.room = room;
    this.socket = socket;
    this.decided = decided;
    this.deadline = new Deadline(() => this.outOfTime());
  }

  start(): void {
    const { room, socket } = this;
    room.sniffing.add(this);
    room.io.deadlines.set(this.deadline, KEEP_ALIVE_MS);
    socket.on('data', this.onData).on('end', this.onEnd).on('error', this.onError).on('close', this.onClose);
    socket.resume();
  }

  destroy(): void {
    this.socket.destroy();
  }

  private read(chunk: Buffer): void {
    const bytes = this.seen === null ? chunk : Buffer.concat([this.seen, chunk]);
    let detected = detect(bytes);
    if (detected.protocol === 'more') {
      if (bytes.length < MAX_DETECT_BYTES) {
        if (this.seen === null) this.room.io.deadlines.set(this.deadline, HEAD_TIMEOUT_MS);
        this.seen = bytes;
        return;
      }
      detected = { protocol: 'opaque' };
    }
    this.leave();
    this.socket.pause();
    this.decided(bytes, detected);
  }

  private leave(): void {
    const { socket } = this;
    this.deadline.clear();
    this.room.sniffing.delete(this);
    socket.off('data', this.onData).off('end', this.onEnd).off('error', this.onError).off('close', this.onClose);
  }

  private outOfTime(): void {
    if (this.seen !== null) this.refuse(FAILURES.headTimeout, 'the first bytes do not tell a protocol');
    this.socket.destroy();
  }

  private refuse(failure: Failure, detail: string): void {
    const { room, socket } = this;
    room.story.refusedConnection(room.direction, failure, detail, plainAddress(socket.remoteAddress));
  }
}
