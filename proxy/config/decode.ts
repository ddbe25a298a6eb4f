/**
 * From files to checked documents: YAML (1.2, with merge keys) and JSON, every problem of every file in one pass, each
 * with its place. Nothing a file holds makes this throw.
 */
import type { Problem } from '../../shared/problem.ts';
import { OWN_ANNOTATIONS } from './model/field.ts';
import { withoutIgnored } from './model/ignored.ts';
import type { Envelope, Kind } from './model/kind.ts';
import { KINDS, NOT_YET } from './model/kinds.ts';
import { suggest } from './near.ts';
import { Lines, type Path, Place, type PointAt } from './place.ts';
import { type DocumentText, splitDocuments } from './split.ts';
import { complaintsOf } from './wording.ts';
import { parseYaml, type YamlDocument } from './yaml.ts';

/** One file as read from the folder; `path` is relative to it. */
export interface PolicyFile {
  readonly path: string;
  readonly text: string;
}

export interface DecodedDocument<T extends Envelope = Envelope> {
  readonly kind: Kind<T>;
  readonly value: T;
  readonly place: Place;
}

/** What a whole ConfigMap may hold. */
export const MAX_FILE_BYTES: number = 1024 * 1024;

/** Times an anchor may be written out; more is a bomb ("billion laughs"), not a way to save typing. */
const MAX_ALIASES = 200;

/** Problems told per file: a wrong file is wrong in thousands of places, and nobody reads beyond these. */
const MAX_PROBLEMS = 100;

export interface DecodedFile {
  readonly documents: readonly DecodedDocument[];
  readonly problems: readonly Problem[];
}

export function decodeFiles(files: readonly PolicyFile[]): DecodedFile {
  return joinDecoded(files.map((file) => decodeFile(file)));
}

export function joinDecoded(files: readonly DecodedFile[]): DecodedFile {
  return {
    documents: files.flatMap(({ documents }) => documents),
    problems: files.flatMap(({ problems }) => problems),
  };
}

/** `kinds` may stand in it. */
export function decodeFile(file: PolicyFile, kinds: readonly Kind<Envelope>[] = KINDS): DecodedFile {
  return new FileDecoder(file.path, kinds).decode(file.text);
}

/** Decodes one file time and again; documents that stand there as they did the last time are not read again. */
export class FileDecoder {
  private readonly file: string;
  private readonly kinds: readonly Kind<Envelope>[];
  private text: string | null = null;
  private decoded: DecodedFile = { documents: [], problems: [] };
  private parts = new Map<string, Part>();

  constructor(file: string, kinds: readonly Kind<Envelope>[] = KINDS) {
    this.file = file;
    this.kinds = kinds;
  }

  /** What it returns depends on the text alone. */
  decode(text: string): DecodedFile {
    if (text === this.text) return this.decoded;
    this.text = text;
    const next: typeof this.parts = new Map();
    const refusal = refusalOf(this.file, text);
    const parts = refusal === null ? splitDocuments(text).map((part) => this.part(part, next)) : [];
    this.parts = next;
    this.decoded = refusal === null ? this.join(parts) : { documents: [], problems: [refusal] };
    return this.decoded;
  }

  private part({ text, linesBefore }: DocumentText, next: Map<string, Part>): Part {
    const known = this.parts.get(text);
    const part = known === undefined ? readPart(this.file, this.kinds, text, linesBefore) : moved(known, linesBefore);
    next.set(text, part);
    return part;
  }

  private join(parts: readonly Part[]): DecodedFile {
    const { documents, problems } = joinDecoded(parts);
    const told = problems.slice(0, MAX_PROBLEMS);
    const untold = parts.reduce((sum, part) => sum + part.untold, problems.length - told.length);
    if (untold > 0) told.push(wholeFile(this.file, `has ${untold} more problems`, 'mend the first ones'));
    return { documents, problems: told };
  }
}

/** Why a text is not even parsed; null if it may be. */
function refusalOf(file: string, text: string): Problem | null {
  if (text.length > MAX_FILE_BYTES) {
    return wholeFile(file, `is larger than ${MAX_FILE_BYTES / 1024 / 1024} MiB`, 'split the file');
  }
  return null;
}

/** Known to `weft test` alone, which decodes with kinds of its own (answers/policy-test.ts). */
const TEST_KIND = 'PolicyTest';

const TOO_LARGE = 'writes out too many fields';

function wholeFile(file: string, message: string, advice: string): Problem {
  return { severity: 'error', file, line: 0, column: 0, path: '', message, advice };
}

/** One document of a file, decoded. */
interface Part extends DecodedFile {
  readonly linesBefore: number;
  /** Problems beyond those that are told. */
  readonly untold: number;
}

/** The same part, further up or down in its file. */
function moved(part: Part, linesBefore: number): Part {
  const lines = linesBefore - part.linesBefore;
  if (lines === 0) return part;
  return {
    linesBefore,
    untold: part.untold,
    documents: part.documents.map((document) => ({ ...document, place: document.place.moved(lines) })),
    problems: part.problems.map((problem) =>
      problem.line === 0 ? problem : { ...problem, line: problem.line + lines },
    ),
  };
}

