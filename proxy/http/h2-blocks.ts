/**
 * Header blocks made before, by the HTTP/1.1 spelling of their fields: the messages of one client or one application
 * repeat most fields, and the HTTP/1 codec hands their spelling over ready made.
 */
import { ownCopy } from './h2-names.ts';

const MOST_BLOCKS = 512;
/** Shorter spellings cost as much to look up as to encode, longer ones are too rare to keep. */
const LEAST_CHARACTERS = 64;
const MOST_CHARACTERS = 4096;
/** After so many searches in vain none is made for a while: these fields do not repeat. */
const PATIENCE = 128;
const REST = 4096;

const blocks: Map<string, string> = new Map();
let misses = 0;

/** The block of fields spelled `wire`, if it is known. */
export function knownBlock(wire: string): string | undefined {
  if (wire.length < LEAST_CHARACTERS || wire.length > MOST_CHARACTERS) return undefined;
  if (misses >= PATIENCE) {
    misses = misses >= PATIENCE + REST ? 0 : misses + 1;
    return undefined;
  }
  const block = blocks.get(wire);
  misses = block === undefined ? misses + 1 : 0;
  return block;
}

/** Remembers a block; the oldest leaves. */
export function rememberBlock(wire: string, block: string): void {
  if (wire.length < LEAST_CHARACTERS || wire.length > MOST_CHARACTERS || misses >= PATIENCE) return;
  if (blocks.size >= MOST_BLOCKS) blocks.delete(blocks.keys().next().value as string);
  blocks.set(ownCopy(wire), ownCopy(block));
}
