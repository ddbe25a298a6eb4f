import type { Failure } from '../../shared/errors.ts';
import type { PeerSettings } from './h2-settings.ts';
import type { H2Stream } from './h2-stream.ts';
import type { Fields, RequestHead, ResponseHead } from './message.ts';

/**
 * What a connection tells its owner, from within any call of its own or of its streams (`onDone` comes from within the
 * `respond` that ends the last stream). The owner may call any method of both from here, except `feed`.
 */
export interface H2Events<T> {
  /** Server: a request. With `ended` it has no body and no onEnd follows. */
  onRequest(stream: H2Stream<T>, head: RequestHead, ended: boolean): void;
  /**
   * Server: a request that must not go on. `stream` waits for a local answer with the failure's status (respond, then
   * reset with NO_ERROR if the request has not ended); null where the stream was reset already, for the log.
   */
  onRequestRefused(stream: H2Stream<T> | null, failure: Failure, detail: string): void;
  /** Client: an interim response. */
  onInterim(stream: H2Stream<T>, head: ResponseHead): void;
  /** Client: the final response head. With `ended` no onEnd follows. */
  onResponse(stream: H2Stream<T>, head: ResponseHead, ended: boolean): void;
  /** Content, valid during the call. The owner gives it back by `stream.consume` when it has passed it on. */
  onData(stream: H2Stream<T>, bytes: Buffer, start: number, end: number): void;
  /** The peer's side of the stream is complete. */
  onEnd(stream: H2Stream<T>, trailers: Fields | null): void;
  /**
   * The stream was given up by anybody but its owner: by the peer's RST_STREAM, by us for the peer's mistake (`failure`
   * names it), by a GOAWAY that excludes it (REFUSED_STREAM), by the end of the connection (CONNECTION_LOST;
   * `failure` again for the peer's mistake).
   */
  onReset(stream: H2Stream<T>, code: number, failure: Failure | null, detail: string): void;
  /** A stream whose sendData took less than offered may go on. */
  onWindow(stream: H2Stream<T>): void;
  /** The peer's SETTINGS came in (again). */
  onSettings(settings: PeerSettings): void;
  onPingAck(token: number): void;
  /** The peer takes no new streams; those above `lastId` are reset with REFUSED_STREAM next. */
  onGoaway(lastId: number, code: number, detail: string): void;
  /** The connection failed: all streams were reset, GOAWAY lies in the output. Flush, then close the transport. */
  onConnectionError(code: number, detail: string): void;
  /** After a GOAWAY of either side the last stream has ended: flush, then close the transport. */
  onDone(): void;
}
