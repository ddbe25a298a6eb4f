/** Reads message bodies (RFC 9112 sections 6 and 7): by length, chunked, or until the connection closes. */
import { CR, HEX, LF, VALUE } from './chars.ts';
import { type Fault, fault } from './faults.ts';
import { trailerFields } from './field-section.ts';
import { FAULTY, type HeadScanner, INCOMPLETE } from './head-scanner.ts';
import type { HeadLimits } from './limits.ts';
import { type Fields, UNKNOWN_LENGTH } from './message.ts';
import { giveScannerBack, takeScanner } from './scanner-pool.ts';

const NO_SIZE = fault('chunk', 'a chunk without a size');
const BIG_SIZE = fault('chunk', 'a chunk size of too many digits');
const BAD_SIZE_LINE = fault('chunk', 'a byte that no chunk line may hold');
const BARE_LINE_END = fault('chunk', 'a chunk line ends in a bare CR or LF');
const NO_CHUNK_END = fault('chunk', 'no CRLF after the bytes of a chunk');
const EXTENSIONS = fault('chunk', 'too many bytes of chunk extensions');

/** Sixteen digits would pass 2^53; leading zeros count, for parsers differ in how many they take. */
const MAX_SIZE_DIGITS = 13;
const SEMICOLON = 0x3b;

/** States. */
const DONE = 0;
const BYTES = 1;
const SIZE = 2;
const EXTENSION = 3;
const SIZE_LF = 4;
const CHUNK = 5;
const CHUNK_CR = 6;
const CHUNK_LF = 7;
const TRAILERS = 8;

export interface BodySink {
  onData(bytes: Buffer, start: number, end: number): void;
}

export class BodyReader {
  /** Set by the owner: `read` returns after the event in progress. */
  stopped = false;
  /** What is wrong once `read` returned FAULTY. */
  fault: Fault = NO_SIZE;
  /** After a chunked body: what may be passed on of its trailer section. */
  trailers: Fields | null = null;

  private readonly sink: BodySink;
  private readonly limits: HeadLimits;
  private state = DONE;
  /** Bytes left of the body or the chunk. */
  private left = 0;
  private digits = 0;
  private extensionBytes = 0;
  private scanner: HeadScanner | null = null;

  constructor(sink: BodySink, limits: HeadLimits) {
    this.sink = sink;
    this.limits = limits;
  }

  get done(): boolean {
    return this.state === DONE;
  }

  /** Prepares for a body; `length` as in message.ts. UNTIL_CLOSE is a body that is never done. */
  begin(length: number): void {
    this.trailers = null;
    this.digits = 0;
    this.extensionBytes = 0;
    this.left = 0;
    if (length === UNKNOWN_LENGTH) {
      this.state = SIZE;
    } else {
      this.left = length < 0 ? Number.POSITIVE_INFINITY : length;
      this.state = length === 0 ? DONE : BYTES;
    }
  }

  /** Gives up the rest: the connection has closed. */
  finish(): void {
    this.state = DONE;
  }

  /** Reads from bytes[start, end): how far it got, or FAULTY. Stops at the end of the body and when `stopped` is set. */
  read(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && this.state !== DONE && !this.stopped) {
      if (this.state === BYTES || this.state === CHUNK) at = this.pass(bytes, at, end);
      else if (this.state === TRAILERS) at = this.readTrailers(bytes, at, end);
      else at = this.readChunkLine(bytes, at, end);
      if (at < 0) return FAULTY;
    }
    return at;
  }

  private pass(bytes: Buffer, start: number, end: number): number {
    const stop = end - start > this.left ? start + this.left : end;
    this.left -= stop - start;
    if (this.left === 0) this.state = this.state === BYTES ? DONE : CHUNK_CR;
    this.sink.onData(bytes, start, stop);
    return stop;
  }

  /** Everything between the bytes of two chunks; returns at the first byte that belongs to something else. */
  private readChunkLine(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const byte = bytes[at] as number;
      switch (this.state) {
        case CHUNK_CR:
          if (byte !== CR) return this.fail(NO_CHUNK_END);
          this.state = CHUNK_LF;
          break;
        case CHUNK_LF:
          if (byte !== LF) return this.fail(NO_CHUNK_END);
          this.state = SIZE;
          break;
        case SIZE:
          if (!this.readSizeByte(byte)) return FAULTY;
          break;
        case EXTENSION:
          if (!this.readExtensionByte(byte)) return FAULTY;
          break;
        default:
          if (byte !== LF) return this.fail(BARE_LINE_END);
          this.digits = 0;
          this.state = this.left > 0 ? CHUNK : TRAILERS;
          return at + 1;
      }
      at++;
    }
    return at;
  }

  private readSizeByte(byte: number): boolean {
    const digit = HEX[byte] as number;
    if (digit < 16) {
      if (this.digits === MAX_SIZE_DIGITS) return this.refuse(BIG_SIZE);
      this.digits++;
      this.left = this.left * 16 + digit;
      return true;
    }
    if (this.digits === 0) return this.refuse(NO_SIZE);
    if (byte === CR) this.state = SIZE_LF;
    // No blank is taken before the extension, though RFC 9112 allows it: nobody sends it, and parsers differ.
    else if (byte === SEMICOLON) this.state = EXTENSION;
    else return this.refuse(byte === LF ? BARE_LINE_END : BAD_SIZE_LINE);
    return true;
  }

  /** Extensions are between neighbours and end here; only their bytes are checked and counted. */
  private readExtensionByte(byte: number): boolean {
    if (byte === CR) {
      this.state = SIZE_LF;
      return true;
    }
    if (VALUE[byte] !== 1) return this.refuse(byte === LF ? BARE_LINE_END : BAD_SIZE_LINE);
    if (++this.extensionBytes > this.limits.chunkExtensionBytes) return this.refuse(EXTENSIONS);
    return true;
  }

  private readTrailers(bytes: Buffer, start: number, end: number): number {
    let scanner = this.scanner;
    if (scanner === null) {
      const { trailerBytes, trailerFields: lines } = this.limits;
      scanner = this.scanner = takeScanner();
      scanner.begin('trailers', trailerBytes, trailerBytes, lines);
    }
    const after = scanner.feed(bytes, start, end);
    if (after === INCOMPLETE) return end;
    if (after === FAULTY) return this.fail(scanner.fault);
    this.trailers = trailerFields(scanner);
    this.scanner = null;
    giveScannerBack(scanner);
    this.state = DONE;
    return after;
  }

  private fail(reason: Fault): number {
    this.fault = reason;
    return FAULTY;
  }

  private refuse(reason: Fault): false {
    this.fault = reason;
    return false;
  }
}
