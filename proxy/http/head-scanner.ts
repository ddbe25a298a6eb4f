/**
 * Finds and checks the lines of a head or trailer section, byte by byte, and notes where names and values stand.
 *
 * The scan can stop and go on at any byte. A section that lies whole in one chunk is scanned in place; otherwise its
 * bytes are copied until it is complete. Every byte is judged when it is seen, so a fault is found at the same byte
 * however the input was cut.
 */
import { readLatin1 } from '../../shared/latin1.ts';
import { CR, HTAB, LF, SP, TARGET, TOKEN, VALUE } from './chars.ts';
import { type Fault, fault } from './faults.ts';
import { fieldKind } from './field-kinds.ts';

/** The section is not complete: feed more. */
export const INCOMPLETE = -1;
/** `fault` says what is wrong; the scanner is of no further use. */
export const FAULTY = -2;

/** States: what the next byte belongs to. */
const START = 0;
const EMPTY_LINE_LF = 1;
const METHOD = 2;
const REQUEST_TARGET = 3;
const VERSION = 4;
const STATUS_LINE = 5;
const START_LINE_LF = 6;
const LINE = 7;
const NAME = 8;
const BLANK = 9;
const FIELD_VALUE = 10;
const VALUE_LF = 11;
const FINAL_LF = 12;

const COLON = 0x3a;
const HTTP_VERSION = Buffer.from('HTTP/0.0');
const VERSION_LENGTH = 8;
const MAJOR = 5;
const MINOR = 7;
const FIRST_COPY = 1024;

const BARE_LF = fault('lineEnd', 'a line ends in a bare LF');
const BARE_CR = fault('lineEnd', 'a CR without LF');
const BAD_METHOD = fault('startLine', 'the method is no token');
const BAD_TARGET = fault('startLine', 'a byte that no request target may hold');
const LINE_CUT = fault('startLine', 'the line ends before its version');
const BAD_REQUEST_LINE = fault('startLine', 'not METHOD SP TARGET SP HTTP/1.x');
const BAD_STATUS_LINE = fault('startLine', 'not HTTP/1.x SP STATUS SP REASON');
const BAD_VERSION = fault('startLine', 'the protocol version is not spelled HTTP/d.d');
const CONTROL_BYTE = fault('startLine', 'a control byte');
const OTHER_VERSION = fault('version', 'a version other than HTTP/1.0 and HTTP/1.1');
const LINE_TOO_LONG = fault('startLineTooLong', 'the request line is too long');
const TOO_MANY_BYTES = fault('tooLarge', 'the section has too many bytes');
const TOO_MANY_FIELDS = fault('tooLarge', 'the section has too many fields');
const OBS_FOLD = fault('field', 'a field line begins with white space');
const EMPTY_NAME = fault('field', 'an empty field name');
const SPACED_NAME = fault('field', 'white space in a field name or before its colon');
const NO_COLON = fault('field', 'a field line without colon');
const BAD_NAME = fault('field', 'a byte that no field name may hold');
const BAD_VALUE = fault('field', 'a control byte in a field value');

export type SectionKind = 'request' | 'response' | 'trailers';

export class HeadScanner {
  /** Of the section, one character a byte; set when the section is complete. */
  text = '';
  fault: Fault = BARE_LF;
  /** Field lines seen. Line i: its name starts at spans[4i] and ends at spans[4i+1], its value at [4i+2] and [4i+3]. */
  count = 0;
  /** Offsets into `text`. */
  spans: Int32Array = new Int32Array(0);
  /** One of field-kinds a line. */
  kinds: Uint8Array = new Uint8Array(0);
  /** Offset of the first field line. */
  fieldsStart = 0;
  /** Start line of a request: method, target; offsets as above. */
  methodStart = 0;
  methodEnd = 0;
  targetEnd = 0;
  /** 10 or 11. */
  version: 10 | 11 = 11;
  /** Start line of a response. */
  status = 0;
  reasonStart = 0;
  reasonEnd = 0;

  private state = START;
  private at = 0;
  private lineLimit = 0;
  private byteLimit = 0;
  private fieldLimit = 0;
  private copy: Buffer | null = null;
  private copied = 0;

  /** Prepares for a new section; limits in bytes and lines, as HeadLimits has them. */
  begin(kind: SectionKind, lineLimit: number, byteLimit: number, fieldLimit: number): void {
    this.text = '';
    this.count = 0;
    this.fieldsStart = 0;
    this.methodStart = 0;
    this.state = kind === 'request' ? START : kind === 'response' ? STATUS_LINE : LINE;
    this.at = 0;
    this.lineLimit = lineLimit;
    this.byteLimit = byteLimit;
    this.fieldLimit = fieldLimit;
    this.copied = 0;
    if (this.kinds.length < fieldLimit) {
      this.kinds = new Uint8Array(fieldLimit);
      this.spans = new Int32Array(4 * fieldLimit);
    }
  }

