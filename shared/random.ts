/**
 * Pseudo-random numbers for balancing, sampling and identifiers: fast, and repeatable from a seed so that tests can hold
 * them. Never for keys, nonces or anything that must not be guessed.
 *
 * The generator is xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018), its
 * state filled from the seed by splitmix32.
 */
import { getRandomValues } from 'node:crypto';

/** Character codes of the hexadecimal digits. */
const DIGITS: Uint8Array = new TextEncoder().encode('0123456789abcdef');

export class Random {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  /** Equal seeds (32 bits each) give equal sequences. */
  constructor(seed: number, stream = 0) {
    const next = splitmix(seed);
    const other = splitmix(stream);
    this.a = next() ^ other();
    this.b = next() ^ other();
    this.c = next() ^ other();
    // The state must not be all zeros, the one fixed point of the generator.
    this.d = (next() ^ other()) | 1;
  }

  /** An integer from 0 to 2^32 - 1. */
  uint32(): number {
    const scrambled = Math.imul(this.b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const shifted = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= shifted;
    this.d = (this.d << 11) | (this.d >>> 21);
    return result;
  }

  /** A number from 0 up to but not 1, with 53 random bits. */
  float(): number {
    return ((this.uint32() >>> 5) * 67_108_864 + (this.uint32() >>> 6)) / 9_007_199_254_740_992;
  }

  /** An integer from 0 to `limit - 1`; `limit` from 1 to 2^32. The bias is below 2^-20. */
  below(limit: number): number {
    return Math.floor(this.float() * limit);
  }

  /** `bytes` random bytes (a multiple of 4) as lower case hexadecimal digits. */
  hex(bytes: number): string {
    let text = '';
    for (let left = bytes; left > 0; left -= 4) text += word(this.uint32());
    return text;
  }

  /** A UUID of version 4 (RFC 9562 section 5.4). */
  uuid(): string {
    const second = word((this.uint32() & 0xffff_0fff) | 0x4000);
    const third = word((this.uint32() & 0x3fff_ffff) | 0x8000_0000);
    const first = word(this.uint32());
    return `${first}-${second.slice(0, 4)}-${second.slice(4)}-${third.slice(0, 4)}-${third.slice(4)}${word(this.uint32())}`;
  }
}

/** A generator that nobody can repeat. */
export function systemRandom(): Random {
  const [seed, stream] = getRandomValues(new Uint32Array(2));
  return new Random(seed as number, stream);
}

/** Eight digits. From character codes: ten times as fast as `toString(16)` with padding. */
function word(bits: number): string {
  return String.fromCharCode(
    DIGITS[bits >>> 28] as number,
    DIGITS[(bits >>> 24) & 15] as number,
    DIGITS[(bits >>> 20) & 15] as number,
    DIGITS[(bits >>> 16) & 15] as number,
    DIGITS[(bits >>> 12) & 15] as number,
    DIGITS[(bits >>> 8) & 15] as number,
    DIGITS[(bits >>> 4) & 15] as number,
    DIGITS[bits & 15] as number,
  );
}

function splitmix(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e37_79b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return mixed ^ (mixed >>> 15);
  };
}
