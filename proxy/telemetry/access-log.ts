/**
 * The access log: one line per request or opaque connection, written on the data thread and handed over in batches.
 *
 * Every line is one line and parses, whatever bytes a caller sends: JSON lines are pino's, with the control characters
 * escaped that JSON itself would let through; text lines have Envoy's layout, with quotes and controls as `\xNN`.
 */
import type { Logger, pino } from 'pino';
import type { Clock, Timer } from '../../shared/clock.ts';
import type { ConnectionRecord, RequestRecord } from './record.ts';
import { redactQuery } from './redact.ts';

/** A batch goes when it has this many characters (a few hundred lines), so that memory stays bounded under load. */
const BATCH_CHARACTERS = 64 * 1024;
/** Milliseconds a line waits for company. */
const BATCH_DELAY = 100;

/** DEL, the C1 controls (a terminal may obey them) and the line separators of Unicode: legal in JSON, unsafe in a log. */
const UNSAFE = /[\x7f-\x9f\u2028\u2029]/;
const EVERY_UNSAFE: RegExp = new RegExp(UNSAFE, 'g');

export interface AccessLog {
  request(record: RequestRecord): void;
  connection(record: ConnectionRecord): void;
  /** Hands over what waits; before the thread ends, and before the log is replaced by another. */
  flush(): void;
}

/** Opens a log. `post` gets whole lines, each ending in a line feed. pino is loaded for JSON only, on first use. */
export async function openAccessLog(
  format: 'json' | 'text',
  clock: Clock,
  post: (lines: string) => void,
): Promise<AccessLog> {
  const batch = new Batch(clock, post);
  return format === 'json' ? openJson(batch) : new TextLog(batch);
}

/** Collects lines; also the destination pino writes to. */
class Batch {
  private lines = '';
  private timer: Timer | null = null;
  private readonly clock: Clock;
  private readonly post: (lines: string) => void;
  private readonly onTime: () => void;

  constructor(clock: Clock, post: (lines: string) => void) {
    this.clock = clock;
    this.post = post;
    this.onTime = () => this.flush();
  }

  write(line: string): void {
    this.lines += UNSAFE.test(line) ? line.replace(EVERY_UNSAFE, escapeUnicode) : line;
    if (this.lines.length >= BATCH_CHARACTERS) this.flush();
    else this.timer ??= this.clock.after(BATCH_DELAY, this.onTime);
  }

  flush(): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.lines === '') return;
    const { lines } = this;
    this.lines = '';
    this.post(lines);
  }
}

async function openJson(batch: Batch): Promise<AccessLog> {
  const { pino } = await import('pino');
  return new JsonLog(pino, batch);
}

const NOTHING = Object.freeze({});

/**
 * pino goes over its fields one by one: 9 µs for the 24 of a request. Its `timestamp` may give a piece of JSON, which
 * here is the whole record: spelled out for requests (FIGURE), in one `JSON.stringify` (2 µs) for connections.
 */
class JsonLog implements AccessLog {
  /** Members of the line being written, a comma before the first. */
  private fragment = '';
  private readonly batch: Batch;
  private readonly logger: Logger;
  private readonly instant = new Instant();

  constructor(makeLogger: typeof pino, batch: Batch) {
    this.batch = batch;
    const level = (name: string): object => ({ level: name });
    this.logger = makeLogger({ base: null, timestamp: () => this.fragment, formatters: { level } }, batch);
  }

  request(record: RequestRecord): void {
    const { failure } = record;
    this.fragment =
      `,"time":"${this.instant.text(record.startedAt)}","direction":"${record.direction}"` +
      `,"method":${quoted(record.method)},"authority":${quoted(record.authority)}` +
      `,"path":${quoted(redactQuery(record.path))},"protocol":"${protocolName(record.version)}"` +
      `,"status":${record.status},"word":"${failure === null ? '' : failure.word}"` +
      `,"flag":"${failure === null ? '-' : failure.flag}","detail":${quoted(record.detail)}` +
      `,"request_bytes":${record.requestBytes},"response_bytes":${record.responseBytes}` +
      `,"duration_ms":${milliseconds(record.durationMs)},"upstream_ms":${milliseconds(record.upstreamMs)}` +
      `,"route":${quoted(record.route)},"cluster":${quoted(record.cluster)},"upstream":${quoted(record.upstream)}` +
      `,"downstream":${quoted(record.downstream)},"downstream_principal":${quoted(record.downstreamPrincipal)}` +
      `,"upstream_principal":${quoted(record.upstreamPrincipal)},"request_id":${quoted(record.requestId)}` +
      `,"trace_id":${quoted(record.traceId)},"attempts":${record.attempts},"user_agent":${quoted(record.userAgent)}`;
    this.logger.info(NOTHING);
  }

  connection(record: ConnectionRecord): void {
    this.write({
      time: this.instant.text(record.startedAt),
      direction: record.direction,
      authority: record.authority,
      protocol: 'TCP',
      word: record.failure === null ? '' : record.failure.word,
      flag: record.failure === null ? '-' : record.failure.flag,
      detail: record.detail,
      received_bytes: record.receivedBytes,
      sent_bytes: record.sentBytes,
      duration_ms: milliseconds(record.durationMs),
      cluster: record.cluster,
      upstream: record.upstream,
      downstream: record.downstream,
      downstream_principal: record.downstreamPrincipal,
      upstream_principal: record.upstreamPrincipal,
    });
  }

  flush(): void {
    this.batch.flush();
  }

  private write(fields: object): void {
    this.fragment = `,${JSON.stringify(fields).slice(1, -1)}`;
    this.logger.info(NOTHING);
  }
}

/** Printable ASCII that stands in a JSON string as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** Envoy's default layout, the word where Envoy has its response code details. */
class TextLog implements AccessLog {
  private readonly batch: Batch;
  private readonly instant = new Instant();

  constructor(batch: Batch) {
    this.batch = batch;
  }

  request(record: RequestRecord): void {
    const { failure } = record;
    this.batch.write(
      `[${this.instant.text(record.startedAt)}] "${plain(record.method)} ${plain(redactQuery(record.path))} ${protocolName(record.version)}" ` +
        `${record.status} ${failure === null ? '-' : failure.flag} ${failure === null ? '-' : failure.word} "${plain(record.detail)}" ` +
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
}

/** Wall clock milliseconds as ISO 8601, the whole second spelled once for all the lines that fall into it. */
class Instant {
  private second = Number.NaN;
  private prefix = '';

  text(ms: number): string {
    const second = Math.floor(ms / 1000);
    if (second !== this.second) {
      this.second = second;
      this.prefix = new Date(second * 1000).toISOString().slice(0, 20);
    }
    const rest = Math.floor(ms - second * 1000);
    return `${this.prefix}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
  }
}

function protocolName(version: number): string {
  return version === 20 ? 'HTTP/2' : version === 10 ? 'HTTP/1.0' : 'HTTP/1.1';
}

/** Microseconds are as fine as the clock is worth. */
function milliseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
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
