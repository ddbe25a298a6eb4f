/**
 * Runs of fields met before. The requests of one client differ in their path and in a few identifiers; all fields
 * between those come again byte for byte. While the table is empty equal bytes are equal fields, so a run is decoded and
 * checked once and found again by its bytes. Writers help by putting fields that vary last (h2-write-heads).
 */
import { ownBytes } from '../../shared/own-bytes.ts';
import type { FieldName } from './h2-names.ts';

/** Names whose values differ from message to message: a run ends before them. */
export const VARYING_NAMES: readonly string[] = [
  'baggage',
  'grpc-timeout',
  'traceparent',
  'tracestate',
  'weft-attempt',
  'weft-deadline-ms',
  'x-b3-parentspanid',
  'x-b3-spanid',
  'x-b3-traceid',
  'x-request-id',
];

/** Shorter runs cost as much to find as to decode, longer ones are too rare to keep. */
const LEAST_BYTES = 64;
const MOST_BYTES = 4096;
/** After so many searches in vain none is made for a while: this peer's fields do not repeat. */
const PATIENCE = 128;
const REST = 4096;
const SAMPLES = 32;
const CONTENT_LENGTH_INDEX = 28;

/** Length and first byte of a spelled-out name tell enough: a run that ends too early is a run all the same. */
const VARYING: ReadonlySet<number> = new Set(VARYING_NAMES.map((name) => (name.length << 8) | name.charCodeAt(0)));

export class FieldRun {
  readonly bytes: Buffer;
  readonly names: FieldName[];
  readonly values: string[];
  readonly sound: boolean;
  /** What the fields count towards the limit on a list. */
  readonly listBytes: number;

  /** Copies `bytes`. */
  constructor(bytes: Uint8Array, names: FieldName[], values: string[], sound: boolean, listBytes: number) {
    this.bytes = ownBytes(bytes);
    this.names = names;
    this.values = values;
    this.sound = sound;
    this.listBytes = listBytes;
  }
}

export class RunCache {
  /** Where the run that `find` was last asked for ends; 0 when it is not worth keeping. */
  end = 0;
  private key = 0;
  private misses = 0;
  private readonly most: number;
  private readonly runs: Map<number, FieldRun> = new Map();

  /** `most`: runs to keep, 4 KB each; 0 keeps none. */
  constructor(most: number) {
    this.most = most;
  }

  /** The run that begins at `at` of a block that ends at `end`, if it is known. */
  find(bytes: Buffer, at: number, end: number): FieldRun | null {
    this.end = 0;
    if (this.most === 0) return null;
    if (this.misses >= PATIENCE) {
      this.misses = this.misses >= PATIENCE + REST ? 0 : this.misses + 1;
      return null;
    }
    const stop = runEnd(bytes, at, end);
    const length = stop - at;
    if (length < LEAST_BYTES || length > MOST_BYTES) return null;
    this.key = fingerprint(bytes, at, length);
    const run = this.runs.get(this.key);
    if (run !== undefined && bytes.compare(run.bytes, 0, run.bytes.length, at, stop) === 0) {
      this.misses = 0;
      return run;
    }
    this.misses += 1;
    this.end = stop;
    return null;
  }

  /** Keeps the run that `find` did not know; the oldest leaves. */
  add(run: FieldRun): void {
    if (this.runs.size >= this.most) this.runs.delete(this.runs.keys().next().value as number);
    this.runs.set(this.key, run);
  }
}

/** The end of the fields from `at` on that can be skipped without decoding, up to the first that varies. */
function runEnd(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const first = bytes[at] as number;
    let next = at + 1;
    if (first < 0x80) {
      // A literal: a size update or a name index of two bytes in the larger prefix is left to the decoder.
      const mask = first >= 0x40 ? 0x3f : 0x0f;
      if (first < 0x40 && first >= 0x20) return at;
      let index = first & mask;
      if (index === mask) index += bytes[next++] as number;
      if (index === CONTENT_LENGTH_INDEX) return at;
      if (index === 0) {
        const length = bytes[next++] as number;
        if (VARYING.has((length << 8) | (bytes[next] as number))) return at;
        if ((length & 0x7f) === 0x7f) return at;
        next += length & 0x7f;
      }
      let length = (bytes[next++] as number) & 0x7f;
      if (length === 0x7f) {
        const more = bytes[next++] as number;
        if (more >= 0x80) return at;
        length += more;
      }
      next += length;
    }
    if (!(next <= end)) return at;
    at = next;
  }
  return at;
}

function fingerprint(bytes: Buffer, at: number, length: number): number {
  const step = Math.max(1, Math.floor(length / SAMPLES));
  let hash = length;
  for (let i = at + length - 1; i >= at; i -= step) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0;
  return hash;
}