function readPart(file: string, kinds: readonly Kind<Envelope>[], text: string, linesBefore: number): Part {
  const reader = new PartReader(file, kinds, new Lines(text), linesBefore);
  try {
    for (const document of parseYaml(text)) reader.read(document);
  } catch (error) {
    // What aliases and merge keys blow up ends in a RangeError. Anything else is told in its own words.
    reader.reportFile(error instanceof RangeError ? TOO_LARGE : `cannot be read: ${String(error)}`);
  }
  return reader.result();
}

class PartReader {
  private readonly file: string;
  private readonly lines: Lines;
  private readonly linesBefore: number;
  private readonly documents: DecodedDocument[] = [];
  private readonly problems: Problem[] = [];
  private untold = 0;
  private readonly kinds: readonly Kind<Envelope>[];

  constructor(file: string, kinds: readonly Kind<Envelope>[], lines: Lines, linesBefore: number) {
    this.file = file;
    this.kinds = kinds;
    this.lines = lines;
    this.linesBefore = linesBefore;
  }

  result(): Part {
    const { linesBefore, documents, problems, untold } = this;
    return { linesBefore, documents, problems, untold };
  }

  reportFile(message: string): void {
    this.problems.push(wholeFile(this.file, message, ''));
  }

  read(document: YamlDocument): void {
    const { value, faults } = document;
    for (const { offset, message } of faults) this.reportFault(offset, message);
    if (faults.length > 0 || value === undefined || value === null) return;
    const place = new Place(this.file, document, this.lines, this.linesBefore);
    if (document.aliases <= MAX_ALIASES) this.readDocument(value, place);
    else this.report(place, [], `writes out more than ${MAX_ALIASES} aliases`, 'write the repeated part out');
  }

  private reportFault(offset: number, message: string): void {
    if (this.problems.length >= MAX_PROBLEMS) {
      this.untold++;
      return;
    }
    const { line, column } = this.lines.at(offset);
    this.problems.push({
      ...wholeFile(this.file, `is not YAML: ${message}`, ''),
      line: line + this.linesBefore,
      column,
    });
  }

  /** Finding the place is the costly part, so what will not be told is only counted. */
  private report(place: Place, path: Path, message: string, advice = '', at: PointAt = 'value'): void {
    if (this.problems.length >= MAX_PROBLEMS) this.untold++;
    else this.problems.push(place.problem(path, message, advice, { at }));
  }

  private readDocument(value: unknown, place: Place): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.report(place, [], 'is no policy document', 'a map with apiVersion, kind and metadata');
      return;
    }
    const { apiVersion, kind } = value as { apiVersion?: unknown; kind?: unknown };
    if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
      for (const [name, found, example] of [
        ['apiVersion', apiVersion, 'v1'],
        ['kind', kind, 'Service'],
      ] as const) {
        const message = found === undefined || found === null ? 'is required' : 'must be text';
        if (typeof found !== 'string') this.report(place, [name], message, `e.g. ${example}`);
      }
      return;
    }
    if (kind === 'List' && apiVersion === 'v1') this.readList(value, place);
    else if (!isSetAside(value)) this.readKind(value, apiVersion, kind, place);
  }

  private readList(list: object, place: Place): void {
    const { items = [] } = list as { items?: unknown };
    if (!Array.isArray(items)) {
      this.report(place, ['items'], 'must be a list');
      return;
    }
    for (const [i, item] of items.entries()) this.readDocument(item, place.within(['items', i]));
  }

  private readKind(value: object, apiVersion: string, name: string, place: Place): void {
    const kind = this.kinds.find((each) => each.kind === name && each.apiVersion === apiVersion);
    if (kind === undefined) {
      this.reportUnknown(apiVersion, name, place);
      return;
    }
    this.checkAnnotations(value, place);
    const stripped = withoutIgnored(value, name);
    const result = kind.schema.safeParse(stripped);
    if (!result.success) {
      for (const { path, message, advice, at } of complaintsOf(result.error.issues, stripped)) {
        this.report(place, path, message, advice, at);
      }
      return;
    }
    this.documents.push({ kind, value: result.data, place });
  }

  private reportUnknown(apiVersion: string, name: string, place: Place): void {
    const message = `${name} of ${apiVersion} is not supported`;
    const other = this.kinds.find(({ kind }) => kind === name);
    if (name === TEST_KIND && other === undefined)
      this.report(place, ['kind'], `${name} belongs into a file *.test.yaml`);
    else if (NOT_YET.includes(name)) this.report(place, ['kind'], `${message} yet`);
    else if (other !== undefined) this.report(place, ['apiVersion'], message, `write apiVersion: ${other.apiVersion}`);
    else
      this.report(
        place,
        ['kind'],
        message,
        suggest(
          name,
          this.kinds.map(({ kind }) => kind),
        ),
      );
  }

  /** Of the document as it is written, so that a slip in a name is told whatever else is wrong. */
  private checkAnnotations(value: object, place: Place): void {
    const { metadata } = value as { metadata?: { annotations?: object | null } | null };
    for (const name of Object.keys(metadata?.annotations ?? {})) {
      if (!name.startsWith('weft.dev/') || OWN_ANNOTATIONS.includes(name)) continue;
      const path = ['metadata', 'annotations', name];
      this.report(place, path, 'unknown annotation', suggest(name, OWN_ANNOTATIONS), 'key');
    }
  }
}

function isSetAside(value: object): boolean {
  const { metadata } = value as { metadata?: { annotations?: Record<string, unknown> | null } | null };
  return metadata?.annotations?.['weft.dev/ignore'] === 'true';
}
