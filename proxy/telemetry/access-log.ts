/**
 * The access log: one line per request or opaque connection, written on the data thread and handed over in batches.
 *
 * Every line is one line of ASCII and parses, whatever bytes a caller sends: JSON lines are like those of weft's own log,
 * with all else escaped; text lines have Envoy's layout, with quotes and controls as `\xNN`.
 */
import type { Clock } from '../../shared/clock.ts';
import { LogBatch } from './log-batch.ts';
import { type ConnectionRecord, type RequestRecord, responseFlags } from './record.ts';
import { redactQuery } from './redact.ts';

export interface AccessLog {
  request(record: RequestRecord): void;
  connection(record: ConnectionRecord): void;
  /** Hands over what waits; before the thread ends, and before the log is replaced by another. */
  flush(): void;
  /** Memory of lines that have been written. */
  reuse(memory: ArrayBuffer): void;
}

/** Opens a log. `post` gets whole lines, each ending in a line feed, and the memory they are in. */
export function openAccessLog(
  format: 'json' | 'text',
  clock: Clock,
  post: (lines: Uint8Array<ArrayBuffer>) => void,
): AccessLog {
  const batch = new LogBatch(clock, post);
  return format === 'json' ? new JsonLog(batch) : new TextLog(batch);
}

/**
 * pino goes over the fields of an object one by one, 9 µs for the 24 of a request. Here most of a line is what it was in
 * the one before, and few pieces are put together.
 */
class JsonLog implements AccessLog {
  private readonly batch: LogBatch;
  private readonly instant = new Instant();
  private readonly second = new Kept((second) => `{"level":"info","time":"${second}`);
  private readonly start = new Kept(
    (direction, method, authority) =>
      `Z","direction":"${direction}","method":"${escaped(method)}","authority":"${escaped(authority)}","path":"`,
  );
  private readonly failure = new Kept(
    (word, flag, detail) => `,"word":"${word}","flag":"${flag}","detail":"${escaped(detail)}","request_bytes":`,
  );
  private readonly way = new Kept(
    (route, cluster, upstream) =>
      `,"route":"${escaped(route)}","cluster":"${escaped(cluster)}","upstream":"${escaped(upstream)}","downstream":"`,
  );
  private readonly parties = new Kept(
    (downstream, upstream) =>
      `","downstream_principal":"${escaped(downstream)}","upstream_principal":"${escaped(upstream)}","request_id":"`,
  );
  private readonly userAgent = new Kept((userAgent) => `,"user_agent":"${escaped(userAgent)}"}\n`);

  constructor(batch: LogBatch) {
    this.batch = batch;
  }

  request(record: RequestRecord): void {
    const { instant } = this;
    const { startedAt, failure } = record;
    const word = failure === null ? '' : failure.word;
    this.batch.write(
      this.second.of(instant.second(startedAt), '', '') +
        instant.thousandths(startedAt) +
        this.start.of(record.direction, record.method, record.authority) +
        escaped(redactQuery(record.path)) +
        '","protocol":"' +
        PROTOCOL[record.version] +
        '","status":' +
        record.status +
        (record.grpcStatus === null ? '' : `,"grpc_status":${record.grpcStatus}`) +
        this.failure.of(word, responseFlags(failure, record.waitFlag), record.detail) +
        record.requestBytes +
        ',"response_bytes":' +
        record.responseBytes +
        ',"duration_ms":' +
        milliseconds(record.durationMs) +
        ',"upstream_ms":' +
        milliseconds(record.upstreamMs) +
        this.way.of(record.route, record.cluster, record.upstream) +
        record.downstream +
        this.parties.of(record.downstreamPrincipal, record.upstreamPrincipal, '') +
        escaped(record.requestId) +
        '","trace_id":"' +
        record.traceId +
        '","attempts":' +
        record.attempts +
        this.userAgent.of(record.userAgent, '', ''),
    );
  }

  connection(record: ConnectionRecord): void {
    const line = JSON.stringify({
      level: 'info',
      time: this.instant.text(record.startedAt),
      direction: record.direction,
      authority: record.authority,
      protocol: 'TCP',
      word: record.failure === null ? '' : record.failure.word,
      flag: record.failure === null ? '-' : record.failure.flag,
      detail: record.detail,
      received_bytes: record.receivedBytes,
      sent_bytes: record.sentBytes,
      duration_ms: Math.round(record.durationMs * 1000) / 1000,
      cluster: record.cluster,
      upstream: record.upstream,
      downstream: record.downstream,
      downstream_principal: record.downstreamPrincipal,
      upstream_principal: record.upstreamPrincipal,
    });
    this.batch.write(`${line.replace(NOT_ASCII, escapeUnicode)}\n`);
  }

  flush(): void {
    this.batch.flush();
  }

  reuse(memory: ArrayBuffer): void {
    this.batch.reuse(memory);
  }
}

/** What is made of up to three texts, kept until another comes. */
class Kept {
  private first = '';
  private second = '';
  private third = '';
  private made: string;
  private readonly make: (first: string, second: string, third: string) => string;

