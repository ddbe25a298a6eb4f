import { FIELD_OVERHEAD } from './h2-limits.ts';
import { type FieldName, ownCopy } from './h2-names.ts';

/** A decoded field as tables hold it; `sound` is false where the value breaks the rules of HTTP/2 (never of HPACK). */
export class TableField {
  readonly name: FieldName;
  readonly value: string;
  readonly sound: boolean;
  /** RFC 7541 section 4.1. */
  readonly size: number;

  constructor(name: FieldName, value: string, sound: boolean) {
    this.name = name;
    this.value = ownCopy(value);
    this.sound = sound;
    this.size = name.text.length + value.length + FIELD_OVERHEAD;
  }
}

/** The dynamic table of a decoder (RFC 7541 section 2.3.2): a queue bounded in bytes, the newest field first. */
export class DynamicTable {
  /** Oldest first; entries before `oldest` are gone. */
  private entries: TableField[] = [];
  private oldest = 0;
  private size = 0;
  private capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get length(): number {
    return this.entries.length - this.oldest;
  }

  /** Field `index`, 0 being the newest. */
  get(index: number): TableField | undefined {
    return index < this.length ? this.entries[this.entries.length - 1 - index] : undefined;
  }

  /** Adds a field, evicting what does not fit; one larger than the table leaves it empty (section 4.4). */
  add(field: TableField): void {
    this.size += field.size;
    this.entries.push(field);
    this.evict();
  }

  /** Bytes the table may hold from now on (section 4.3). */
  resize(capacity: number): void {
    this.capacity = capacity;
    this.evict();
  }

  private evict(): void {
    while (this.size > this.capacity) {
      this.size -= (this.entries[this.oldest] as TableField).size;
      this.oldest += 1;
    }
    if (this.oldest * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.oldest);
      this.oldest = 0;
    }
  }
}
