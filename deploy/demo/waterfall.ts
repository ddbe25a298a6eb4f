/** One trace as text: a line per span, indented under its parent, with a bar where and how long it was in time. */
import type { Span } from './otlp.ts';

export interface WaterfallLine {
  readonly label: string;
  readonly bar: string;
  readonly duration: string;
  readonly note: string;
  readonly failed: boolean;
}

/** Columns of the bar. */
const BAR_WIDTH = 40;

/** Lines from the root down, siblings by start. A span whose parent is not among them counts as a root. */
export function waterfall(spans: readonly Span[]): WaterfallLine[] {
  const first = spans.reduce((least, span) => (span.start < least ? span.start : least), spans[0]?.start ?? 0n);
  const last = spans.reduce((most, span) => (span.end > most ? span.end : most), first);
  const scale = BAR_WIDTH / Math.max(1, Number(last - first));
  return inOrder(spans).map(({ span, depth }) => ({
    label: `${'  '.repeat(depth)}${span.service} ${span.kind.toLowerCase()}`,
    bar: bar(Number(span.start - first) * scale, Number(span.end - first) * scale),
    duration: `${(Number(span.end - span.start) / 1e6).toFixed(1)} ms`,
    note: note(span),
    failed: span.failed,
  }));
}

/** The lines as one text with aligned columns; `paint` may colour a line. */
export function layOut(lines: readonly WaterfallLine[], paint: (text: string, line: WaterfallLine) => string): string {
  const width = Math.max(0, ...lines.map((line) => line.label.length));
  const durationWidth = Math.max(0, ...lines.map((line) => line.duration.length));
  return lines
    .map((line) => {
      const left = line.label.padEnd(width);
      return `${left}  ▕${paint(line.bar, line)}▏ ${line.duration.padStart(durationWidth)}  ${line.note}`.trimEnd();
    })
    .join('\n');
}

function inOrder(spans: readonly Span[]): { span: Span; depth: number }[] {
  const ids = new Set(spans.map((span) => span.spanId));
  const children = Map.groupBy(
    spans.toSorted((a, b) => Number(a.start - b.start)),
    (span) => (ids.has(span.parentSpanId) ? span.parentSpanId : ''),
  );
  const below = (parent: string, depth: number): { span: Span; depth: number }[] =>
    (children.get(parent) ?? []).flatMap((span) => [{ span, depth }, ...below(span.spanId, depth + 1)]);
  return below('', 0);
}

/** At least one column, so that the shortest span is seen. */
function bar(from: number, to: number): string {
  const start = Math.min(BAR_WIDTH - 1, Math.floor(from));
  const end = Math.min(BAR_WIDTH, Math.max(start + 1, Math.round(to)));
  return ' '.repeat(start) + '█'.repeat(end - start) + ' '.repeat(BAR_WIDTH - end);
}

function note(span: Span): string {
  const get = (name: string): string => String(span.attributes.get(name) ?? '');
  const path = get('url.path') || (URL.parse(get('url.full'))?.pathname ?? '');
  const status = get('http.response.status_code') || get('error.type');
  return [get('http.request.method') || span.name, `${get('server.address')}${path}`, status].filter(Boolean).join(' ');
}
