/**
 * HPACK blocks to fields (RFC 7541). The decoder knows what a field is in HPACK; what fields may mean in HTTP is asked
 * by h2-headers. Once a block passes the limits its remaining fields are followed, since they may change the table,
 * but not kept.
 */
import { readLatin1 } from '../../shared/latin1.ts';
import { HTAB, SP, VALUE } from './chars.ts';
import { FIELD_OVERHEAD } from './h2-limits.ts';
import { type FieldName, ownCopy, PATH, STATUS, wireName } from './h2-names.ts';
import { FieldRun, RunCache } from './hpack-runs.ts';
import { STATIC_NAMES, STATIC_SIZE, STATIC_VALUES } from './hpack-static.ts';
import { DynamicTable, TableField } from './hpack-table.ts';
import { huffmanDecode } from './huffman.ts';

/** Size of the table before our SETTINGS are acknowledged (RFC 9113 section 6.5.2). */
const INITIAL_TABLE_BYTES = 4096;
/** No length or index of a block that we accept is larger. */
const LARGEST_INTEGER = 0xfff_ffff;

const STATIC_FIELDS: readonly TableField[] = STATIC_NAMES.map(
  (name, at) => new TableField(wireName(name), STATIC_VALUES[at] as string, true),
);

export interface ListLimits {
  readonly listBytes: number;
  readonly fields: number;
  /** Runs of fields to remember (hpack-runs). */
  readonly runs: number;
}

export class HpackDecoder {
  /** The fields of the last block, [0, count). */
  readonly names: FieldName[] = [];
  readonly values: string[] = [];
  count = 0;
  /** The last block had more fields or bytes than the limits allow. */
  tooLarge = false;
  /** Every value of the last block was a field value of HTTP/2. */
  sound = true;

  private readonly limits: ListLimits;
  private readonly table: DynamicTable = new DynamicTable(INITIAL_TABLE_BYTES);
  private tableLimit: number = INITIAL_TABLE_BYTES;
  private listBytes = 0;
  /** A run was looked for in this block; once is enough. */
  private ran = false;
  private readonly runs: RunCache;

  // The block being read: its bytes, the next position, its end; its text, made when the first plain string needs it.
  private bytes: Buffer = EMPTY;
  private at = 0;
  private end = 0;
  private start = 0;
  private text: string | null = null;
  /** Whether the string read last was a field value. */
  private lastSound = true;

  constructor(limits: ListLimits) {
    this.limits = limits;
    this.runs = new RunCache(limits.runs);
  }

  /** Our SETTINGS_HEADER_TABLE_SIZE was acknowledged: from the next block on the peer's encoder keeps to it. */
  limitTable(bytes: number): void {
    this.tableLimit = bytes;
    // The encoder has to say so itself in its next block (RFC 7541 section 4.2). If it forgets, its references to what
    // is evicted here fail as they should.
    if (bytes < INITIAL_TABLE_BYTES) this.table.resize(bytes);
  }

  /** Decodes one whole block. False: a compression error, and the connection is lost (section 4.3 of RFC 9113). */
  decode(bytes: Buffer, start: number, end: number): boolean {
    this.bytes = bytes;
    this.start = start;
    this.at = start;
    this.end = end;
    this.text = null;
    this.count = 0;
    this.listBytes = 0;
    this.tooLarge = false;
    this.sound = true;
    this.ran = false;
    const done = this.resizes() && this.fields(end);
    this.bytes = EMPTY;
    this.text = null;
    return done;
  }

  /** Table size updates stand only at the beginning of a block (section 4.2). */
  private resizes(): boolean {
    while (this.at < this.end && ((this.bytes[this.at] as number) & 0xe0) === 0x20) {
      const size = this.integer(0x1f);
      if (size < 0 || size > this.tableLimit) return false;
      this.table.resize(size);
    }
    return true;
  }

  private fields(stop: number): boolean {
    const { bytes } = this;
    while (this.at < stop) {
      // Nothing that follows can change what later blocks mean.
      if (this.tooLarge && this.tableLimit === 0) return true;
      const first = bytes[this.at] as number;
      if (first >= 0x80) {
        const field = this.entry(this.integer(0x7f));
        if (field === undefined) return false;
        this.keep(field.name, field.value, field.sound);
        if (this.beginsRun(field.name) && !this.run()) return false;
      } else if (first >= 0x40) {
        if (!this.literal(0x3f, true)) return false;
      } else if (first < 0x20) {
        if (!this.literal(0x0f, false)) return false;
      } else {
        return false;
      }
    }
    return true;
  }

  /** A literal field (section 6.2), its name given by an index or spelled out. */
  private literal(mask: number, indexed: boolean): boolean {
    const index = this.integer(mask);
    if (index < 0) return false;
    let name: FieldName;
    if (index === 0) {
      const spelled = this.string();
      if (spelled === null) return false;
      name = wireName(spelled);
    } else {
      const field = this.entry(index);
      if (field === undefined) return false;
      name = field.name;
    }
    const value = this.string();
    if (value === null) return false;
    this.keep(name, value, this.lastSound);
    if (indexed) this.table.add(new TableField(name, value, this.lastSound));
    return !this.beginsRun(name) || this.run();
  }

