/**
 * The receiving half of a connection: header blocks become heads and trailers, DATA becomes content, and both windows
 * are kept. Nothing reaches the owner that breaks RFC 9113 section 8.
 */
import type { H2Connection } from './h2-connection.ts';
import type { H2Events } from './h2-events.ts';
import {
  BAD_EXPECT,
  BAD_PATH,
  BAD_VALUE,
  type H2Fault,
  INTERIM_FLOOD,
  malformed,
  TOO_LARGE,
  WRONG_LENGTH,
} from './h2-faults.ts';
import {
  COMPRESSION_ERROR,
  DEFAULT_WINDOW,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  STREAM_CLOSED,
  WINDOW_UPDATE,
} from './h2-frames.ts';
import type { H2Limits } from './h2-limits.ts';
import { METHOD } from './h2-names.ts';
import { HeadReader } from './h2-read-heads.ts';
import type { H2Sender } from './h2-sender.ts';
import { H2Stream } from './h2-stream.ts';
import type { StreamTable } from './h2-streams.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import { Fields, RequestHead, ResponseHead } from './message.ts';
import type { PathNormalization } from './path.ts';

const SELF_DEPENDENT = malformed('a stream depends on itself');
const TOO_MANY = malformed('more streams are open than we announced');
const UNREAD = malformed('requests come and their answers are not read');
const LEAVING = malformed('a stream is opened after our last GOAWAY');
const AFTER_END = malformed('a frame follows the end of its stream');
const NO_HEAD = malformed('DATA comes before the head');
const OVER_WINDOW = malformed('DATA exceeds the window of its stream');
const ENDLESS_TRAILERS = malformed('a second header section does not end its stream');
const ENDING_INTERIM = malformed('an interim response ends its stream');

export class H2Receiver<T> {
  readonly decoder: HpackDecoder;
  private readonly connection: H2Connection<T>;
  private readonly events: H2Events<T>;
  private readonly limits: H2Limits;
  private readonly streams: StreamTable<T>;
  private readonly sender: H2Sender<T>;
  private readonly heads: HeadReader;
  /** What the peer may still send on the connection, and what was consumed and not yet announced. */
  private window: number = DEFAULT_WINDOW;
  private owed = 0;
  /** The stream whose DATA frame is passing; null while it is discarded. */
  private current: H2Stream<T> | null = null;
  private currentEnds = false;

  constructor(
    connection: H2Connection<T>,
    events: H2Events<T>,
    limits: H2Limits,
    streams: StreamTable<T>,
    sender: H2Sender<T>,
    normalization: PathNormalization,
  ) {
    this.connection = connection;
    this.events = events;
    this.limits = limits;
    this.streams = streams;
    this.sender = sender;
    this.decoder = new HpackDecoder(limits);
    this.heads = new HeadReader(normalization);
  }

  /** Opens the connection's window to what the limits say; part of our preface. */
  openWindow(): void {
    const more = this.limits.connectionWindow - DEFAULT_WINDOW;
    if (more <= 0) return;
    this.window += more;
    this.sender.control(WINDOW_UPDATE, 0, more);
  }

  /** Bytes received that nobody has consumed yet: what a stalled connection holds against us. */
  get debt(): number {
    return Math.max(this.limits.connectionWindow, DEFAULT_WINDOW) - this.window - this.owed;
  }

  /** A whole header block, bytes[start, end). */
  block(id: number, ends: boolean, selfDependent: boolean, bytes: Buffer, start: number, end: number): void {
    if (!this.decoder.decode(bytes, start, end)) {
      this.connection.fail(COMPRESSION_ERROR, 'a header block cannot be decoded');
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) this.blockOfNoStream(id, ends, selfDependent);
    else if (stream.remoteEnded) this.connection.streamError(id, stream, STREAM_CLOSED, AFTER_END);
    else if (selfDependent) this.connection.streamError(id, stream, PROTOCOL_ERROR, SELF_DEPENDENT);
    else if (stream.headReceived) this.trailers(stream, ends);
    else this.response(stream, ends);
  }