  /** Goes on with bytes[start, end): the position after the section, INCOMPLETE or FAULTY. Keeps no reference. */
  feed(bytes: Buffer, start: number, end: number): number {
    if (this.copied > 0) return this.feedCopy(bytes, start, end);
    const after = this.scan(bytes, start, end);
    if (after >= 0) this.text = readLatin1(bytes, start, after);
    else if (after === INCOMPLETE) this.keep(bytes, start, end);
    return after;
  }

  private feedCopy(bytes: Buffer, start: number, end: number): number {
    const before = this.copied;
    const room = this.byteLimit - before;
    this.keep(bytes, start, end - start > room ? start + room : end);
    const copy = this.copy as Buffer;
    const after = this.scan(copy, 0, this.copied);
    if (after < 0) return after;
    this.text = readLatin1(copy, 0, after);
    return start + after - before;
  }

  private keep(bytes: Buffer, start: number, end: number): void {
    const needed = this.copied + end - start;
    let copy = this.copy;
    if (copy === null || copy.length < needed) {
      let size = FIRST_COPY;
      while (size < needed) size *= 2;
      const larger = Buffer.allocUnsafeSlow(size);
      if (copy !== null) copy.copy(larger, 0, 0, this.copied);
      copy = this.copy = larger;
    }
    bytes.copy(copy, this.copied, start, end);
    this.copied = needed;
  }

  /** Lets go of what a long section made it allocate. */
  release(): void {
    this.text = '';
    this.copy = null;
  }

  /** The section starts at bytes[base]; bytes before base + this.at have been judged. */
  private scan(bytes: Buffer, base: number, end: number): number {
    const stop = end - base > this.byteLimit ? base + this.byteLimit : end;
    if (this.state < LINE) {
      const result = this.scanStartLine(bytes, base, stop);
      if (result !== 0) return result;
    }
    return this.scanFields(bytes, base, stop);
  }

  /** 0 when the first line is complete. */
  private scanStartLine(bytes: Buffer, base: number, stop: number): number {
    const lineStop = Math.min(stop, base + this.lineLimit + 1);
    let at = base + this.at;
    let state = this.state;
    while (at < lineStop && state !== START_LINE_LF) {
      const byte = bytes[at] as number;
      switch (state) {
        case START:
          // RFC 9112 section 2.2: one empty line before a request is overlooked (old clients send it after a body).
          if (byte === CR && at === base) {
            state = EMPTY_LINE_LF;
            at++;
          } else {
            state = METHOD;
          }
          break;
        case EMPTY_LINE_LF:
          if (byte !== LF) return this.fail(BARE_CR);
          at++;
          this.methodStart = at - base;
          state = METHOD;
          break;
        case METHOD:
          while (at < lineStop && TOKEN[bytes[at] as number] === 1) at++;
          if (at === lineStop) break;
          if (bytes[at] !== SP || at - base === this.methodStart) return this.failStartLine(bytes[at], BAD_METHOD);
          this.methodEnd = at - base;
          at++;
          state = REQUEST_TARGET;
          break;
        case REQUEST_TARGET:
          while (at < lineStop && TARGET[bytes[at] as number] === 1) at++;
          if (at === lineStop) break;
          if (bytes[at] !== SP || at - base === this.methodEnd + 1) return this.failStartLine(bytes[at], BAD_TARGET);
          this.targetEnd = at - base;
          at++;
          state = VERSION;
          break;
        default:
          while (at < lineStop && VALUE[bytes[at] as number] === 1) at++;
          if (at === lineStop) break;
          if (bytes[at] !== CR) return this.failStartLine(bytes[at], CONTROL_BYTE);
          if (!(state === VERSION ? this.readRequestVersion(bytes, base, at) : this.readStatusLine(bytes, base, at))) {
            return FAULTY;
          }
          at++;
          state = START_LINE_LF;
          break;
      }
    }
    if (state !== START_LINE_LF && at - base > this.lineLimit) return this.fail(LINE_TOO_LONG);
    if (state !== START_LINE_LF || at === stop) return this.suspend(state, at - base);
    if (bytes[at] !== LF) return this.fail(BARE_CR);
    this.fieldsStart = this.at = at + 1 - base;
    this.state = LINE;
    return 0;
  }