  private beginsRun(name: FieldName): boolean {
    return (name.kind === PATH || name.kind === STATUS) && !this.ran;
  }

  /**
   * The fields after a path or a status are those that repeat (hpack-runs). Only while the table is empty and stays so do the same
   * bytes mean the same fields.
   */
  private run(): boolean {
    this.ran = true;
    if (this.tableLimit !== 0 || this.tooLarge) return true;
    const { runs, bytes, at, count } = this;
    const known = runs.find(bytes, at, this.end);
    if (known !== null) {
      this.recall(known);
      return true;
    }
    const stop = runs.end;
    if (stop === 0) return true;
    const before = this.sound;
    const listBytes = this.listBytes;
    this.sound = true;
    if (!this.fields(stop)) return false;
    // Nothing of a run that was not kept whole; strings of its own, which do not hold on to the block they came in.
    if (this.at === stop && !this.tooLarge) {
      const values = this.values.slice(count, this.count).map(ownCopy);
      runs.add(
        new FieldRun(
          bytes.subarray(at, stop),
          this.names.slice(count, this.count),
          values,
          this.sound,
          this.listBytes - listBytes,
        ),
      );
    }
    if (!before) this.sound = false;
    return true;
  }

  private recall(run: FieldRun): void {
    const { names, values, count } = this;
    this.at += run.bytes.length;
    this.listBytes += run.listBytes;
    if (!run.sound) this.sound = false;
    if (count + run.names.length > this.limits.fields || this.listBytes > this.limits.listBytes) {
      this.tooLarge = true;
      return;
    }
    for (let i = 0; i < run.names.length; i++) {
      names[count + i] = run.names[i] as FieldName;
      values[count + i] = run.values[i] as string;
    }
    this.count = count + run.names.length;
  }

  private keep(name: FieldName, value: string, sound: boolean): void {
    this.listBytes += name.text.length + value.length + FIELD_OVERHEAD;
    if (this.count >= this.limits.fields || this.listBytes > this.limits.listBytes) {
      this.tooLarge = true;
      return;
    }
    if (!sound) this.sound = false;
    this.names[this.count] = name;
    this.values[this.count] = value;
    this.count += 1;
  }

  private entry(index: number): TableField | undefined {
    if (index <= 0) return undefined;
    return index <= STATIC_SIZE ? STATIC_FIELDS[index - 1] : this.table.get(index - STATIC_SIZE - 1);
  }

  /** An integer whose prefix is the bits of `mask` in the next byte (section 5.1); -1 if it is cut or too large. */
  private integer(mask: number): number {
    const { bytes, end } = this;
    if (this.at >= end) return -1;
    let value = (bytes[this.at++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.at >= end) return -1;
      const byte = bytes[this.at++] as number;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value <= LARGEST_INTEGER ? value : -1;
    }
    return -1;
  }

  /** A string (section 5.2); null if it is cut or badly coded. */
  private string(): string | null {
    const { bytes, end } = this;
    if (this.at >= end) return null;
    const huffman = (bytes[this.at] as number) >= 0x80;
    const length = this.integer(0x7f);
    const from = this.at;
    if (length < 0 || length > end - from) return null;
    this.at = from + length;
    if (huffman) return this.unpacked(from, from + length);
    this.lastSound = isFieldValue(bytes, from, from + length);
    this.text ??= readLatin1(bytes, this.start, end);
    return this.text.slice(from - this.start, from - this.start + length);
  }

  private unpacked(from: number, to: number): string | null {
    // The shortest code has five bits: eight symbols from five bytes.
    const most = Math.ceil(((to - from) * 8) / 5);
    if (scratch.length < most) scratch = Buffer.allocUnsafeSlow(most);
    const length = huffmanDecode(this.bytes, from, to, scratch, 0);
    if (length < 0) return null;
    this.lastSound = isFieldValue(scratch, 0, length);
    return readLatin1(scratch, 0, length);
  }
}

const EMPTY: Buffer = Buffer.alloc(0);
/** Decoded Huffman strings on their way to becoming text; bounded by the limit on block bytes. */
let scratch: Buffer = Buffer.allocUnsafeSlow(4096);

/**
 * True if bytes[start, end) are a field value: allowed bytes, and no blank at either end, which one hop might trim and
 * the next compare (RFC 9113 section 8.2.1).
 */
function isFieldValue(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end) return true;
  const first = bytes[start] as number;
  const last = bytes[end - 1] as number;
  if (first === SP || first === HTAB || last === SP || last === HTAB) return false;
  let all = 1;
  for (let i = start; i < end; i++) all &= VALUE[bytes[i] as number] as number;
  return all === 1;
}
