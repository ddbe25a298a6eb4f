/**
 * The first bytes in a tunnel that a caller has asked for by CONNECT, where it depends on them how it goes on: which server
 * name its ClientHello asks for, or whether there is one.
 */
import { Deadline } from '../net/deadline.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';
import { detect, MAX_DETECT_BYTES } from './detect.ts';
import type { Closable, Room } from './room.ts';

/** A TLS client speaks as soon as its tunnel is open; one that has not by then waits for its server, milliseconds. */
const SILENCE_MS = 1_000;

/** `serverName` null: no ClientHello. What has been read is told to the transport's new owner at once. */
export type HelloRead = (serverName: string | null) => void;

export class TunnelHello implements TransportOwner, Closable {
  private readonly room: Room;
  private readonly transport: Transport;
  private readonly decided: HelloRead;
  private readonly deadline: Deadline;
  private seen: Buffer = Buffer.alloc(0);
  private eof = false;

  constructor(room: Room, transport: Transport, decided: HelloRead) {
    this.room = room;
    this.transport = transport;
    this.decided = decided;
    this.deadline = new Deadline(() => this.decide(null));
    transport.owner = this;
    room.sniffing.add(this);
    room.io.deadlines.set(this.deadline, SILENCE_MS);
  }

  destroy(): void {
    this.transport.destroy();
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.seen = Buffer.concat([this.seen, bytes.subarray(start, end)]);
    const detected = detect(this.seen);
    if (detected.protocol === 'tls') this.decide(detected.serverName);
    else if (detected.protocol !== 'more' || this.seen.length >= MAX_DETECT_BYTES) this.decide(null);
  }

  onEof(): void {
    this.eof = true;
    this.decide(null);
  }

  onClosed(): void {
    this.leave();
  }

  onCongested(): void {}

  onWritable(): void {}

  private decide(serverName: string | null): void {
    const { transport, seen } = this;
    if (!this.leave()) return;
    this.decided(serverName);
    // Nobody has taken it over: it was refused.
    if (transport.owner === this) return;
    if (seen.length > 0) transport.owner.onBytes(seen, 0, seen.length);
    if (this.eof) transport.owner.onEof();
  }

  /** False where it had been left before. */
  private leave(): boolean {
    this.deadline.clear();
    return this.room.sniffing.delete(this);
  }
}
