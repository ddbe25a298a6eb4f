/** From a path in a document back to the line and column it was written at. */
import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node, type Pair } from 'yaml';
import type { Problem } from '../../shared/problem.ts';
import type { SourceRef } from './snapshot.ts';

export type Path = readonly PropertyKey[];

interface Position {
  readonly line: number;
  readonly column: number;
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
  private readonly document: Document;
  private readonly lines: LineCounter;
  private readonly linesBefore: number;
  private readonly prefix: Path;

  constructor(file: string, document: Document, lines: LineCounter, linesBefore: number, prefix: Path = []) {
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

  /** Where the value at `path` begins, its key if it has none; else the nearest node around it. */
  private position(path: Path, at: PointAt = 'value'): Position {
    let node: Node | null = this.document.contents;
    let offset = node?.range?.[0] ?? 0;
    for (const step of path) {
      const pair = child(this.document, node, step);
      if (pair === null) break;
      offset = at === 'key' ? pair.keyOffset : pair.offset;
      node = pair.node;
    }
    const { line, col } = this.lines.linePos(offset);
    // An empty file has no line starts to find.
    return { line: Math.max(1, line) + this.linesBefore, column: Math.max(1, col) };
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

/** What stands below a node, and where to point for it and for its name. */
interface Child {
  readonly node: Node | null;
  readonly offset: number;
  readonly keyOffset: number;
}

function child(document: Document, node: Node | null, step: PropertyKey): Child | null {
  const here = isAlias(node) ? (node.resolve(document) ?? null) : node;
  if (isSeq<Node>(here) && typeof step === 'number') {
    const item = here.items[step];
    const offset = item?.range?.[0] ?? 0;
    return item === undefined ? null : { node: item, offset, keyOffset: offset };
  }
  if (!isMap<Node, Node | null>(here)) return null;
  const merged: Node[] = [];
  for (const pair of here.items) {
    const key = isScalar(pair.key) ? String(pair.key.value) : null;
    const keyOffset = pair.key.range?.[0] ?? 0;
    if (key === String(step)) return { node: pair.value, offset: pointAt(pair) ?? keyOffset, keyOffset };
    if (key === '<<' && pair.value !== null) merged.push(pair.value);
  }
  return fromMerged(document, merged, step);
}

function fromMerged(document: Document, merged: readonly Node[], step: PropertyKey): Child | null {
  for (const source of merged) {
    for (const map of isSeq<Node>(source) ? source.items : [source]) {
      const found = child(document, map, step);
      if (found !== null) return found;
    }
  }
  return null;
}

/** A scalar is pointed at itself; a map or list at its key, where the eye looks for it. */
function pointAt({ value }: Pair<Node, Node | null>): number | undefined {
  const scalar = (isScalar(value) && value.value !== null) || isAlias(value);
  return scalar ? value.range?.[0] : undefined;
}
