/**
 * The Huffman code of HPACK (RFC 7541 section 5.2, appendix B). The code is canonical: codes of one length follow each
 * other in the order of their symbols, so the table of lengths is all there is to know.
 */

/** Code length in bits of each byte value; the last is EOS. */
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];
const EOS = 256;
const LONGEST = 30;

/**
 * The decoder is a state machine fed with four bits at a time. States are the inner nodes of the code tree (256 of
 * them); as no code is shorter than five bits, a step ends at most one symbol. STEPS[state << 4 | bits] holds the next
 * state in its low byte, the symbol in the next, and the flags above.
 */
const EMITS = 0x10000;
const FAILS = 0x20000;
const STEPS: Uint32Array = new Uint32Array(256 * 16);
/** 1 for states in which the input may end: fewer than eight bits since the last symbol, all ones. */
const MAY_END: Uint8Array = new Uint8Array(256);
/** Not at import: a sidecar without HTTP/2 callers saves the optimising compiler's 5 MB, which these loops call up. */
let isBuilt = false;

/**
 * Decodes bytes[start, end) into `out` from `at`; `out` has room for 8/5 of the input. Returns where the output ends,
 * or -1 for input that RFC 7541 section 5.2 forbids: EOS, padding of eight bits or more, padding that is not ones.
 */
export function huffmanDecode(bytes: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
  if (!isBuilt) buildMachine();
  let state = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    let step = STEPS[(state << 4) | (byte >>> 4)] as number;
    if ((step & EMITS) !== 0) out[at++] = step >>> 8;
    if ((step & FAILS) !== 0) return -1;
    step = STEPS[((step & 0xff) << 4) | (byte & 0x0f)] as number;
    if ((step & EMITS) !== 0) out[at++] = step >>> 8;
    if ((step & FAILS) !== 0) return -1;
    state = step & 0xff;
  }
  return MAY_END[state] === 1 ? at : -1;
}

function buildMachine(): void {
  isBuilt = true;
  // children[2 * node + bit]: another node, or -1 - symbol.
  const children: number[] = [0, 0];
  const codes = canonicalCodes();
  for (let symbol = 0; symbol <= EOS; symbol++) {
    const length = LENGTHS[symbol] as number;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const edge = 2 * node + (((codes[symbol] as number) >>> bit) & 1);
      if (children[edge] === 0) {
        children[edge] = children.length / 2;
        children.push(0, 0);
      }
      node = children[edge] as number;
    }
    children[2 * node + ((codes[symbol] as number) & 1)] = -1 - symbol;
  }
  for (let node = 0; node < children.length / 2; node++) {
    for (let bits = 0; bits < 16; bits++) STEPS[(node << 4) | bits] = stepFrom(children, node, bits);
  }
  for (let node = 0, ones = 0; ones < 8; ones++, node = children[2 * node + 1] as number) MAY_END[node] = 1;
}

function stepFrom(children: readonly number[], from: number, bits: number): number {
  let node = from;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const next = children[2 * node + ((bits >>> bit) & 1)] as number;
    if (next >= 0) {
      node = next;
      continue;
    }
    const symbol = -1 - next;
    if (symbol === EOS) return FAILS;
    emitted = EMITS | (symbol << 8);
    node = 0;
  }
  return emitted | node;
}

function canonicalCodes(): number[] {
  const codes: number[] = [];
  let code = 0;
  for (let length = 1; length <= LONGEST; length++) {
    for (let symbol = 0; symbol <= EOS; symbol++) if (LENGTHS[symbol] === length) codes[symbol] = code++;
    code *= 2;
  }
  return codes;
}
