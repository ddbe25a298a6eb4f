/**
 * YAML 1.2 (core schema, with merge keys) as plain values, and where in the text each of them stands. js-yaml finds the
 * syntax; what it means is decided here: one pass, so that a thousand routes are read in a tenth of a second.
 */
import {
  boolCoreTag,
  EVENT_ID,
  type Event,
  floatCoreTag,
  getScalarValue,
  intCoreTag,
  nullCoreTag,
  parseEvents,
  SCALAR_STYLE,
  type ScalarStyle,
  YAMLException,
} from 'js-yaml';

/** Policy documents are some ten levels deep. */
const MAX_DEPTH = 100;

/** Fields that merge keys may write out in one document: more than any document may have. */
const MAX_MERGED = 250_000;

/** What is wrong with a text as YAML. */
export interface Fault {
  readonly offset: number;
  readonly message: string;
}

/** Where the entries of one map or list stand. */
interface Layout {
  /** Of a map, in the order of writing; null for a list. */
  readonly keys: string[] | null;
  readonly keyOffsets: number[];
  /** Where to point for an entry: a scalar or alias at itself, a map or list in a map at its key, where the eye looks for it. */
  readonly offsets: number[];
  /** Counted as in `YamlDocument.aliases`. */
  aliases: number;
}

/** Sets a field whatever its name: `__proto__` is one like any other. */
export function setOwn(map: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') map[name] = value;
  else Object.defineProperty(map, name, { value, enumerable: true, configurable: true, writable: true });
}

export class YamlDocument {
  /**
   * Maps, lists, text, numbers, booleans, null. What an alias repeats is one object in several
   * places. Meaningless where there are faults.
   */
  readonly value: unknown;
  readonly faults: readonly Fault[];
  /** Aliases that it writes out, those in what they repeat included. */
  readonly aliases: number;
  private readonly offset: number;
  private readonly layouts: ReadonlyMap<unknown, Layout>;

  constructor(root: Frame, faults: readonly Fault[], layouts: ReadonlyMap<unknown, Layout>) {
    this.value = (root.value as unknown[])[0];
    this.faults = faults;
    this.aliases = root.layout.aliases;
    this.offset = root.layout.offsets[0] ?? 0;
    this.layouts = layouts;
  }

  /** Where in the text the value at `path` begins, or its key; if it is absent, the nearest one around it. */
  offsetOf(path: readonly PropertyKey[], at: 'value' | 'key' = 'value'): number {
    let { offset, value } = this;
    for (const step of path) {
      const layout = this.layouts.get(value);
      const index = layout?.keys === null ? Number(step) : (layout?.keys.indexOf(String(step)) ?? -1);
      const found = layout?.offsets[index];
      if (layout === undefined || found === undefined) break;
      offset = at === 'key' && layout.keys !== null ? (layout.keyOffsets[index] as number) : found;
      value = (value as Record<PropertyKey, unknown>)[step];
    }
    return offset;
  }
}

/** The documents of a stream; one with a fault if the text is no YAML. Throws a RangeError for what merge keys blow up. */
export function parseYaml(text: string): YamlDocument[] {
  let events: Event[];
  try {
    events = parseEvents(text, { maxDepth: MAX_DEPTH });
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const reader = new DocumentReader(text);
    reader.fault(error.mark?.position ?? 0, error.reason);
    return [reader.result()];
  }
  const documents: YamlDocument[] = [];
  let reader = new DocumentReader(text);
  for (const event of events) {
    if (event.type === EVENT_ID.DOCUMENT) {
      reader = new DocumentReader(text);
      if (event.directives.some(({ kind }) => kind === 'tag')) reader.fault(0, '%TAG is not supported');
    } else if (reader.take(event)) {
      documents.push(reader.result());
    }
  }
  return documents;
}

/** A map or list whose entries are being read. */
class Frame {
  readonly value: unknown[] | Record<string, unknown>;
  readonly layout: Layout;
  /** Where it stands itself. */
  readonly start: number;
  /** The key whose value comes next; null where a key comes next. */
  key: string | null = null;
  keyOffset = 0;
  /** The key is `<<`. */
  merges = false;
  /** Values of `<<`, for when the map's own keys are all there. */
  merged: unknown[] | null = null;

