/**
 * HTTP/1.1 messages from bytes, for both ends of the proxy. No I/O: bytes in, events out, at any cut.
 *
 * Events come from within `feed`, which must not be called again from one. A parser that reported an error is dead: it
 * swallows what it is fed, since nobody can say where the next message would start.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { AuthorityMemo } from './authority.ts';
import { Fault, REQUEST_FAILURES, RESPONSE_FAILURES } from './faults.ts';
import { BodyReader } from './h1-body.ts';
import { buildRequest } from './h1-request.ts';
import { buildResponse, isInterim } from './h1-response.ts';
import { FAULTY, type HeadScanner, INCOMPLETE } from './head-scanner.ts';
import type { HeadLimits } from './limits.ts';
import { type Fields, RequestHead, ResponseHead, UNTIL_CLOSE } from './message.ts';
import type { PathNormalization } from './path.ts';
import { giveScannerBack, takeScanner } from './scanner-pool.ts';

export interface RequestEvents {
  onRequest(head: RequestHead): void;
  /** Bytes of the body, valid during the call only. */
  onData(bytes: Buffer, start: number, end: number): void;
  /** The message is complete. */
  onEnd(trailers: Fields | null): void;
  /** The last event. `detail` says more than the row, in fixed words. */
  onRequestError(failure: Failure, detail: string): void;
}

export interface RequestParserOptions {
  readonly limits: HeadLimits;
  /** Of the connection; an absolute target may say otherwise. */
  readonly scheme: 'http' | 'https';
  readonly normalization: PathNormalization;
}

const BETWEEN = 0;
const IN_HEAD = 1;
const IN_BODY = 2;
const DEAD = 3;

export class RequestParser {
  private readonly events: RequestEvents;
  private readonly options: RequestParserOptions;
  private readonly body: BodyReader;
  private readonly hosts: AuthorityMemo = new AuthorityMemo();
  private scanner: HeadScanner | null = null;
  private phase = BETWEEN;

  constructor(events: RequestEvents, options: RequestParserOptions) {
    this.events = events;
    this.options = options;
    this.body = new BodyReader(events, options.limits);
  }

  /** True between messages, with nothing of the next one read. */
  get idle(): boolean {
    return this.phase === BETWEEN;
  }

  get inHead(): boolean {
    return this.phase === IN_HEAD;
  }

  get inBody(): boolean {
    return this.phase === IN_BODY;
  }

  get dead(): boolean {
    return this.phase === DEAD;
  }

  /**
   * Feeds bytes[start, end) and says how far it got: `end`, or less where a message ended or `stop` was called. The caller
   * decides when to feed the rest. Keeps no reference to `bytes`.
   */
  feed(bytes: Buffer, start: number, end: number): number {
    if (this.phase === DEAD || start === end) return end;
    this.body.stopped = false;
    let at = start;
    if (this.phase !== IN_BODY) {
      at = this.readHead(bytes, start, end);
      if (this.phase !== IN_BODY) return at;
    }
    if (!this.body.done) at = this.body.read(bytes, at, end);
    if (at === FAULTY) return this.fail(this.body.fault, end);
    if (this.body.done) this.endMessage();
    return at;
  }

  /**
   * Called from within onRequest or onData: feed returns after that event. An end that needs no more bytes (no body, or its
   * last byte delivered) is still reported.
   */
  stop(): void {
    this.body.stopped = true;
  }

  private readHead(bytes: Buffer, start: number, end: number): number {
    const scanner = this.scanner ?? this.beginHead();
    const after = scanner.feed(bytes, start, end);
    if (after === INCOMPLETE) {
      this.scanner = scanner;
      this.phase = IN_HEAD;
      return end;
    }
    this.scanner = null;
    if (after === FAULTY) return this.fail(scanner.fault, end);
    const head = buildRequest(scanner, this.options.scheme, this.options.normalization, this.hosts);
    giveScannerBack(scanner);
    if (head instanceof Fault) return this.fail(head, end);
    this.phase = IN_BODY;
    this.body.begin(head.length);
    this.events.onRequest(head);
    return after;
  }

  private beginHead(): HeadScanner {
    const { requestLineBytes, headBytes, fields } = this.options.limits;
    const scanner = takeScanner();
    scanner.begin('request', requestLineBytes, headBytes, fields);
    return scanner;
  }

  private endMessage(): void {
    this.phase = BETWEEN;
    this.events.onEnd(this.body.trailers);
  }

  private fail(reason: Fault, end: number): number {
    this.phase = DEAD;
    this.events.onRequestError(REQUEST_FAILURES[reason.kind], reason.detail);
    return end;
  }
}

