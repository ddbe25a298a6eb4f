/**
 * The one write buffer of a data thread: what is appended for one socket leaves in one write.
 *
 * Heads are encoded and body bytes copied into it (copying 64 KiB costs a tenth of what a system call does), so the
 * shared read buffer is free again when its callback returns. When the kernel took everything, or TLS encrypted it,
 * the same memory serves the next write; otherwise it is given away to the socket, or lent to a TLS socket that is
 * behind, and another takes its place (when each may be reused differs between net and TLS, and is covered by
 * test/unit/net/outbox.test.ts).
 *
 * When many sockets are ready in one turn of the event loop, their writes are collected and made one after the other at
 * its end: whoever gets them is woken once and not after each, which saves 9 to 16 % of the CPU of a plain hop at 16 and
 * 64 connections. Where few are ready the write leaves with the read that caused it: the further turn would cost more.
 */
import type { Socket } from 'node:net';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { writeLatin1 } from '../../shared/latin1.ts';
import { giveBack, takeBuffer } from '../../shared/spare-buffers.ts';
import { type WriteListener, writeNow } from './raw-writes.ts';

/** One read of the shared buffer plus a large head. */
const OUTBOX_BYTES = 65_536 + 16_384;
/** With more than this the write is long enough to wake whoever waits for it; the rest of the turn need not. */
const WORTH_A_WRITE = 65_536;
/** Reads in a turn from which on their writes are collected. */
const MANY_READS = 4;
/** While they are not collected, one read in so many looks at how many its turn has. */
const LOOK_EVERY = 64;
/** Shorter writes are copied into Node's own pool. */
const WORTH_A_BUFFER = 4096;
/** Longer ones that wait for their turn leave with the memory they are in. */
const WORTH_LENDING = 32_768;

/** Where an outbox delivers. */
export interface OutboxOwner extends WriteListener {
  readonly socket: Socket;
  readonly encrypted: boolean;
  /** The socket takes no more for now. */
  onCongested(): void;
  /** Everything that was held for it has left. Follows by the socket's `drain` where that holds it. */
  onWritable(): void;
  /** Not called for TLS, whose socket ends by itself. */
  onWriteFailed(error: Error): void;
}

export class Outbox {
  /** Begun so far. */
  events = 0;
  private buffer: Buffer = Buffer.allocUnsafeSlow(OUTBOX_BYTES);
  private length = 0;
  /** Whom the bytes are for: `owners[i]` gets those up to `ends[i]`, `owner` those behind the last of `count`. */
  private readonly owners: (OutboxOwner | null)[] = [];
  private readonly ends: number[] = [];
  private count = 0;
  private owner: OutboxOwner | null = null;
  /** Inside an event: appends wait for its end. */
  private nested = 0;
  /** Writes made together, so far. */
  flushes = 0;
  private collecting = false;
  /** The end of the loop's turn will be noticed, and `reads` counts from its start; otherwise since the last look. */
  private watching = false;
  private reads = 0;
  private readonly onTurnEnd = (): void => this.turnEnded();
  private readonly clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.clock = clock;
  }

  /** An event begins: what is written is collected, and time stands still. Every begin needs its end. */
  begin(): void {
    if (this.nested === 0) {
      this.events++;
      this.clock.hold();
    }
    this.nested++;
  }

  end(): void {
    this.nested--;
    if (this.nested > 0) return;
    this.clock.release();
    this.reads++;
    if (!this.watching && (this.collecting || this.reads === LOOK_EVERY)) {
      this.watching = true;
      this.reads = 1;
      setImmediate(this.onTurnEnd);
    }
    if (!this.watching || this.length > WORTH_A_WRITE) this.flush();
  }

  appendText(owner: OutboxOwner, text: string): void {
    if (this.owner !== owner) this.switchTo(owner);
    if (this.length + text.length > OUTBOX_BYTES) {
      // Who is told of congestion may append: again, until there is room.
      while (this.length > 0 && this.length + text.length > OUTBOX_BYTES) this.flush();
      if (text.length > OUTBOX_BYTES) {
        if (!this.write(owner, Buffer.from(text, 'latin1'), false)) owner.onCongested();
        return;
      }
      this.switchTo(owner);
    }
    this.length += writeLatin1(this.buffer, text, this.length);
    if (this.nested === 0) this.flush();
  }

  appendBytes(owner: OutboxOwner, bytes: Uint8Array, start: number, end: number): void {
    let from = start;
    while (from < end) {
      if (this.length === OUTBOX_BYTES) this.flush();
      if (this.owner !== owner) this.switchTo(owner);
      const count = Math.min(end - from, OUTBOX_BYTES - this.length);
      this.copy(bytes, from, count);
      from += count;
    }
    if (this.nested === 0) this.flush();
  }

  /** Writes all that is collected, in order; what was for sockets that are destroyed meanwhile is dropped. */
  flush(): void {
    this.switchTo(null);
    const { count, owners, ends, buffer } = this;
    if (count === 0) return;
    this.flushes++;
    let congested: OutboxOwner[] | null = null;
    let start = 0;
    for (let i = 0; i < count; i++) {
      const owner = owners[i] as OutboxOwner;
      const end = ends[i] as number;
      owners[i] = null;
      const bytes = buffer.subarray(start, end);
      if (!owner.socket.destroyed && !this.write(owner, bytes, count === 1)) (congested ??= []).push(owner);
      start = end;
    }
    this.count = 0;
    this.length = 0;
    // Only now: they may append in turn.
    if (congested !== null) for (const owner of congested) owner.onCongested();
  }

  private turnEnded(): void {
    this.watching = false;
    this.collecting = this.reads >= MANY_READS;
    this.reads = 0;
    this.flush();
  }

  /** False if the socket takes no more for now. `alone`: nothing else is in the buffer. */
  private write(owner: OutboxOwner, bytes: Buffer, alone: boolean): boolean {
    const { socket, encrypted } = owner;
    // TLS reuse is safe only if nothing was queued before; its writableLength is never 0 right after a write.
    if (encrypted) return socket.writableLength === 0 ? socket.write(bytes) : this.queue(socket, bytes, alone);
    if (writeNow(socket, bytes, owner)) return true;
    if (this.buffer.buffer === bytes.buffer) this.buffer = Buffer.allocUnsafeSlow(OUTBOX_BYTES);
    return false;
  }

  /** A TLS socket keeps what comes behind another write until that has left. */
  private queue(socket: Socket, bytes: Buffer, alone: boolean): boolean {
    const { length } = bytes;
    if (length < WORTH_A_BUFFER) return socket.write(Buffer.from(bytes));
    if (alone && length >= WORTH_LENDING) {
      const lent = this.buffer;
      this.buffer = takeBuffer(OUTBOX_BYTES);
      return socket.write(bytes, () => giveBack(lent));
    }
    let size = WORTH_A_BUFFER;
    while (size < length) size *= 2;
    const copy = takeBuffer(size);
    copy.set(bytes);
    return socket.write(copy.subarray(0, length), () => giveBack(copy));
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

  private switchTo(owner: OutboxOwner | null): void {
    const { count, length } = this;
    if (this.owner !== null && length > (count === 0 ? 0 : (this.ends[count - 1] as number))) {
      this.owners[count] = this.owner;
      this.ends[count] = length;
      this.count = count + 1;
    }
    this.owner = owner;
  }
}
