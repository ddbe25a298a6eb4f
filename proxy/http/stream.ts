/**
 * One request's way through one connection, whatever the connection's version: HTTP/1.1 carries one stream at a time,
 * HTTP/2 many. What a request leases from a pool is a stream.
 */
import type { Failure } from '../../shared/errors.ts';
import type { Fields, RequestHead, ResponseHead } from './message.ts';

/** The sending half of a request towards an upstream. */
export interface UpstreamStream {
  /** Verified SPIFFE ID of the far side, empty without mutual TLS. */
  readonly principal: string;
  /** False if the stream's connection has carried other requests before: its far side may have just closed it. */
  readonly fresh: boolean;
  /** The far side is a sidecar like this one: what sidecars tell each other may go along. */
  readonly toWeft: boolean;
  /** Head of the request; `extra` is ready-made field lines (`name: value\r\n`) that the caller did not send. */
  sendHead(head: RequestHead, length: number, extra: string): void;
  sendBytes(bytes: Uint8Array, start: number, end: number): void;
  sendEnd(trailers: Fields | null): void;
  /** Stops and restarts the response. */
  pause(): void;
  resume(): void;
  /** Gives up: nothing more is reported, the far side sees a reset or a closed connection. */
  cancel(): void;
  /** Reads the rest of the response for nobody, so that the connection can serve again: for short answers. */
  discard(): void;
}

/** What a stream tells the exchange that holds its lease. After `onEnd` or `onFailure` it is given back. */
export interface StreamListener {
  onInterim(head: ResponseHead): void;
  /** The final head; with status 101 (or a 2xx to CONNECT) bytes of the new protocol follow as onBytes. */
  onHead(head: ResponseHead): void;
  onBytes(bytes: Buffer, start: number, end: number): void;
  onEnd(trailers: Fields | null): void;
  /** Before `onHead` a retry may be possible; after it the response was cut. */
  onFailure(failure: Failure, detail: string): void;
  /** The request side is full; `onWritable` follows. */
  onCongested(): void;
  onWritable(): void;
}

/** The answering half towards a downstream: what an exchange needs of the session it came in by. */
export interface DownstreamStream {
  /** An interim (1xx) response. */
  sendInterim(head: ResponseHead): void;
  sendHead(head: ResponseHead, length: number): void;
  sendBytes(bytes: Uint8Array, start: number, end: number): void;
  sendEnd(trailers: Fields | null): void;
  /** Ends in a way that nobody takes for a complete response. */
  abort(): void;
  /** Stops and restarts the request body. */
  pauseRequest(): void;
  resumeRequest(): void;
}
