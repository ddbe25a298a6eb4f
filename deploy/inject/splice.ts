/**
 * A change of values carried out in the text of a YAML or JSON file, so that every byte that is not concerned stays: entries are
 * added and taken out as whole lines (in flow style with their comma), and a value is replaced within its own bounds. Taking out
 * what was added gives back the text from before.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  type DocumentOptions,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  type ParseOptions,
  parseDocument,
  type SchemaOptions,
  stringify,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import { isObject, type JsonObject } from '../../shared/json.ts';
import type { Texts } from './pod.ts';

/**
 * Of manifests, whole and in parts: the YAML 1.1 that kubectl reads (go-yaml), where `yes` is true, 0144 and 0o144 are 100, but
 * which knows no numbers to the base of 60, and whose dates and lists with a tag are what they look like.
 */
export const PARSING: ParseOptions & DocumentOptions & SchemaOptions = {
  merge: true,
  uniqueKeys: true,
  schema: 'yaml-1.1',
  customTags: (tags) => [
    ...tags.filter(
      (each) =>
        typeof each === 'string' ||
        (!/:(?:timestamp|binary|omap|pairs|set)$/.test(each.tag) && !('format' in each && each.format === 'TIME')),
    ),
    'intOct',
  ],
};

export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** The text is written in a way that cannot be changed in place. */
export class Unspliceable extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** Replaced as a whole, with what comments say inside of them. */
const WHOLE = new Set(['livenessProbe', 'readinessProbe', 'startupProbe', 'postStart', 'preStop']);

export class Splice {
  readonly edits: Edit[] = [];
  /** Source text of every value that is replaced, by place. */
  readonly replaced: Record<string, string> = {};
  private readonly source: string;
  private readonly eol: string;
  /** So is YAML in flow style as a whole, which loses nothing by being taken for it. */
  private readonly isJson: boolean;
  private readonly originals: Texts;

  /** `originals`: texts to put in place of rendered values, as `replaced` of an earlier change gave them. */
  constructor(source: string, originals: Texts = {}) {
    this.source = source;
    this.eol = source.includes('\r\n') ? '\r\n' : '\n';
    this.isJson = source.trimStart().startsWith('{');
    this.originals = originals;
  }

  /** Adds the edits that turn the value of `node` from `before` into `after`. */
  change(node: Node | null, before: unknown, after: unknown, place: readonly string[] = []): void {
    if (isDeepStrictEqual(before, after)) return;
    if (isAlias(node)) throw new Unspliceable(startOf(node), 'is an alias, which stands for other places too');
    const whole = WHOLE.has(place.at(-1) ?? '');
    if (!whole && isMap(node) && isObject(before) && isObject(after)) this.changeMap(node, before, after, place);
    else if (isSeq(node) && Array.isArray(before) && Array.isArray(after)) this.changeSeq(node, before, after, place);
    else this.replace(node, after, place);
  }

  private changeMap(map: YAMLMap, before: JsonObject, after: JsonObject, place: readonly string[]): void {
    for (const [key, value] of Object.entries(after)) {
      if (!Object.hasOwn(before, key)) continue;
      if (isDeepStrictEqual(before[key], value)) continue;
      const pair = this.pairOf(map, key);
      this.change(pair.value as Node | null, before[key], value, [...place, key]);
    }
    const gone = map.items.map((pair) => Object.hasOwn(before, keyOf(pair)) && !Object.hasOwn(after, keyOf(pair)));
    this.remove(map, gone);
    const fresh = Object.entries(after).filter(([key]) => !Object.hasOwn(before, key));
    if (fresh.length > 0) this.insert(map, Object.fromEntries(fresh), 'end');
  }

  private changeSeq(seq: YAMLSeq, before: unknown[], after: unknown[], place: readonly string[]): void {
    const names = new Map(before.map((item, i) => [nameOf(item), i]));
    const kept = after.map((item) => names.get(nameOf(item)));
    for (const [i, at] of kept.entries()) {
      if (at === undefined) continue;
      this.change(seq.items[at] as Node | null, before[at], after[i], [...place, nameOf(after[i])]);
    }
    this.remove(
      seq,
      before.map((_, i) => !kept.includes(i)),
    );
    const first = kept.findIndex((at) => at !== undefined);
    const leading = first < 0 ? [] : after.slice(0, first);
    const trailing = after.slice(first < 0 ? 0 : first).filter((_, i) => kept[Math.max(first, 0) + i] === undefined);
    if (leading.length > 0) this.insert(seq, leading, 'front');
    if (trailing.length > 0) this.insert(seq, trailing, 'end');
  }

