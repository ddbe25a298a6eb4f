/**
 * The one write buffer of a data thread: what a turn's events append for one socket leaves in one write.
 *
 * Heads are encoded and body bytes copied into it (copying 64 KiB costs a tenth of what a system call does), so the
 * shared read buffer is free again when its callback returns. When the kernel took everything, or TLS encrypted it,
 * the same memory serves the next write; otherwise it is given away to the socket and a fresh one takes its place
 * (when each may be reused differs between net and TLS, and is covered by test/unit/net/outbox.test.ts).
 */
import type { Socket } from 'node:net';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { writeLatin1 } from '../../shared/latin1.ts';

/** One read of the shared buffer plus a large head. */
const OUTBOX_BYTES = 65_536 + 16_384;

/** Where an outbox delivers. */
export interface OutboxOwner {
  readonly socket: Socket;
  readonly encrypted: boolean;
  /** The socket holds more than its high-water mark now; `drain` will follow. */
  onCongested(): void;
}

export class Outbox {
  private buffer: Buffer = Buffer.allocUnsafeSlow(OUTBOX_BYTES);
  private length = 0;
  private owner: OutboxOwner | null = null;
  /** Inside a read callback: appends wait for its end. */
  private turns = 0;

  private readonly clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.clock = clock;
  }

  /** A turn begins: what is written is collected, and time stands still. Every begin needs its end. */
  begin(): void {
    if (this.turns === 0) this.clock.hold();
    this.turns++;
  }

  end(): void {
    this.turns--;
    if (this.turns > 0) return;
    this.clock.release();
    this.flush();
  }

  appendText(owner: OutboxOwner, text: string): void {
    if (this.owner !== owner) this.switchTo(owner);
    if (this.length + text.length > OUTBOX_BYTES) {
      this.flush();
      this.owner = owner;
      if (text.length > OUTBOX_BYTES) {
        this.write(owner, Buffer.from(text, 'latin1'));
        return;
      }
    }
    this.length += writeLatin1(this.buffer, text, this.length);
    if (this.turns === 0) this.flush();
  }

  appendBytes(owner: OutboxOwner, bytes: Uint8Array, start: number, end: number): void {
    if (this.owner !== owner) this.switchTo(owner);
    let from = start;
    while (from < end) {
      if (this.length === OUTBOX_BYTES) {
        this.flush();
        this.owner = owner;
      }
      const count = Math.min(end - from, OUTBOX_BYTES - this.length);
      this.copy(bytes, from, count);
      from += count;
    }
    if (this.turns === 0) this.flush();
  }

  /** Drops what is collected for a socket that is being destroyed. */
  discard(owner: OutboxOwner): void {
    if (this.owner !== owner) return;
    this.owner = null;
    this.length = 0;
  }

  flush(): void {
    const { owner, length } = this;
    this.owner = null;
    this.length = 0;
    if (owner === null || length === 0) return;
    const { socket } = owner;
    if (socket.destroyed) return;
    const wasEmpty = socket.writableLength === 0;
    const bytes = this.buffer.subarray(0, length);
    if (owner.encrypted) {
      // TLS reuse is safe only if nothing was queued before; its writableLength is never 0 right after a write.
      this.write(owner, wasEmpty ? bytes : Buffer.from(bytes));
      return;
    }
    const roomy = socket.write(bytes);
    if (!wasEmpty || socket.writableLength > 0) this.buffer = Buffer.allocUnsafeSlow(OUTBOX_BYTES);
    // Only now: the owner may append in turn.
    if (!roomy) owner.onCongested();
  }

  private copy(bytes: Uint8Array, from: number, count: number): void {
    // Short runs: a loop beats the call into the runtime.
    if (count < 32) {
      const { buffer, length } = this;
      for (let i = 0; i < count; i++) buffer[length + i] = bytes[from + i] as number;
    } else {
      this.buffer.set(bytes.subarray(from, from + count), this.length);
    }
    this.length += count;
  }

  private switchTo(owner: OutboxOwner): void {
    this.flush();
    this.owner = owner;
  }

  private write(owner: OutboxOwner, bytes: Buffer): void {
    if (!owner.socket.write(bytes)) owner.onCongested();
  }
}
