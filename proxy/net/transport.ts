/**
 * One side's byte stream: a plain or TLS socket that reads into the shared buffer and writes through the outbox.
 *
 * It knows nothing of what the bytes mean; its owner does, and may be replaced while it lives (a sniffed connection
 * becomes a session, an upgraded one a tunnel). Whoever creates a transport closes it with `end` or `destroy`.
 */
import type { Socket } from 'node:net';
import type { Outbox } from './outbox.ts';
import { type ReadCallback, readInto } from './raw-reads.ts';
import { holdsRawBytes } from './raw-writes.ts';
import { resetSocket } from './reset-tls.ts';
import { outliveWriteErrors, tellsOfGonePeer } from './write-errors.ts';

export interface TransportOwner {
  /** Bytes [start, end) arrived; they are valid only during the call. */
  onBytes(bytes: Buffer, start: number, end: number): void;
  /** The far side will send no more; our side stays open until `end` or `destroy`. */
  onEof(): void;
  /** The socket is gone; `error` is null when it went in order. Called once, the last call of all. */
  onClosed(error: Error | null): void;
  /** More is queued than the high-water mark: stop the source. */
  onCongested(): void;
  /** Everything queued has left: the source may go on. */
  onWritable(): void;
  /**
   * The far side is gone and takes no more. True: what it said before is still read, and `onEof` or `onClosed` follows;
   * otherwise the socket is destroyed. For TLS only after `outliveWrites`.
   */
  onWriteFailed?(error: Error): boolean;
  /** Finish what is open, take nothing new, then end. */
  goAway?(): void;
}

/** Memory that a socket may keep for a while. */
export interface Lent {
  /** What to call when the socket has done with what is lent now. */
  lend(): () => void;
}

export class Transport {
  readonly socket: Socket;
  readonly encrypted: boolean;
  readonly outbox: Outbox;
  owner: TransportOwner;
  congested = false;
  closed = false;
  private error: Error | null = null;
  /** FIN follows what is queued. */
  private ending = false;

  constructor(socket: Socket, encrypted: boolean, outbox: Outbox, owner: TransportOwner) {
    this.socket = socket;
    this.encrypted = encrypted;
    this.outbox = outbox;
    this.owner = owner;
    socket.on('error', (error) => {
      this.error ??= error;
      // A bad TLS record raises an error without closing anything.
      socket.destroy();
    });
    socket.on('end', () => {
      if (!this.closed) this.turn(() => this.owner.onEof());
    });
    socket.on('close', () => {
      if (this.closed) return;
      this.closed = true;
      this.turn(() => this.owner.onClosed(this.error));
    });
    socket.on('drain', () => this.onWritable());
  }

  /** The callback for `onread` of sockets that we dial, and for `adopt`. */
  static reader(current: () => Transport): ReadCallback {
    let transport: Transport | null = null;
    return (length, bytes) => {
      transport ??= current();
      transport.deliver(bytes as Buffer, length);
      return true;
    };
  }

  /** Takes over an accepted socket whose first bytes were read already; the flow must be stopped. */
  adopt(first: Buffer | null): void {
    readInto(
      this.socket,
      Transport.reader(() => this),
    );
    if (first !== null && first.length > 0) this.deliver(first, first.length);
    if (this.closed) return;
    if (this.encrypted) this.socket.read(0);
    this.socket.resume();
  }

  get remoteAddress(): string {
    return this.socket.remoteAddress ?? '';
  }

  text(text: string): void {
    this.outbox.appendText(this, text);
  }

  bytes(bytes: Uint8Array, start: number, end: number): void {
    this.outbox.appendBytes(this, bytes, start, end);
  }

  /**
   * Writes a buffer of the caller's in one piece. True if the caller may use its memory again at once; false if the
   * socket keeps it.
   */
  whole(bytes: Buffer, memory: Lent): boolean {
    const { socket } = this;
    if (socket.destroyed) return true;
    const wasEmpty = socket.writableLength === 0;
    if (!(wasEmpty ? socket.write(bytes) : socket.write(bytes, memory.lend()))) this.onCongested();
    return wasEmpty && (this.encrypted || socket.writableLength === 0);
  }

  onCongested(): void {
    if (this.congested) return;
    this.congested = true;
    this.owner.onCongested();
  }

  onWritable(): void {
    if (this.ending && !this.socket.destroyed) this.socket.end();
    // Writes that left together each say so.
    if (!this.congested) return;
    this.congested = false;
    if (!this.closed) this.turn(() => this.owner.onWritable());
  }

  /** A write that failed; of TLS only after `outliveWrites`. */
  onWriteFailed(error: Error): void {
    if (!this.readsOn(error)) this.socket.destroy(error);
  }

  /** Has the owner asked about failed writes of TLS, too. */
  outliveWrites(): void {
    if (this.encrypted) outliveWriteErrors(this.socket, (error) => this.readsOn(error));
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Sends what is queued, then FIN (TLS: close_notify first). */
  end(): void {
    this.outbox.flush();
    if (this.socket.destroyed) return;
    // A FIN that waits in libuv behind bytes would rule out a reset.
    if (!this.encrypted && holdsRawBytes(this.socket)) this.ending = true;
    else this.socket.end();
  }

  /** Both sides are at their end: closes once everything queued has left. */
  destroyWhenSent(): void {
    this.outbox.flush();
    this.socket.destroySoon();
  }

  /** Ends at once, queued bytes lost; the far side sees FIN, or RST if it sent what was not read. */
  destroy(): void {
    this.socket.destroy();
  }

  /** Ends at once with RST, so that a cut body is not taken for a whole one. */
  reset(): void {
    resetSocket(this.socket);
  }

  /** Ends at once; a far side that still waits for queued bytes sees RST, and does not take their loss for the end. */
  giveUp(): void {
    if (this.congested || this.socket.writableLength > 0) this.reset();
    else this.destroy();
  }

  /** Runs an event that did not come by a read, so that what it writes leaves in one write. */
  turn(event: () => void): void {
    this.outbox.begin();
    try {
      event();
    } finally {
      this.outbox.end();
    }
  }

  private readsOn(error: Error): boolean {
    if (this.closed || this.socket.destroyed || !tellsOfGonePeer(error)) return false;
    if (this.owner.onWriteFailed?.(error) !== true) return false;
    // What waits will never leave: whoever holds bytes back for it may go on, and they are dropped.
    this.onWritable();
    return true;
  }

  private deliver(bytes: Buffer, length: number): void {
    if (this.closed || this.socket.destroyed) return;
    const { outbox } = this;
    outbox.begin();
    try {
      this.owner.onBytes(bytes, 0, length);
    } finally {
      outbox.end();
    }
  }
}
