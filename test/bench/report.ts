/** One line per figure: weft's, the peer's beside it, what was aimed at, and whether it was met. */

export interface Line {
  readonly name: string;
  readonly unit: string;
  readonly weft: number;
  /** Whom weft is compared with; empty where the figure stands by itself. */
  readonly peer: string;
  readonly peerFigure: number;
  /** What target and stretch speak of, as printed: `1.08 ×`, `+2.1 µs`; `score` is the number in it. */
  readonly score: number;
  readonly scoreText: string;
  /** Upper bounds of `score`; null where there is none. */
  readonly target: number | null;
  readonly stretch: number | null;
}

export interface Bounds {
  readonly target?: number;
  readonly stretch?: number;
}

interface Figures {
  readonly name: string;
  readonly unit: string;
  readonly weft: number;
  readonly peer: string;
  readonly peerFigure: number;
}

/** `ratio`: weft's cost divided by the peer's, less is better. */
export function ratioLine(figures: Figures, ratio: number, bounds: Bounds = {}): Line {
  const scoreText = Number.isFinite(ratio) ? `${ratio.toFixed(2)} ×` : '–';
  return { ...figures, score: ratio, scoreText, ...nullable(bounds) };
}

/** `difference`: what weft costs more than the peer, in `unit`. */
export function differenceLine(figures: Figures, difference: number, bounds: Bounds = {}): Line {
  const scoreText = `${difference < 0 ? '−' : '+'}${figure(Math.abs(difference), figures.unit)}`;
  return { ...figures, score: difference, scoreText, ...nullable(bounds) };
}

/** A figure that has an absolute bound. */
export function valueLine(figures: Pick<Figures, 'name' | 'unit' | 'weft'>, bounds: Bounds = {}): Line {
  return { ...figures, peer: '', peerFigure: Number.NaN, score: figures.weft, scoreText: '', ...nullable(bounds) };
}

function nullable(bounds: Bounds): { target: number | null; stretch: number | null } {
  return { target: bounds.target ?? null, stretch: bounds.stretch ?? null };
}

export function verdict(line: Line): string {
  if (line.target === null) return '';
  if (!Number.isFinite(line.score)) return 'no figure';
  if (line.stretch !== null && line.score <= line.stretch) return 'met, stretch too';
  return line.score <= line.target ? 'met' : 'MISSED';
}

const HEADINGS: readonly string[] = ['what', 'weft', 'peer', 'peer figure', 'score', 'target', 'stretch', 'verdict'];

export function table(lines: readonly Line[]): string {
  const rows = [HEADINGS, ...lines.map(cells)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const [head = '', ...body] = rows.map((row) =>
    row
      .map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  return [head, '─'.repeat(widths.reduce((sum, width) => sum + width + 2, -2)), ...body].join('\n');
}

function isText(column: number): boolean {
  return column === 0 || column === 2 || column === 7;
}

function cells(line: Line): string[] {
  const bound = (value: number | null): string => (value === null ? '' : `≤ ${value}`);
  return [
    line.name,
    figure(line.weft, line.unit),
    line.peer,
    line.peer === '' ? '' : figure(line.peerFigure, line.unit),
    line.scoreText,
    bound(line.target),
    bound(line.stretch),
    verdict(line),
  ];
}

function figure(value: number, unit: string): string {
  if (!Number.isFinite(value)) return '–';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}
