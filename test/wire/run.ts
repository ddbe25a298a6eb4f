/**
 * Wire cases in Markdown: a table row is a case, its input beside the events that a codec must make of it.
 *
 * A file says which codec reads it (`Codec: http1-request`), a section may set options for its rows: `Around:` with two code
 * spans that each input stands between, and further `Name: value` lines that the codec understands. Inputs and events are
 * code spans; `\r`, `\n`, `\t`, `\\` and `\xHH` stand for bytes, `<FIN>` at the end of an input for the end of the stream.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface WireCase {
  readonly file: string;
  readonly line: number;
  readonly section: string;
  readonly name: string;
  readonly codec: string;
  readonly options: ReadonlyMap<string, string>;
  readonly input: Buffer;
  /** The stream ends after the input. */
  readonly fin: boolean;
  readonly events: readonly string[];
}

/** A codec under test: takes bytes in any pieces and says what it made of them, adjacent body bytes joined. */
export interface Driver {
  feed(bytes: Buffer): void;
  /** No more bytes come; `fin`: since the stream ended. */
  end(fin: boolean): void;
  readonly events: readonly string[];
}

const FIN = '<FIN>';
const SPANS = /`([^`]*)`/g;
const OPTION = /^([A-Z][A-Za-z-]*): (.*)$/;

/** All cases of the Markdown files in `folder`, in order. */
export function readCases(folder: string): WireCase[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.md'))
    .sort()
    .flatMap((file) => casesOf(join(folder, file)));
}

function casesOf(path: string): WireCase[] {
  const cases: WireCase[] = [];
  const ofFile = new Map<string, string>();
  let ofSection = new Map<string, string>();
  let section = '';
  const lines = readFileSync(path, 'utf8').split('\n');
  for (const [i, line] of lines.entries()) {
    const option = OPTION.exec(line);
    if (line.startsWith('## ')) {
      section = line.slice(3);
      ofSection = new Map(ofFile);
    } else if (option !== null) {
      (section === '' ? ofFile : ofSection).set(option[1] as string, option[2] as string);
    } else if (line.startsWith('| ') && !line.startsWith('| case ')) {
      cases.push(caseOf(line, { file: basename(path), line: i + 1, section, options: new Map(ofSection) }));
    }
  }
  return cases;
}

function caseOf(row: string, place: Pick<WireCase, 'file' | 'line' | 'section' | 'options'>): WireCase {
  const cells = row.split('|').map((cell) => cell.trim());
  const [, name, input, events] = cells;
  if (cells.length !== 5 || !name || !input || !events) {
    throw new Error(`${place.file}:${place.line}: a row is | name | input | events |`);
  }
  const raw = spansOf(input)[0] ?? '';
  const fin = raw.endsWith(FIN);
  const [before = '', after = ''] = spansOf(place.options.get('Around') ?? '');
  const bytes = unescape(before + (fin ? raw.slice(0, -FIN.length) : raw) + after);
  const codec = place.options.get('Codec') ?? '';
  return { ...place, name, codec, input: bytes, fin, events: spansOf(events) };
}

function spansOf(text: string): string[] {
  return [...text.matchAll(SPANS)].map((match) => match[1] as string);
}

function unescape(text: string): Buffer {
  const bytes = text.replace(/\\(r|n|t|\\|x([0-9a-f]{2}))/gi, (_, kind: string, hex: string | undefined) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    return { r: '\r', n: '\n', t: '\t', '\\': '\\' }[kind] as string;
  });
  return Buffer.from(bytes, 'latin1');
}

/** Latin-1 text as the Markdown files spell it. */
export function escape(text: string): string {
  return text.replace(/[^ -_a-{}~]|\\/g, (character) => {
    const short = { '\r': '\\r', '\n': '\\n', '\t': '\\t', '\\': '\\\\' }[character];
    return short ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** Events of one run: the input in pieces that end at `cuts`. */
export function play(driver: Driver, wire: WireCase, cuts: readonly number[]): readonly string[] {
  let start = 0;
  for (const cut of [...cuts, wire.input.length]) {
    driver.feed(wire.input.subarray(start, cut));
    start = cut;
  }
  driver.end(wire.fin);
  return driver.events;
}
