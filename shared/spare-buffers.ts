/**
 * Buffers that nobody uses, by size. What fills and empties again soon (an output within a turn, the backlog of a stream)
 * takes its memory here: made anew for each it would be garbage outside of the heap, for whose sake V8 marks all of the
 * heap again and again (a quarter of the CPU of a pair that carries bodies of 100 KB).
 *
 * One set for the thread: 4 MB at most, of buffers up to 256 KB.
 */
const MOST_SPARE_BYTES = 4 * 1024 * 1024;
const LARGEST_SPARE = 262_144;
const spare: Map<number, Buffer[]> = new Map();
let spareBytes = 0;

/** What is in it is left from others. */
export function takeBuffer(size: number): Buffer {
  const buffer = spare.get(size)?.pop();
  if (buffer === undefined) return Buffer.allocUnsafeSlow(size);
  spareBytes -= size;
  return buffer;
}

/** The caller and all whom it gave views of the buffer are done with it. */
export function giveBack(buffer: Buffer): void {
  const { length } = buffer;
  if (length === 0 || length > LARGEST_SPARE || spareBytes + length > MOST_SPARE_BYTES) return;
  spareBytes += length;
  const same = spare.get(length);
  if (same === undefined) spare.set(length, [buffer]);
  else same.push(buffer);
}
