/** From scanned lines to fields: framing and hop-by-hop fields are read and taken out, the others keep name, case and order. */

import { type Fault, fault } from './faults.ts';
import {
  CONNECTION,
  CONTENT_LENGTH,
  EXPECT,
  FRAMING_TWIN,
  HOST,
  KEEP_ALIVE,
  PLAIN,
  TE,
  TRANSFER_ENCODING,
  UPGRADE,
} from './field-kinds.ts';
import { contentLength, isChunked } from './framing.ts';
import type { HeadScanner } from './head-scanner.ts';
import { ConnectionOptions, mayBeTrailer } from './hop-by-hop.ts';
import { Fields, initialOf } from './message.ts';

const BAD_LENGTH = fault('length', 'Content-Length is not one number of digits below 2^53');
const TWO_LENGTHS = fault('length', 'more than one Content-Length');
const BAD_CODING = fault('length', 'Transfer-Encoding is not exactly chunked');
const TWO_CODINGS = fault('length', 'more than one Transfer-Encoding');
const LENGTH_AND_CODING = fault('length', 'Content-Length beside Transfer-Encoding');
const OLD_CODING = fault('length', 'Transfer-Encoding in HTTP/1.0');
const TWIN = fault('length', 'a framing field spelled with underscores');
const BAD_CONNECTION = fault('field', 'Connection is no list of tokens');

/** What the special fields of one head say. One object serves all heads of a thread: it is read before the next is scanned. */
export class SpecialFields {
  /** Content-Length, -1 without. */
  length = -1;
  chunked = false;
  hosts = 0;
  host = '';
  readonly connection: ConnectionOptions = new ConnectionOptions();
  upgrade: string | null = null;
  expect: string | null = null;
  te: string | null = null;
  keepAlive: string | null = null;

  /** Reads the special lines of a complete section; the fault, or null. */
  read(scanner: HeadScanner): Fault | null {
    this.clear();
    for (let i = 0; i < scanner.count; i++) {
      const kind = scanner.kinds[i] as number;
      if (kind === PLAIN) continue;
      const reason = this.add(kind, valueOf(scanner, i));
      if (reason !== null) return reason;
    }
    if (!this.chunked) return null;
    if (this.length >= 0) return LENGTH_AND_CODING;
    return scanner.version === 10 ? OLD_CODING : null;
  }

  private clear(): void {
    this.length = -1;
    this.chunked = false;
    this.hosts = 0;
    this.host = '';
    this.connection.clear();
    this.upgrade = null;
    this.expect = null;
    this.te = null;
    this.keepAlive = null;
  }

  private add(kind: number, value: string): Fault | null {
    switch (kind) {
      case HOST:
        this.hosts++;
        this.host = value;
        return null;
      case CONNECTION:
        return this.connection.add(value) ? null : BAD_CONNECTION;
      case CONTENT_LENGTH:
        if (this.length >= 0) return TWO_LENGTHS;
        this.length = contentLength(value);
        return this.length < 0 ? BAD_LENGTH : null;
      case TRANSFER_ENCODING:
        if (this.chunked) return TWO_CODINGS;
        this.chunked = isChunked(value);
        return this.chunked ? null : BAD_CODING;
      case FRAMING_TWIN:
        return TWIN;
      case UPGRADE:
        this.upgrade = joined(this.upgrade, value);
        return null;
      case EXPECT:
        this.expect = joined(this.expect, value);
        return null;
      case TE:
        this.te = joined(this.te, value);
        return null;
      case KEEP_ALIVE:
        this.keepAlive = joined(this.keepAlive, value);
        return null;
      default:
        return null;
    }
  }
}

/** Several lines of one name are one list (RFC 9110 section 5.3). */
function joined(before: string | null, value: string): string {
  return before === null ? value : `${before}, ${value}`;
}

function valueOf(scanner: HeadScanner, line: number): string {
  return scanner.text.slice(scanner.spans[4 * line + 2], scanner.spans[4 * line + 3]);
}

/**
 * The end-to-end fields of a complete head, without the `nominated` (lower case); Host has the value `host`, unless that is null. Their wire
 * spelling is cut from the head in as few pieces as there are lines to leave out or to respell.
 */
export function endToEndFields(scanner: HeadScanner, nominated: readonly string[] | null, host: string | null): Fields {
  const { text, spans, kinds, count } = scanner;
  let wire = '';
  let initials = 0;
  let runStart = scanner.fieldsStart;
  let lineStart = runStart;
  for (let i = 0, at = 0; i < count; i++, at += 4) {
    const nameEnd = spans[at + 1] as number;
    const valueStart = spans[at + 2] as number;
    const valueEnd = spans[at + 3] as number;
    const nextLine = i + 1 < count ? (spans[at + 4] as number) : text.length - 2;
    const kind = kinds[i] as number;
    const kept = kind === PLAIN || kind === HOST;
    if (!kept || (nominated !== null && nominated.includes(text.slice(lineStart, nameEnd).toLowerCase()))) {
      wire += text.slice(runStart, lineStart);
      runStart = nextLine;
    } else {
      initials |= initialOf(text.charCodeAt(lineStart));
      const respelled = kind === HOST && host !== null && !isAt(text, valueStart, valueEnd, host);
      if (
        respelled ||
        valueStart !== nameEnd + 2 ||
        nextLine !== valueEnd + 2 ||
        text.charCodeAt(nameEnd + 1) !== 0x20
      ) {
        const value = respelled ? host : text.slice(valueStart, valueEnd);
        wire += `${text.slice(runStart, nameEnd)}: ${value}\r\n`;
        runStart = nextLine;
      }
    }
    lineStart = nextLine;
  }
  wire += text.slice(runStart, text.length - 2);
  return Fields.spelled(wire, initials);
}

function isAt(text: string, start: number, end: number, expected: string): boolean {
  return end - start === expected.length && text.startsWith(expected, start);
}

/** The fields of a complete trailer section that may be passed on; null if none is left. */
export function trailerFields(scanner: HeadScanner): Fields | null {
  const fields = new Fields();
  for (let i = 0; i < scanner.count; i++) {
    const name = scanner.text.slice(scanner.spans[4 * i], scanner.spans[4 * i + 1]);
    if (scanner.kinds[i] === PLAIN && mayBeTrailer(name.toLowerCase())) fields.append(name, valueOf(scanner, i));
  }
  return fields.size === 0 ? null : fields;
}
