/**
 * Trace context on the wire: W3C Trace Context (traceparent, tracestate) in and out, B3 (openzipkin/b3-propagation,
 * single and multiple headers) in. Reading is strict: what is malformed counts as absent, as both texts demand.
 *
 * Called only where tracing is configured; otherwise the headers pass on untouched.
 */
import type { Random } from '../../shared/random.ts';
import type { Sampler } from './sampling.ts';

/** `tracestate` longer than this is dropped: it is kept with every span, and 512 is all that W3C asks to carry. */
export const MAX_TRACE_STATE = 2048;

/** The header fields, as far as propagation needs them; names in lower case. */
export interface TraceHeaders {
  get(name: string): string | undefined;
  getAll(name: string): string[];
}

/** What the caller says. IDs are empty where it only made a decision (`b3: 0`); `sampled` null where it made none. */
export interface RemoteParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean | null;
  readonly state: string;
}

/** One span's place in its trace: 32 and 16 lower case hexadecimal digits. */
export class TraceContext {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly sampled: boolean;
  /** `tracestate` to pass on, empty without. */
  readonly state: string;

  constructor(traceId: string, spanId: string, parentSpanId: string, sampled: boolean, state: string) {
    this.traceId = traceId;
    this.spanId = spanId;
    this.parentSpanId = parentSpanId;
    this.sampled = sampled;
    this.state = state;
  }
}

/** The context of the span that handles this request: below the caller's, or a new root. */
export function startTrace(headers: TraceHeaders, sampler: Sampler, random: Random): TraceContext {
  const parent = extract(headers);
  if (parent === null || parent.traceId === '') {
    const traceId = random.hex(16);
    return new TraceContext(traceId, random.hex(8), '', sampler.samples(parent?.sampled ?? null, traceId), '');
  }
  const sampled = sampler.samples(parent.sampled, parent.traceId);
  return new TraceContext(parent.traceId, random.hex(8), parent.spanId, sampled, parent.state);
}

/** W3C Trace Context section 3.2: version 00. */
export function traceparent(context: TraceContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.sampled ? '01' : '00'}`;
}

/** The caller's context; W3C wins over B3, the single B3 header over the many. Null without any valid one. */
export function extract(headers: TraceHeaders): RemoteParent | null {
  const given = headers.get('traceparent');
  if (given !== undefined) {
    const parent = headers.getAll('traceparent').length === 1 ? parseTraceparent(given) : null;
    if (parent !== null) return { ...parent, state: parseTraceState(headers.getAll('tracestate')) };
  }
  const single = headers.get('b3');
  if (single !== undefined) return parseB3(single);
  return extractB3Fields(headers);
}

/** W3C Trace Context section 3.2.2; later versions may append fields (section 3.2.4). Null if malformed. */
export function parseTraceparent(text: string): RemoteParent | null {
  if (text.length < 55 || !isHex(text, 0, 2) || text.startsWith('ff')) return null;
  if (text.length > 55 && (text.startsWith('00') || text[55] !== '-')) return null;
  if (text[2] !== '-' || text[35] !== '-' || text[52] !== '-') return null;
  if (!isId(text, 3, 35) || !isId(text, 36, 52) || !isHex(text, 53, 55)) return null;
  const sampled = (Number.parseInt(text[54] as string, 16) & 1) === 1;
  return { traceId: text.slice(3, 35), spanId: text.slice(36, 52), sampled, state: '' };
}

const STATE_MEMBER =
  /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** W3C Trace Context section 3.3: at most 32 members, keys unique. Empty if there is none or it is malformed. */
export function parseTraceState(lines: readonly string[]): string {
  if (lines.length === 0) return '';
  const text = lines.join(',');
  if (text.length > MAX_TRACE_STATE) return '';
  const members = text
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  const keys = new Set(members.map((member) => member.slice(0, member.indexOf('='))));
  const valid =
    members.length <= 32 && keys.size === members.length && members.every((member) => STATE_MEMBER.test(member));
  return valid ? members.join(',') : '';
}

/** The single B3 header: `TRACE-SPAN[-SAMPLED[-PARENT]]` or a bare decision. Null if malformed. */
export function parseB3(text: string): RemoteParent | null {
  const parts = text.split('-', 5);
  if (parts.length === 1) return decisionOnly(b3Decision(text));
  const [traceId = '', spanId = '', sampled, parentId] = parts;
  if (parts.length > 4 || (parentId !== undefined && !isB3Id(parentId, 16))) return null;
  const decision = sampled === undefined ? null : b3Decision(sampled);
  return decision === undefined ? null : b3Parent(traceId, spanId, decision);
}

/** The X-B3-* headers. X-B3-ParentSpanId names a span further up and does not matter here. */
function extractB3Fields(headers: TraceHeaders): RemoteParent | null {
  const traceId = headers.get('x-b3-traceid');
  const sampled = headers.get('x-b3-sampled');
  const debug = headers.get('x-b3-flags') === '1';
  if (traceId === undefined && sampled === undefined && !debug) return null;
  const decision = debug ? true : sampled === undefined ? null : b3Decision(sampled);
  if (decision === undefined) return null;
  return traceId === undefined ? decisionOnly(decision) : b3Parent(traceId, headers.get('x-b3-spanid') ?? '', decision);
}

/** `true` and `false` come from old Zipkin clients; undefined if it is neither decision. */
function b3Decision(text: string): boolean | undefined {
  if (text === '1' || text === 'd' || text === 'true') return true;
  if (text === '0' || text === 'false') return false;
  return undefined;
}

function decisionOnly(sampled: boolean | null | undefined): RemoteParent | null {
  return sampled === undefined || sampled === null ? null : { traceId: '', spanId: '', sampled, state: '' };
}

/** B3 trace IDs have 16 or 32 digits; the short ones are padded as W3C Trace Context section 3.2.2.3 advises. */
function b3Parent(traceId: string, spanId: string, sampled: boolean | null): RemoteParent | null {
  if (!isB3Id(traceId, 32) && !isB3Id(traceId, 16)) return null;
  if (!isB3Id(spanId, 16)) return null;
  return { traceId: traceId.padStart(32, '0'), spanId, sampled, state: '' };
}

function isB3Id(text: string, digits: number): boolean {
  return text.length === digits && isId(text, 0, digits);
}

/** Lower case hexadecimal, not all zeros. */
function isId(text: string, start: number, end: number): boolean {
  if (!isHex(text, start, end)) return false;
  for (let at = start; at < end; at++) if (text.charCodeAt(at) !== 0x30) return true;
  return false;
}

function isHex(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at);
    const digit = (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66);
    if (!digit) return false;
  }
  return true;
}