  /** Line after line without a branch on the state, except where the last feed ended within a line. */
  private scanFields(bytes: Buffer, base: number, stop: number): number {
    const { spans, kinds } = this;
    let at = base + this.at;
    let state = this.state;
    for (let span = this.count * 4; ; span += 4) {
      if (state === LINE) {
        if (at === stop) return this.suspend(LINE, at - base);
        const byte = bytes[at] as number;
        if (byte === CR) return this.endSection(bytes, base, at + 1, stop);
        if (TOKEN[byte] !== 1) return this.failLine(byte);
        if (this.count === this.fieldLimit) return this.fail(TOO_MANY_FIELDS);
        spans[span] = at - base;
        state = NAME;
      }
      if (state === NAME) {
        while (at < stop && TOKEN[bytes[at] as number] === 1) at++;
        if (at === stop) return this.suspend(NAME, at - base);
        if (bytes[at] !== COLON) return this.failName(bytes[at] as number);
        kinds[this.count] = fieldKind(bytes, base + (spans[span] as number), at);
        spans[span + 1] = at - base;
        at++;
        state = BLANK;
      }
      if (state === BLANK) {
        while (at < stop && (bytes[at] === SP || bytes[at] === HTAB)) at++;
        if (at === stop) return this.suspend(BLANK, at - base);
        spans[span + 2] = at - base;
        state = FIELD_VALUE;
      }
      if (state === FIELD_VALUE) {
        while (at < stop && VALUE[bytes[at] as number] === 1) at++;
        if (at === stop) return this.suspend(FIELD_VALUE, at - base);
        if (bytes[at] !== CR) return this.fail(bytes[at] === LF ? BARE_LF : BAD_VALUE);
        spans[span + 3] = endOfValue(bytes, base + (spans[span + 2] as number), at) - base;
        at++;
        state = VALUE_LF;
      }
      if (state === FINAL_LF) return this.endSection(bytes, base, at, stop);
      if (at === stop) return this.suspend(VALUE_LF, at - base);
      if (bytes[at] !== LF) return this.fail(BARE_CR);
      at++;
      this.count++;
      state = LINE;
    }
  }

  private endSection(bytes: Buffer, base: number, at: number, stop: number): number {
    if (at === stop) return this.suspend(FINAL_LF, at - base);
    return bytes[at] === LF ? at + 1 : this.fail(BARE_CR);
  }

  /** Remembers the place; everything up to `offset` is judged. */
  private suspend(state: number, offset: number): number {
    this.state = state;
    this.at = offset;
    return offset >= this.byteLimit ? this.fail(TOO_MANY_BYTES) : INCOMPLETE;
  }

  private fail(reason: Fault): number {
    this.fault = reason;
    return FAULTY;
  }

  private failStartLine(byte: number | undefined, otherwise: Fault): number {
    return this.fail(byte === LF ? BARE_LF : byte === CR ? LINE_CUT : otherwise);
  }

  private failLine(byte: number): number {
    if (byte === LF) return this.fail(BARE_LF);
    if (byte === SP || byte === HTAB) return this.fail(OBS_FOLD);
    return this.fail(byte === COLON ? EMPTY_NAME : BAD_NAME);
  }

  private failName(byte: number): number {
    if (byte === LF) return this.fail(BARE_LF);
    if (byte === SP || byte === HTAB) return this.fail(SPACED_NAME);
    return this.fail(byte === CR ? NO_COLON : BAD_NAME);
  }

  /** Of the last word of a request line, which ends before bytes[end]. */
  private readRequestVersion(bytes: Buffer, base: number, end: number): boolean {
    const start = base + this.targetEnd + 1;
    return end - start === VERSION_LENGTH ? this.readVersion(bytes, start) : this.refuse(BAD_REQUEST_LINE);
  }

  /** `HTTP/1.x SP STATUS`, then SP and a reason, or nothing: servers leave the SP away, and nobody reads it otherwise. */
  private readStatusLine(bytes: Buffer, base: number, end: number): boolean {
    const digits = base + VERSION_LENGTH + 1;
    if (end < digits + 3 || bytes[digits - 1] !== SP) return this.refuse(BAD_STATUS_LINE);
    if (end > digits + 3 && bytes[digits + 3] !== SP) return this.refuse(BAD_STATUS_LINE);
    let status = 0;
    for (let i = digits; i < digits + 3; i++) {
      const digit = (bytes[i] as number) - 0x30;
      if (digit < 0 || digit > 9) return this.refuse(BAD_STATUS_LINE);
      status = status * 10 + digit;
    }
    if (status < 100) return this.refuse(BAD_STATUS_LINE);
    this.status = status;
    this.reasonStart = Math.min(digits + 4, end) - base;
    this.reasonEnd = end - base;
    return this.readVersion(bytes, base);
  }

  /** Case counts (RFC 9112 section 2.3). */
  private readVersion(bytes: Buffer, start: number): boolean {
    for (let i = 0; i < VERSION_LENGTH; i++) {
      const byte = bytes[start + i] as number;
      const isDigit = byte >= 0x30 && byte <= 0x39;
      if (i === MAJOR || i === MINOR ? !isDigit : byte !== HTTP_VERSION[i]) return this.refuse(BAD_VERSION);
    }
    const minor = (bytes[start + MINOR] as number) - 0x30;
    if (bytes[start + MAJOR] !== 0x31 || minor > 1) return this.refuse(OTHER_VERSION);
    this.version = minor === 1 ? 11 : 10;
    return true;
  }

  private refuse(reason: Fault): false {
    this.fault = reason;
    return false;
  }
}

function endOfValue(bytes: Buffer, start: number, end: number): number {
  while (end > start && (bytes[end - 1] === SP || bytes[end - 1] === HTAB)) end--;
  return end;
}