  constructor(make: (first: string, second: string, third: string) => string) {
    this.make = make;
    this.made = make('', '', '');
  }

  of(first: string, second: string, third: string): string {
    if (first !== this.first || second !== this.second || third !== this.third) {
      this.first = first;
      this.second = second;
      this.third = third;
      // In one piece: what is put together by V8 stays a tree that every line would walk again.
      this.made = Buffer.from(this.make(first, second, third), 'latin1').toString('latin1');
    }
    return this.made;
  }
}

/** Printable ASCII that stands in a JSON string as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** All but printable ASCII: controls, some of which JSON would let through to a terminal, and what is not one byte. */
const NOT_ASCII = /[^\x20-\x7e]/g;

/** As it stands between the quotes of a JSON string. */
function escaped(text: string): string {
  return PLAIN.test(text) ? text : JSON.stringify(text).slice(1, -1).replace(NOT_ASCII, escapeUnicode);
}

/** Envoy's default layout, the word where Envoy has its response code details. */
class TextLog implements AccessLog {
  private readonly batch: LogBatch;
  private readonly instant = new Instant();

  constructor(batch: LogBatch) {
    this.batch = batch;
  }

  request(record: RequestRecord): void {
    const { failure } = record;
    this.batch.write(
      `[${this.instant.text(record.startedAt)}] "${plain(record.method)} ${plain(redactQuery(record.path))} ${PROTOCOL[record.version]}" ` +
        `${record.status} ${responseFlags(failure, record.waitFlag)} ${failure === null ? '-' : failure.word} "${plain(record.detail)}" ` +
        `${record.requestBytes} ${record.responseBytes} ${milliseconds(record.durationMs)} ${milliseconds(record.upstreamMs)} ` +
        `"${plain(record.downstream)}" "${plain(record.userAgent)}" "${plain(record.requestId)}" "${plain(record.authority)}" ` +
        `"${plain(record.upstream)}" ${record.direction}|${plain(record.cluster)} "${plain(record.route)}" ${record.attempts} ` +
        `"${plain(record.downstreamPrincipal)}" "${plain(record.upstreamPrincipal)}" ${plain(record.traceId)}\n`,
    );
  }

  connection(record: ConnectionRecord): void {
    const { failure } = record;
    this.batch.write(
      `[${this.instant.text(record.startedAt)}] "- - -" 0 ${failure === null ? '-' : failure.flag} ` +
        `${failure === null ? '-' : failure.word} "${plain(record.detail)}" ` +
        `${record.receivedBytes} ${record.sentBytes} ${milliseconds(record.durationMs)} - ` +
        `"${plain(record.downstream)}" "-" "-" "${plain(record.authority)}" ` +
        `"${plain(record.upstream)}" ${record.direction}|${plain(record.cluster)} "-" 1 ` +
        `"${plain(record.downstreamPrincipal)}" "${plain(record.upstreamPrincipal)}" -\n`,
    );
  }

  flush(): void {
    this.batch.flush();
  }

  reuse(memory: ArrayBuffer): void {
    this.batch.reuse(memory);
  }
}

/** Wall clock milliseconds as ISO 8601, the whole second spelled once for all the lines that fall into it. */
class Instant {
  private at = Number.NaN;
  private prefix = '';

  /** Up to the point: `2026-11-22T03:20:00.` */
  second(ms: number): string {
    const second = Math.floor(ms / 1000);
    if (second !== this.at) {
      this.at = second;
      this.prefix = new Date(second * 1000).toISOString().slice(0, 20);
    }
    return this.prefix;
  }

  /** Of that second, after the point. */
  thousandths(ms: number): string {
    return THOUSANDTHS[Math.floor(ms - Math.floor(ms / 1000) * 1000)] as string;
  }

  text(ms: number): string {
    return `${this.second(ms)}${this.thousandths(ms)}Z`;
  }
}

/** `000` to `999`. */
const THOUSANDTHS: readonly string[] = Array.from({ length: 1000 }, (_, at) => String(at).padStart(3, '0'));

const PROTOCOL: Readonly<Record<number, string>> = { 10: 'HTTP/1.0', 11: 'HTTP/1.1', 20: 'HTTP/2' };

/** Microseconds are as fine as the clock is worth. Of two integers, which V8 spells five times faster than a fraction. */
function milliseconds(ms: number): string {
  if (ms < 0) return '-1';
  const micros = Math.round(ms * 1000);
  const whole = Math.floor(micros / 1000);
  return `${whole}.${THOUSANDTHS[micros - whole * 1000]}`;
}

const NOT_PLAIN = /[^\x20-\x7e]|["\\]/;
const EVERY_NOT_PLAIN: RegExp = new RegExp(NOT_PLAIN, 'g');

/** Printable ASCII as it is, the rest as `\xNN` or `\uNNNN`; `-` for nothing. */
function plain(text: string): string {
  if (text === '') return '-';
  return NOT_PLAIN.test(text) ? text.replace(EVERY_NOT_PLAIN, escapeByte) : text;
}

function escapeByte(character: string): string {
  const code = character.charCodeAt(0);
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : escapeUnicode(character);
}

function escapeUnicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