  private pairOf(map: YAMLMap, key: string): Pair {
    const pair = map.items.find((each) => keyOf(each) === key);
    if (pair === undefined) throw new Unspliceable(startOf(map), `gets "${key}" by a merge key; write it out here`);
    return pair;
  }

  /** Puts another value where `node` is. */
  private replace(node: Node | null, value: unknown, place: readonly string[]): void {
    const at = place.join('/');
    if (node === null) throw new Unspliceable(0, `${at} has no place in the text`);
    const start = startOf(node);
    const end = contentEnd(node);
    this.replaced[at] = this.source.slice(start, end);
    const original = this.originals[at];
    if (original !== undefined && this.means(original, start, value)) {
      // A value that was not written at all left no room before itself either.
      this.edits.push({ start: original === '' ? this.afterKey(start) : start, end, text: original });
      return;
    }
    if (start === end) {
      // The white space after the key stays behind the value: a comment needs it.
      const at = this.afterKey(start);
      this.edits.push({ start: at, end: at, text: this.eol + this.block(value, this.keyColumn(at) + 2) });
    } else if (this.isJson) this.edits.push({ start, end, text: JSON.stringify(value) });
    else if (isScalar(node) || isFlow(node)) this.edits.push({ start, end, text: inline(value) });
    else this.edits.push({ start, end, text: this.block(value, this.columnOf(start)).trimStart() });
  }

  /** Whether a text from before, put at `start`, still says `value`; true of one that says nothing by itself (an alias). */
  private means(original: string, start: number, value: unknown): boolean {
    const document = parseDocument(' '.repeat(this.columnOf(start)) + original, PARSING);
    try {
      return document.errors.length > 0 || isDeepStrictEqual(document.toJS(), value);
    } catch {
      return true;
    }
  }

  /** Takes out the entries that are `gone`; those beside each other at once. */
  private remove(collection: YAMLMap | YAMLSeq, gone: readonly boolean[]): void {
    const { items } = collection;
    for (let i = 0; i < gone.length; i++) {
      if (gone[i] !== true) continue;
      const first = i;
      while (gone[i + 1] === true) i++;
      if (isFlow(collection)) {
        const next = items[i + 1];
        const previous = items[first - 1];
        if (next !== undefined) this.edits.push({ start: entryStart(items[first]), end: entryStart(next), text: '' });
        else {
          const start = previous === undefined ? entryStart(items[first]) : contentEnd(previous);
          this.edits.push({ start, end: contentEnd(items[i]), text: '' });
        }
      } else {
        this.removeLines(this.lineStart(items[first], collection), this.lineEnd(items[i]));
      }
    }
  }

  /**
   * What was added at the end of a text without a last line break has one before itself instead. Of several removals that
   * lie against each other there, each lends its own to the next, so the first of them gives up the one before.
   */
  private removeLines(start: number, end: number): void {
    this.edits.push({ start, end, text: '' });
    if (end < this.source.length || this.source.endsWith('\n')) return;
    let at = this.edits.length - 1;
    for (let before = at; before >= 0; before = this.removalBefore(at)) at = before;
    const first = this.edits[at] as Edit;
    if (first.start > 0) this.edits[at] = { ...first, start: first.start - this.eol.length };
  }

  /** The removal that ends where that one begins; -1 for none. */
  private removalBefore(at: number): number {
    const { start } = this.edits[at] as Edit;
    return this.edits.findIndex(({ start: from, end, text }) => text === '' && end === start && from < end);
  }

  private insert(
    collection: YAMLMap | YAMLSeq,
    entries: JsonObject | readonly unknown[],
    where: 'front' | 'end',
  ): void {
    if (isFlow(collection)) this.insertFlow(collection, entries, where);
    else this.insertLines(collection, entries, where);
  }

  private insertLines(
    collection: YAMLMap | YAMLSeq,
    entries: JsonObject | readonly unknown[],
    where: 'front' | 'end',
  ): void {
    const [first] = collection.items;
    const column = this.columnOf(this.dashOrKey(first, collection));
    const text = this.block(entries, column) + this.eol;
    if (where === 'front') {
      const start = this.lineStart(first, collection);
      this.edits.push({ start, end: start, text });
      return;
    }
    const at = this.lineEnd(collection.items.at(-1));
    const unended = at === this.source.length && !this.source.endsWith('\n');
    this.edits.push({ start: at, end: at, text: unended ? this.eol + text.slice(0, -this.eol.length) : text });
  }

