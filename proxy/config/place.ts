/** From a path in a document back to the line and column it was written at. */
import type { Problem } from '../../shared/problem.ts';
import type { SourceRef } from './snapshot.ts';
import type { YamlDocument } from './yaml.ts';

export type Path = readonly PropertyKey[];

export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Where the lines of a text begin; looked for when somebody asks. */
export class Lines {
  private readonly text: string;
  private starts: readonly number[] | null = null;

  constructor(text: string) {
    this.text = text;
  }

  /** Both from 1. */
  at(offset: number): Position {
    const starts = this.find();
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] as number) <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - (starts[low] as number) + 1 };
  }

  private find(): readonly number[] {
    if (this.starts !== null) return this.starts;
    const starts = [0];
    for (let at = this.text.indexOf('\n'); at >= 0; at = this.text.indexOf('\n', at + 1)) starts.push(at + 1);
    this.starts = starts;
    return starts;
  }
}

/** A wrong value is pointed at itself, a field that should not be there at its name. */
export type PointAt = 'value' | 'key';

export interface ProblemOptions {
  readonly severity?: Problem['severity'];
  readonly at?: PointAt;
}

/**
 * One policy document inside its file; `prefix` leads to it where a List holds it. `lines` counts those of the part of the
 * file that was parsed with it, `linesBefore` those before that part.
 */
export class Place {
  readonly file: string;
  private readonly document: YamlDocument;
  private readonly lines: Lines;
  private readonly linesBefore: number;
  private readonly prefix: Path;

  constructor(file: string, document: YamlDocument, lines: Lines, linesBefore: number, prefix: Path = []) {
    this.file = file;
    this.document = document;
    this.lines = lines;
    this.linesBefore = linesBefore;
    this.prefix = prefix;
  }

  /** The same document, `prefix` further in. */
  within(prefix: Path): Place {
    return new Place(this.file, this.document, this.lines, this.linesBefore, [...this.prefix, ...prefix]);
  }

  /** The same document, so many lines further down its file. */
  moved(lines: number): Place {
    return new Place(this.file, this.document, this.lines, this.linesBefore + lines, this.prefix);
  }

  problem(path: Path, message: string, advice = '', options: ProblemOptions = {}): Problem {
    const { severity = 'error', at = 'value' } = options;
    const full = [...this.prefix, ...path];
    return { severity, file: this.file, ...this.position(full, at), path: formatPath(full), message, advice };
  }

  /** Reference to the part at `path`; `name` is what people call the document. */
  source(name: string, path: Path = []): SourceRef {
    return { file: this.file, line: this.position([...this.prefix, ...path]).line, name };
  }

  /** `file:line` of the document, for a problem elsewhere that speaks of it. */
  where(): string {
    return `${this.file}:${this.position(this.prefix).line}`;
  }

  private position(path: Path, at: PointAt = 'value'): Position {
    const { line, column } = this.lines.at(this.document.offsetOf(path, at));
    return { line: line + this.linesBefore, column };
  }
}

/** `spec.rules[0].backendRefs[1].port`; a name that is no plain word is quoted. */
export function formatPath(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(String(step))) text += `[${JSON.stringify(String(step))}]`;
    else text += text === '' ? String(step) : `.${String(step)}`;
  }
  return text;
}