  constructor(isMap: boolean, start: number) {
    this.value = isMap ? {} : [];
    this.layout = { keys: isMap ? [] : null, keyOffsets: [], offsets: [], aliases: 0 };
    this.start = start;
  }
}

/** Builds one document from its events. */
class DocumentReader {
  private readonly text: string;
  private readonly faults: Fault[] = [];
  private readonly layouts = new Map<unknown, Layout>();
  private readonly anchors = new Map<string, unknown>();
  /** The document is a list of one entry to what is in it. */
  private readonly root = new Frame(false, 0);
  private readonly open: Frame[] = [];
  private top: Frame = this.root;
  private left = MAX_MERGED;

  constructor(text: string) {
    this.text = text;
  }

  fault(offset: number, message: string): void {
    this.faults.push({ offset, message });
  }

  /** True after the last event of the document. */
  take(event: Exclude<Event, { type: typeof EVENT_ID.DOCUMENT }>): boolean {
    switch (event.type) {
      case EVENT_ID.SCALAR:
        this.scalar(event);
        return false;
      case EVENT_ID.MAPPING:
      case EVENT_ID.SEQUENCE:
        this.begin(event);
        return false;
      case EVENT_ID.ALIAS:
        this.alias(this.text.slice(event.anchorStart, event.anchorEnd), event.anchorStart - 1);
        return false;
      case EVENT_ID.POP:
        if (this.top === this.root) return true;
        this.end(this.top);
        return false;
    }
  }

  result(): YamlDocument {
    return new YamlDocument(this.root, this.faults, this.layouts);
  }

  private scalar(event: Extract<Event, { type: typeof EVENT_ID.SCALAR }>): void {
    const { top } = this;
    const { style, tagStart, anchorStart, valueStart } = event;
    const start = valueStart < 0 ? top.start : this.startOf(style, valueStart);
    const source = getScalarValue(this.text, event);
    if (tagStart >= 0) this.checkTag(event, TEXT_TAGS);
    const plain = style === SCALAR_STYLE.PLAIN && tagStart < 0;
    const value = plain ? resolve(source) : source;
    if (anchorStart >= 0) this.anchors.set(this.text.slice(anchorStart, event.anchorEnd), value);
    if (top.layout.keys !== null && top.key === null) {
      top.merges = plain && source === '<<';
      this.key(keyOf(value), start);
    } else {
      this.add(value, start, value !== null);
    }
  }

  /** A scalar begins with its quote, or its `|` or `>`. */
  private startOf(style: ScalarStyle, valueStart: number): number {
    switch (style) {
      case SCALAR_STYLE.DOUBLE_QUOTED:
      case SCALAR_STYLE.SINGLE_QUOTED:
        return valueStart - 1;
      case SCALAR_STYLE.LITERAL_BLOCK:
        return this.text.lastIndexOf('|', valueStart);
      case SCALAR_STYLE.FOLDED_BLOCK:
        return this.text.lastIndexOf('>', valueStart);
      default:
        return valueStart;
    }
  }

  private begin(event: Extract<Event, { type: typeof EVENT_ID.MAPPING | typeof EVENT_ID.SEQUENCE }>): void {
    const isMap = event.type === EVENT_ID.MAPPING;
    if (event.tagStart >= 0) this.checkTag(event, isMap ? MAP_TAGS : LIST_TAGS);
    const frame = new Frame(isMap, event.start);
    this.layouts.set(frame.value, frame.layout);
    if (event.anchorStart >= 0) this.anchors.set(this.text.slice(event.anchorStart, event.anchorEnd), frame.value);
    this.open.push(this.top);
    this.top = frame;
  }

  private end(frame: Frame): void {
    if (frame.merged !== null) for (const source of frame.merged) this.merge(frame, source);
    this.top = this.open.pop() ?? this.root;
    this.top.layout.aliases += frame.layout.aliases;
    this.addOrKey(frame.value, frame.start, false);
  }