export interface ResponseEvents {
  /** A 1xx other than 101; the final head is still to come. */
  onInterim(head: ResponseHead): void;
  /** The final head, or a 101. */
  onResponse(head: ResponseHead): void;
  /** Bytes of the body, valid during the call only. */
  onData(bytes: Buffer, start: number, end: number): void;
  /** The message is complete; after a 101, or a 2xx to CONNECT, the rest of the connection is a tunnel. */
  onEnd(trailers: Fields | null): void;
  /** The last event, as in RequestEvents. */
  onResponseError(failure: Failure, detail: string): void;
}

export interface ResponseParserOptions {
  readonly limits: HeadLimits;
}

const FLOOD = 'too many 1xx responses before the final one';

export class ResponseParser {
  private readonly events: ResponseEvents;
  private readonly limits: HeadLimits;
  private readonly body: BodyReader;
  private scanner: HeadScanner | null = null;
  private phase = BETWEEN;
  /** A response is due. */
  private expected = false;
  private method = '';
  private upgrade: string | null = null;
  private interims = 0;
  private untilClose = false;

  constructor(events: ResponseEvents, options: ResponseParserOptions) {
    this.events = events;
    this.limits = options.limits;
    this.body = new BodyReader(events, options.limits);
  }

  /** True between messages, with nothing of the next one read; `expect` alone changes nothing in it. */
  get idle(): boolean {
    return this.phase === BETWEEN;
  }

  get inHead(): boolean {
    return this.phase === IN_HEAD;
  }

  get inBody(): boolean {
    return this.phase === IN_BODY;
  }

  get dead(): boolean {
    return this.phase === DEAD;
  }

  /** Announces a response, before its first byte is fed: the request's method and upgrade decide what follows its head. */
  expect(method: string, upgrade: string | null): void {
    this.expected = true;
    this.method = method;
    this.upgrade = upgrade;
    this.interims = 0;
    this.untilClose = false;
  }

  /**
   * As RequestParser.feed. Bytes that no expected response covers are left unread: the return value is then below `end`,
   * and the caller ends the connection.
   */
  feed(bytes: Buffer, start: number, end: number): number {
    if (this.phase === DEAD) return end;
    this.body.stopped = false;
    let at = start;
    while (this.expected && this.phase !== IN_BODY) {
      if (at === end || this.body.stopped) return at;
      at = this.readHead(bytes, at, end);
    }
    if (this.phase !== IN_BODY) return at;
    if (!this.body.done) at = this.body.read(bytes, at, end);
    if (at === FAULTY) return this.fail(this.body.fault, end);
    if (this.body.done) this.endMessage();
    return at;
  }

  /**
   * The far side closed. Ends a body that lasts until then (onEnd). True if no response was due or cut; false, with no
   * event, otherwise.
   */
  finish(): boolean {
    if (this.phase === IN_BODY && this.untilClose) {
      this.body.finish();
      this.endMessage();
      return true;
    }
    return this.phase === BETWEEN && !this.expected;
  }

  /** As RequestParser.stop; from within onInterim too. */
  stop(): void {
    this.body.stopped = true;
  }

  private readHead(bytes: Buffer, start: number, end: number): number {
    const scanner = this.scanner ?? this.beginHead();
    const after = scanner.feed(bytes, start, end);
    if (after === INCOMPLETE) {
      this.scanner = scanner;
      this.phase = IN_HEAD;
      return end;
    }
    this.scanner = null;
    if (after === FAULTY) return this.fail(scanner.fault, end);
    const head = buildResponse(scanner, this.method, this.upgrade);
    giveScannerBack(scanner);
    if (head instanceof Fault) return this.fail(head, end);
    if (isInterim(head.status) && head.status !== 101) return this.passInterim(head, after, end);
    this.phase = IN_BODY;
    this.untilClose = head.length === UNTIL_CLOSE;
    this.body.begin(head.length);
    this.events.onResponse(head);
    return after;
  }

  private beginHead(): HeadScanner {
    const { headBytes, fields } = this.limits;
    const scanner = takeScanner();
    scanner.begin('response', headBytes, headBytes, fields);
    return scanner;
  }

  private passInterim(head: ResponseHead, after: number, end: number): number {
    if (++this.interims > this.limits.interimResponses) return this.die(FAILURES.interimFlood, FLOOD, end);
    this.phase = BETWEEN;
    this.events.onInterim(head);
    return after;
  }

  private endMessage(): void {
    this.phase = BETWEEN;
    this.expected = false;
    this.events.onEnd(this.body.trailers);
  }

  private fail(reason: Fault, end: number): number {
    return this.die(RESPONSE_FAILURES[reason.kind], reason.detail, end);
  }

  private die(failure: Failure, detail: string, end: number): number {
    this.phase = DEAD;
    this.expected = false;
    this.events.onResponseError(failure, detail);
    return end;
  }
}