  private blockOfNoStream(id: number, ends: boolean, selfDependent: boolean): void {
    const { connection, streams } = this;
    if (streams.isIdle(id)) {
      if (connection.role === 'server' && id % 2 === 1) this.request(id, ends, selfDependent);
      else connection.fail(PROTOCOL_ERROR, 'HEADERS on a stream that the peer may not open');
    } else if (streams.past.wasSkipped(id)) {
      connection.fail(PROTOCOL_ERROR, 'a new stream has a lower number than one before it');
    } else if (!streams.past.forgives(id)) {
      connection.fail(STREAM_CLOSED, 'HEADERS on a closed stream');
    }
  }

  private request(id: number, ends: boolean, selfDependent: boolean): void {
    const { connection, streams, decoder } = this;
    streams.peerOpened(id);
    if (connection.refusesStreams) {
      connection.streamError(id, null, REFUSED_STREAM, LEAVING);
    } else if (selfDependent) {
      connection.streamError(id, null, PROTOCOL_ERROR, SELF_DEPENDENT);
    } else if (streams.size >= this.limits.concurrentStreams) {
      connection.streamError(id, null, REFUSED_STREAM, TOO_MANY);
    } else if (this.sender.output.unsent > this.limits.unreadBytes) {
      connection.streamError(id, null, REFUSED_STREAM, UNREAD);
    } else if (decoder.tooLarge) {
      this.refuseRequest(id, TOO_LARGE, ends);
    } else {
      const head = decoder.sound ? this.heads.request(decoder.names, decoder.values, decoder.count, ends) : BAD_VALUE;
      if (head instanceof RequestHead) this.passRequest(id, head, ends);
      else if (answerable(head)) this.refuseRequest(id, head, ends);
      else this.dropRequest(id, head);
    }
  }

  private open(id: number, method: string, ends: boolean): H2Stream<T> {
    const stream = new H2Stream(this.connection, id, method, this.sender.peer.initialWindow, this.limits.streamWindow);
    stream.remoteEnded = ends;
    stream.headReceived = true;
    this.streams.add(stream);
    return stream;
  }

  private passRequest(id: number, head: RequestHead, ends: boolean): void {
    const stream = this.open(id, head.method, ends);
    stream.promised = head.length;
    this.events.onRequest(stream, head, ends);
  }

  private refuseRequest(id: number, wrong: H2Fault, ends: boolean): void {
    this.events.onRequestRefused(this.open(id, this.method(), ends), wrong.downstream, wrong.detail);
  }

  /** Of the request that was decoded last, as far as it was: the answer to HEAD has no content, a refusal included. */
  private method(): string {
    const { names, values, count } = this.decoder;
    const at = names.findIndex(({ kind }, i) => i < count && kind === METHOD);
    return at < 0 ? '' : (values[at] as string);
  }

  private dropRequest(id: number, wrong: H2Fault): void {
    this.connection.streamError(id, null, PROTOCOL_ERROR, wrong);
    this.events.onRequestRefused(null, wrong.downstream, wrong.detail);
  }

  private response(stream: H2Stream<T>, ends: boolean): void {
    const { decoder } = this;
    let head: ResponseHead | H2Fault = BAD_VALUE;
    if (decoder.tooLarge) head = TOO_LARGE;
    else if (decoder.sound) {
      head = this.heads.response(decoder.names, decoder.values, decoder.count, ends, stream.method);
    }
    if (!(head instanceof ResponseHead)) {
      this.connection.streamError(stream.id, stream, PROTOCOL_ERROR, head);
    } else if (head.status < 200) {
      this.interim(stream, head, ends);
    } else {
      const tunnel = stream.method === 'CONNECT' && head.status < 300;
      stream.headReceived = true;
      stream.promised = tunnel ? -1 : head.length;
      stream.remoteEnded = ends;
      this.events.onResponse(stream, head, ends);
      this.connection.settle(stream);
    }
  }

  private interim(stream: H2Stream<T>, head: ResponseHead, ends: boolean): void {
    stream.interims += 1;
    if (ends) this.connection.streamError(stream.id, stream, PROTOCOL_ERROR, ENDING_INTERIM);
    else if (stream.interims > this.limits.interimResponses) {
      this.connection.streamError(stream.id, stream, ENHANCE_YOUR_CALM, INTERIM_FLOOD);
    } else this.events.onInterim(stream, head);
  }

