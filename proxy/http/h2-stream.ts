/** One stream of a connection (RFC 9113 section 5.1): its state, and what its user does with it. */
import type { H2Connection } from './h2-connection.ts';
import type { Fields, ResponseHead } from './message.ts';

export class H2Stream<T> {
  readonly id: number;
  /** Whatever the owner of the connection hangs on the stream. */
  user: T | null;
  /** Method of the request: it decides what the response's length means. */
  readonly method: string;

  /** We have sent, or received, END_STREAM. */
  localEnded: boolean;
  remoteEnded: boolean;
  /** Ended by RST_STREAM of either side or with the connection; nothing more is reported or sent. */
  aborted: boolean;
  /** The final head has come in (a request's, a response's); what follows is content and trailers. */
  headReceived: boolean;
  headSent: boolean;
  interims: number;
  /** Content bytes that Content-Length still promises, -1 if nothing was promised. */
  promised: number;

  /** What the peer takes; may be negative after its SETTINGS (section 6.9.2). */
  sendWindow: number;
  /** What the peer may still send. */
  receiveWindow: number;
  /** Bytes received and not consumed; bytes consumed and not yet announced. */
  held: number;
  owed: number;

  /** For the sender: out of window; in the queue for a turn, between these two. */
  starved: boolean;
  queued: boolean;
  before: H2Stream<T> | null;
  behind: H2Stream<T> | null;

  private readonly connection: H2Connection<T>;

  constructor(connection: H2Connection<T>, id: number, method: string, sendWindow: number, receiveWindow: number) {
    this.id = id;
    this.user = null;
    this.method = method;
    this.localEnded = false;
    this.remoteEnded = false;
    this.aborted = false;
    this.headReceived = false;
    this.headSent = false;
    this.interims = 0;
    this.promised = -1;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.held = 0;
    this.owed = 0;
    this.starved = false;
    this.queued = false;
    this.before = null;
    this.behind = null;
    this.connection = connection;
  }

  /** Both sides are done, or one gave up. */
  get closed(): boolean {
    return this.aborted || (this.localEnded && this.remoteEnded);
  }

  /** Sends an interim (1xx) response. Ignored once the final one is sent. */
  interim(head: ResponseHead): void {
    this.connection.sendResponse(this, head, 0, '', false);
  }

  /**
   * Sends the final response head. `length`: bytes of the body or UNKNOWN_LENGTH; `extra`: further field lines
   * (`name: value\r\n` each) or the empty string; `end`: nothing follows.
   */
  respond(head: ResponseHead, length: number, extra: string, end: boolean): void {
    this.connection.sendResponse(this, head, length, extra, end);
  }

  /**
   * Sends bytes[start, end) as far as both windows and the output allow and returns how many it took. The caller keeps
   * the rest and offers it again at onWindow. With `endStream` the stream ends when all were taken; with no bytes at
   * all it ends at once.
   */
  sendData(bytes: Uint8Array, start: number, end: number, endStream: boolean): number {
    return this.connection.sendData(this, bytes, start, end, endStream);
  }

  /** Ends our side with trailers, or with an empty frame where there are none. All bytes have been taken before. */
  sendTrailers(trailers: Fields): void {
    this.connection.sendTrailers(this, trailers);
  }

  /**
   * Gives the stream up with an error code. What was received and not consumed is given back to the connection, so a
   * caller that drops a body calls this even where both sides have ended; then nothing is sent.
   */
  reset(code: number): void {
    this.connection.resetStream(this, code);
  }

  /** The caller has passed `count` received bytes on: the peer may send as many again. */
  consume(count: number): void {
    this.connection.consume(this, count);
  }
}