  private insertFlow(
    collection: YAMLMap | YAMLSeq,
    entries: JsonObject | readonly unknown[],
    where: 'front' | 'end',
  ): void {
    const [first] = collection.items;
    const open = startOf(collection) + 1;
    const space = first === undefined ? '' : this.source.slice(open, entryStart(first));
    const gap = /^\s*$/.test(space) && space.includes('\n') ? space : ' ';
    const texts = Array.isArray(entries)
      ? entries.map((item) => pretty(item, gap))
      : Object.entries(entries).map(([key, value]) => `${JSON.stringify(key)}: ${pretty(value, gap)}`);
    if (first === undefined) this.edits.push({ start: open, end: open, text: texts.join(`,${gap}`) });
    else if (where === 'front') {
      const start = entryStart(first);
      this.edits.push({ start, end: start, text: texts.map((text) => `${text},${gap}`).join('') });
    } else {
      const end = contentEnd(collection.items.at(-1));
      this.edits.push({ start: end, end, text: texts.map((text) => `,${gap}${text}`).join('') });
    }
  }

  /** In block style, indented; without the last line break. */
  private block(value: unknown, column: number): string {
    const margin = ' '.repeat(column);
    return render(value)
      .split('\n')
      .map((line) => margin + line)
      .join(this.eol);
  }

  /** Where the text before `offset` ends. */
  private afterKey(offset: number): number {
    return this.source.slice(0, offset).trimEnd().length;
  }

  /** Of the key on the line of `offset`. */
  private keyColumn(offset: number): number {
    const line = this.source.slice(offset - this.columnOf(offset), offset);
    return (/^[\s-]*/.exec(line)?.[0] ?? '').length;
  }

  private columnOf(offset: number): number {
    return offset - (this.source.lastIndexOf('\n', offset - 1) + 1);
  }

  /** Where an entry of a block collection begins: its key, or its dash. */
  private dashOrKey(entry: unknown, collection: YAMLMap | YAMLSeq): number {
    const start = entryStart(entry);
    return isSeq(collection) ? this.source.lastIndexOf('-', start - 1) : start;
  }

  private lineStart(entry: unknown, collection: YAMLMap | YAMLSeq): number {
    const start = this.dashOrKey(entry, collection);
    const line = start - this.columnOf(start);
    if (this.source.slice(line, start).trim() !== '')
      throw new Unspliceable(start, 'does not begin a line of its own; write it so');
    return line;
  }

  /** After the line break that ends the entry. */
  private lineEnd(entry: unknown): number {
    const end = contentEnd(entry);
    if (this.source[end - 1] === '\n') return end;
    const line = this.source.indexOf('\n', end);
    return line < 0 ? this.source.length : line + 1;
  }
}

/** Of edits at one place, those of inner things come first, as `change` makes them. */
export function applyEdits(source: string, edits: readonly Edit[]): string {
  const pieces: string[] = [];
  let at = 0;
  for (const { start, end, text } of [...edits].sort((a, b) => a.start - b.start || a.end - b.end)) {
    pieces.push(source.slice(at, start), text);
    at = end;
  }
  return pieces.join('') + source.slice(at);
}

/** What an item of a list is known by: lists of named things keep their names, others their values. */
function nameOf(item: unknown): string {
  return isObject(item) && typeof item['name'] === 'string' ? item['name'] : JSON.stringify(item);
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : '';
}

function isFlow(node: Node): boolean {
  return (isMap(node) || isSeq(node)) && node.flow === true;
}

function startOf(node: Node): number {
  return node.range?.[0] ?? 0;
}

function entryStart(entry: unknown): number {
  return startOf((isPair(entry) ? entry.key : entry) as Node);
}

/** After the last character that belongs to a value, trailing comments and blank lines left out. */
function contentEnd(entry: unknown): number {
  if (isPair(entry)) return contentEnd(entry.value ?? entry.key);
  const node = entry as Node;
  if ((isMap(node) || isSeq(node)) && node.flow !== true && node.items.length > 0) return contentEnd(node.items.at(-1));
  return node.range?.[1] ?? 0;
}

/** Kubernetes reads YAML 1.1, where a bare `on` is no text. */
function render(value: unknown): string {
  const layout = { lineWidth: 0, blockQuote: false, indentSeq: true, aliasDuplicateObjects: false } as const;
  return stringify(value, { ...layout, compat: 'yaml-1.1' }).trimEnd();
}

function inline(value: unknown): string {
  return isObject(value) || Array.isArray(value) ? JSON.stringify(value) : render(value);
}

/** JSON on one line, or in the layout of the lines around it. */
function pretty(value: unknown, gap: string): string {
  if (!gap.includes('\n')) return JSON.stringify(value);
  const margin = gap.slice(gap.lastIndexOf('\n') + 1);
  return JSON.stringify(value, null, 2).replaceAll('\n', `\n${margin}`);
}