  private trailers(stream: H2Stream<T>, ends: boolean): void {
    const { decoder } = this;
    let fields: Fields | H2Fault = ENDLESS_TRAILERS;
    if (decoder.tooLarge) fields = TOO_LARGE;
    else if (!decoder.sound) fields = BAD_VALUE;
    else if (ends && stream.promised > 0) fields = WRONG_LENGTH;
    else if (ends) fields = this.heads.trailers(decoder.names, decoder.values, decoder.count);
    if (fields instanceof Fields) this.end(stream, fields);
    else this.connection.streamError(stream.id, stream, PROTOCOL_ERROR, fields);
  }

  private end(stream: H2Stream<T>, trailers: Fields | null): void {
    stream.remoteEnded = true;
    this.events.onEnd(stream, trailers);
    this.connection.settle(stream);
  }

  /** A DATA frame begins; all that can be wrong with it is found before its first byte is passed on. */
  beginData(id: number, flags: number, length: number, padding: number): void {
    this.current = null;
    this.window -= length;
    if (this.window < 0) {
      this.connection.fail(FLOW_CONTROL_ERROR, 'DATA exceeds the window of the connection');
      return;
    }
    const stream = this.streams.get(id);
    const ends = (flags & END_STREAM) !== 0;
    if (stream === undefined || !this.accepts(stream, length, padding, ends)) {
      if (stream === undefined) this.dataOfNoStream(id);
      this.credit(length);
      return;
    }
    if (length === padding && !ends && !this.connection.tolerateEmpty()) return;
    this.current = stream;
    this.currentEnds = ends;
    stream.held += length - padding;
    if (padding > 0) this.announce(stream, padding);
  }

  private dataOfNoStream(id: number): void {
    if (this.streams.isIdle(id)) this.connection.fail(PROTOCOL_ERROR, 'DATA on an idle stream');
    else if (!this.streams.past.forgives(id)) this.connection.streamError(id, null, STREAM_CLOSED, AFTER_END);
  }

  private accepts(stream: H2Stream<T>, length: number, padding: number, ends: boolean): boolean {
    const { connection } = this;
    const content = length - padding;
    if (stream.remoteEnded) return connection.streamError(stream.id, stream, STREAM_CLOSED, AFTER_END);
    if (!stream.headReceived) return connection.streamError(stream.id, stream, PROTOCOL_ERROR, NO_HEAD);
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) {
      return connection.streamError(stream.id, stream, FLOW_CONTROL_ERROR, OVER_WINDOW);
    }
    if (stream.promised >= 0) {
      stream.promised -= content;
      if (stream.promised < 0 || (ends && stream.promised > 0)) {
        return connection.streamError(stream.id, stream, PROTOCOL_ERROR, WRONG_LENGTH);
      }
    }
    return true;
  }

  data(bytes: Buffer, start: number, end: number): void {
    const stream = this.current;
    if (stream !== null && !stream.aborted) this.events.onData(stream, bytes, start, end);
  }

  endData(): void {
    const stream = this.current;
    this.current = null;
    if (stream !== null && !stream.aborted && this.currentEnds) this.end(stream, null);
  }

  /** The owner has passed content on. */
  consume(stream: H2Stream<T>, count: number): void {
    const consumed = Math.min(count, stream.held);
    stream.held -= consumed;
    this.announce(stream, consumed);
  }

  /** The owner will not consume any more. */
  release(stream: H2Stream<T>): void {
    this.credit(stream.held);
    stream.held = 0;
  }

  /** Gives credit back to the peer, for the stream and the connection, in portions of half a window. */
  private announce(stream: H2Stream<T>, count: number): void {
    this.credit(count);
    if (stream.remoteEnded || stream.aborted) return;
    stream.owed += count;
    if (stream.owed * 2 < this.limits.streamWindow) return;
    stream.receiveWindow += stream.owed;
    this.sender.control(WINDOW_UPDATE, stream.id, stream.owed);
    stream.owed = 0;
  }

  private credit(count: number): void {
    this.owed += count;
    if (this.owed * 2 < this.limits.connectionWindow || this.connection.ended) return;
    this.window += this.owed;
    this.sender.control(WINDOW_UPDATE, 0, this.owed);
    this.owed = 0;
  }
}

/** Faults that deserve an answer with a status: the message is well-formed HTTP/2, we only do not serve it. */
function answerable(wrong: H2Fault): boolean {
  return wrong === BAD_PATH || wrong === BAD_EXPECT;
}