  private alias(name: string, start: number): void {
    if (!this.anchors.has(name)) this.fault(start, `the anchor of *${name} does not stand before it`);
    const value = this.anchors.get(name) ?? null;
    if (this.open.some((frame) => frame.value === value) || this.top.value === value) {
      this.fault(start, `*${name} stands inside of what it repeats`);
      this.addOrKey(null, start, true);
      return;
    }
    this.top.layout.aliases += 1 + (this.layouts.get(value)?.aliases ?? 0);
    this.addOrKey(value, start, true);
  }

  /** For what may stand where a key must be, but is none unless it is a scalar. */
  private addOrKey(value: unknown, start: number, pointsAtItself: boolean): void {
    const { top } = this;
    if (top.layout.keys === null || top.key !== null) {
      this.add(value, start, pointsAtItself);
      return;
    }
    if (typeof value === 'object' && value !== null) this.fault(start, 'a map or list is no key');
    top.merges = false;
    this.key(keyOf(value), start);
  }

  private key(name: string, offset: number): void {
    const { top } = this;
    if (!top.merges && Object.hasOwn(top.value, name)) this.fault(offset, `"${name}" stands here twice`);
    top.key = name;
    top.keyOffset = offset;
  }

  private add(value: unknown, start: number, pointsAtItself: boolean): void {
    const { top } = this;
    const { layout, key } = top;
    if (key === null) {
      (top.value as unknown[]).push(value);
      layout.offsets.push(start);
      return;
    }
    top.key = null;
    if (top.merges) {
      this.noteMerge(value, start);
      return;
    }
    setOwn(top.value as Record<string, unknown>, key, value);
    layout.keys?.push(key);
    layout.keyOffsets.push(top.keyOffset);
    layout.offsets.push(pointsAtItself ? start : top.keyOffset);
  }

  private noteMerge(value: unknown, start: number): void {
    const sources = Array.isArray(value) ? (value as unknown[]) : [value];
    if (sources.some((source) => !this.isMap(source))) this.fault(start, '<< takes a map, or a list of maps');
    else this.top.merged = [...(this.top.merged ?? []), ...sources];
  }

  /** The map's own keys win over merged ones, an earlier source over a later one. */
  private merge({ value, layout }: Frame, source: unknown): void {
    const from = this.layouts.get(source) as Layout;
    const fields = from.keys ?? [];
    this.left -= fields.length;
    if (this.left < 0) throw new RangeError('too many merged fields');
    for (const [i, key] of fields.entries()) {
      if (Object.hasOwn(value, key)) continue;
      setOwn(value as Record<string, unknown>, key, (source as Record<string, unknown>)[key]);
      layout.keys?.push(key);
      layout.keyOffsets.push(from.keyOffsets[i] as number);
      layout.offsets.push(from.offsets[i] as number);
    }
  }

  private isMap(value: unknown): boolean {
    return (this.layouts.get(value)?.keys ?? null) !== null;
  }

  private checkTag({ tagStart, tagEnd }: { tagStart: number; tagEnd: number }, known: ReadonlySet<string>): void {
    const tag = this.text.slice(tagStart, tagEnd);
    if (!known.has(tag)) this.fault(tagStart, `the tag ${tag} is not known here`);
  }
}

const TEXT_TAGS: ReadonlySet<string> = new Set(['!', '!!str', '!<tag:yaml.org,2002:str>']);
const MAP_TAGS: ReadonlySet<string> = new Set(['!', '!!map', '!<tag:yaml.org,2002:map>']);
const LIST_TAGS: ReadonlySet<string> = new Set(['!', '!!seq', '!<tag:yaml.org,2002:seq>']);

/** The core schema's own forms of what is not text, by the first character that they may have. */
const RESOLVERS = Map.groupBy(
  [nullCoreTag, boolCoreTag, intCoreTag, floatCoreTag].flatMap((tag) =>
    (tag.implicitFirstChars ?? []).map((first) => ({ first, tag })),
  ),
  ({ first }) => first,
);

/** The name of a field: a scalar as text, nothing as the empty one. */
function keyOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

/** What a plain scalar stands for (YAML 1.2.2, section 10.3.2). */
function resolve(source: string): unknown {
  const resolvers = RESOLVERS.get(source.charAt(0));
  if (resolvers === undefined) return source;
  for (const { tag } of resolvers) {
    const value: unknown = tag.resolve(source, false, tag.tagName);
    if (typeof value !== 'symbol') return value;
  }
  return source;
}
