/**
 * The end of a connection after its last answer: FIN is sent, what still comes is read for nobody for a moment, so that
 * the answer is not lost to the reset that unread bytes would cause (RFC 9112 section 9.6).
 */
import { Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import type { Transport, TransportOwner } from '../net/transport.ts';

/** For the caller's own end, once everything was sent. */
const LINGER_MS = 1_000;
/** For a slow caller to take what waits (nginx's send_timeout). */
const UNSENT_MS = 60_000;

export class Lingering implements TransportOwner {
  private readonly io: IoThread;
  private readonly transport: Transport;
  private readonly deadline: Deadline;

  constructor(io: IoThread, transport: Transport) {
    this.io = io;
    this.transport = transport;
    this.deadline = new Deadline(() => transport.giveUp());
    transport.owner = this;
    transport.end();
    if (transport.closed) return;
    io.lingering.add(transport);
    io.deadlines.set(this.deadline, UNSENT_MS);
    transport.socket.once('finish', () => io.deadlines.set(this.deadline, LINGER_MS));
  }

  onBytes(): void {}

  onEof(): void {
    this.transport.destroyWhenSent();
  }

  onClosed(): void {
    this.io.lingering.delete(this.transport);
    this.deadline.clear();
  }

  onCongested(): void {}

  onWritable(): void {}
}
