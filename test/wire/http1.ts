/** Drivers of the HTTP/1 parsers for the wire cases: events as short lines. */
import { RequestParser, ResponseParser } from '../../proxy/http/h1-parser.ts';
import { DEFAULT_LIMITS, type HeadLimits } from '../../proxy/http/limits.ts';
import {
  type Fields,
  type RequestHead,
  type ResponseHead,
  UNKNOWN_LENGTH,
  UNTIL_CLOSE,
} from '../../proxy/http/message.ts';
import type { PathNormalization } from '../../proxy/http/path.ts';
import type { Failure } from '../../shared/errors.ts';
import { type Driver, escape } from './run.ts';

/** How a driver treats its parser: stop it in every event, and feed the rest anew; the events must be the same. */
export interface Handling {
  readonly stopAlways: boolean;
}

/** Bounds so low that the wire cases reach them. */
const SMALL: Partial<HeadLimits> = {
  requestLineBytes: 40,
  headBytes: 120,
  fields: 4,
  trailerBytes: 30,
  trailerFields: 2,
  chunkExtensionBytes: 8,
  interimResponses: 2,
};

class EventLog {
  readonly lines: string[] = [];
  private bytes: string | null = null;

  add(line: string): void {
    this.endBytes();
    this.lines.push(line);
  }

  addBytes(bytes: Buffer, start: number, end: number): void {
    this.bytes = (this.bytes ?? '') + bytes.toString('latin1', start, end);
  }

  endBytes(): void {
    if (this.bytes !== null) this.lines.push(`data ${escape(this.bytes)}`);
    this.bytes = null;
  }
}

abstract class H1Driver implements Driver {
  protected readonly log: EventLog = new EventLog();
  private readonly stopAlways: boolean;
  /** Bytes that the parser would not take, from there on. */
  private rest: string | null = null;
  protected abstract readonly parser: RequestParser | ResponseParser;

  constructor(handling: Handling) {
    this.stopAlways = handling.stopAlways;
  }

  get events(): readonly string[] {
    return this.log.lines;
  }

  feed(bytes: Buffer): void {
    // The parser must not depend on what lies around its bytes, nor on the buffer after the call.
    const framed = Buffer.concat([Buffer.from('XX'), bytes, Buffer.from('\r\n\r\n')]);
    const end = 2 + bytes.length;
    let at = 2;
    while (at < end && this.rest === null) {
      const seen = this.log.lines.length;
      const after = this.parser.feed(framed, at, end);
      if (after === at && this.log.lines.length === seen) this.rest = '';
      at = after;
    }
    if (this.rest !== null) this.rest += bytes.toString('latin1', at - 2);
    framed.fill(0x2a);
  }

  end(fin: boolean): void {
    if (this.rest !== null) this.log.add(`rest ${escape(this.rest)}`);
    else if (fin) this.finish();
    else if (!this.parser.idle && !this.parser.dead) this.log.add(this.parser.inHead ? 'needs head' : 'needs body');
    this.log.endBytes();
  }

  protected abstract finish(): void;

  onData(bytes: Buffer, start: number, end: number): void {
    this.log.addBytes(bytes, start, end);
    this.pause();
  }

  onEnd(trailers: Fields | null): void {
    this.log.add(`end${trailers === null ? '' : spelled(trailers, null)}`);
  }

  protected fail(failure: Failure): void {
    this.log.add(`error ${failure.word}`);
  }

  protected pause(): void {
    if (this.stopAlways) this.parser.stop();
  }
}

export class RequestDriver extends H1Driver {
  protected readonly parser: RequestParser;

  constructor(options: ReadonlyMap<string, string>, handling: Handling) {
    super(handling);
    this.parser = new RequestParser(this, {
      limits: limitsOf(options),
      scheme: options.get('Scheme') === 'https' ? 'https' : 'http',
      normalization: (options.get('Normalization') ?? 'BASE') as PathNormalization,
    });
  }

  onRequest(head: RequestHead): void {
    const words = [`request ${head.method} ${head.authority || '-'} ${escape(head.path) || '-'}`];
    if (head.version === 10) words.push('1.0');
    if (head.scheme === 'https') words.push('https');
    words.push(...lengthOf(head.length));
    if (head.close) words.push('close');
    if (head.expectContinue) words.push('expect');
    if (head.acceptsTrailers) words.push('trailers');
    if (head.upgrade !== null) words.push(`upgrade=${head.upgrade}`);
    this.log.add(words.join(' ') + spelled(head.fields, head.authority));
    this.pause();
  }

  onRequestError(failure: Failure): void {
    this.fail(failure);
  }

  protected override finish(): void {
    this.log.add('cut');
  }
}

export class ResponseDriver extends H1Driver {
  protected readonly parser: ResponseParser;
  /** `METHOD` or `METHOD upgrade=PROTOCOL`, one for each response expected. */
  private readonly requests: string[];

  constructor(options: ReadonlyMap<string, string>, handling: Handling) {
    super(handling);
    this.parser = new ResponseParser(this, { limits: limitsOf(options) });
    this.requests = (options.get('Requests') ?? 'GET').split(', ');
    this.expectNext();
  }

  private expectNext(): void {
    const next = this.requests.shift();
    if (next === undefined) return;
    const [method = '', upgrade] = next.split(' upgrade=');
    this.parser.expect(method, upgrade ?? null);
  }

  onInterim(head: ResponseHead): void {
    this.log.add(`interim ${describe(head)}`);
    this.pause();
  }

  onResponse(head: ResponseHead): void {
    this.log.add(`response ${describe(head)}`);
    this.pause();
  }

  override onEnd(trailers: Fields | null): void {
    super.onEnd(trailers);
    this.expectNext();
  }

  onResponseError(failure: Failure): void {
    this.fail(failure);
  }

  protected override finish(): void {
    if (!this.parser.finish()) this.log.add('cut');
  }
}

function describe(head: ResponseHead): string {
  const words = [`${head.status} ${escape(head.reason)}`.trimEnd()];
  if (head.version === 10) words.push('1.0');
  words.push(...lengthOf(head.length));
  if (head.statedLength >= 0) words.push(`stated=${head.statedLength}`);
  if (head.close) words.push('close');
  if (head.keepAliveSeconds >= 0) words.push(`keep=${head.keepAliveSeconds}`);
  if (head.upgrade !== null) words.push(`upgrade=${head.upgrade}`);
  return words.join(' ') + spelled(head.fields, null);
}

function lengthOf(length: number): string[] {
  if (length === UNKNOWN_LENGTH) return ['chunked'];
  if (length === UNTIL_CLOSE) return ['until-close'];
  return length === 0 ? [] : [`length=${length}`];
}

/** ` {Name: value; …}` of the fields; a Host that repeats the authority is left out. Checks the wire spelling in passing. */
function spelled(fields: Fields, authority: string | null): string {
  const lines = fields.names.map((name, i) => `${name}: ${fields.values[i] as string}`);
  const wire = lines.map((line) => `${line}\r\n`).join('');
  if (fields.wire !== wire) throw new Error(`wire ${JSON.stringify(fields.wire)}, fields ${JSON.stringify(wire)}`);
  const shown = lines.filter((line) => authority === null || line.toLowerCase() !== `host: ${authority}`);
  return shown.length === 0 ? '' : ` {${shown.map(escape).join('; ')}}`;
}

function limitsOf(options: ReadonlyMap<string, string>): HeadLimits {
  return options.get('Limits') === 'small' ? { ...DEFAULT_LIMITS, ...SMALL } : DEFAULT_LIMITS;
}
