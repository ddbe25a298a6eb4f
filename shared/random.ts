/**
 * Pseudo-random numbers for balancing, sampling and identifiers: fast, and repeatable from a seed so that tests can hold
 * them. Never for keys, nonces or anything that must not be guessed.
 *
 * The generator is xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018), its
 * state filled from the seed by splitmix32.
 */
import { getRandomValues } from 'node:crypto';
import { readLatin1 } from './latin1.ts';

/** Character codes of the hexadecimal digits. */
const DIGITS: Uint8Array = new TextEncoder().encode('0123456789abcdef');
/**
 * Identifiers are cut from a text that is made of so many at once, which costs a third of making each by itself. Whoever
 * keeps one keeps the text: 1.5 KB at most.
 */
const BATCH = 32;
/** A trace ID and a span ID. */
const HEX_BATCH: number = BATCH * 48;
const UUID_DIGITS = 36;
const UUID_BATCH: number = BATCH * UUID_DIGITS;
const HYPHEN = 0x2d;
/** Where both texts are made. */
const scratch: Buffer = Buffer.allocUnsafeSlow(HEX_BATCH);

export class Random {
  private a: number;
  private b: number;
  private c: number;
  private d: number;
  private digits = '';
  private digitsUsed = 0;
  private uuids = '';
  private uuidsUsed = 0;

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

  /** `bytes` random bytes (up to 768) as lower case hexadecimal digits. */
  hex(bytes: number): string {
    const end = this.digitsUsed + 2 * bytes;
    if (end > this.digits.length) {
      this.makeDigits();
      return this.hex(bytes);
    }
    const digits = this.digits.slice(this.digitsUsed, end);
    this.digitsUsed = end;
    return digits;
  }

  /** A UUID of version 4 (RFC 9562 section 5.4). */
  uuid(): string {
    if (this.uuidsUsed === this.uuids.length) this.makeUuids();
    const uuid = this.uuids.slice(this.uuidsUsed, this.uuidsUsed + UUID_DIGITS);
    this.uuidsUsed += UUID_DIGITS;
    return uuid;
  }

  private makeDigits(): void {
    for (let at = 0; at < HEX_BATCH; at += 8) write(this.uint32(), 8, at);
    this.digits = readLatin1(scratch, 0, HEX_BATCH);
    this.digitsUsed = 0;
  }

  private makeUuids(): void {
    for (let at = 0; at < UUID_BATCH; at += UUID_DIGITS) {
      const versioned = (this.uint32() & 0xffff_0fff) | 0x4000;
      const variant = (this.uint32() & 0x3fff_ffff) | 0x8000_0000;
      write(this.uint32(), 8, at);
      scratch[at + 8] = HYPHEN;
      write(versioned >>> 16, 4, at + 9);
      scratch[at + 13] = HYPHEN;
      write(versioned, 4, at + 14);
      scratch[at + 18] = HYPHEN;
      write(variant >>> 16, 4, at + 19);
      scratch[at + 23] = HYPHEN;
      write(variant, 4, at + 24);
      write(this.uint32(), 8, at + 28);
    }
    this.uuids = readLatin1(scratch, 0, UUID_BATCH);
    this.uuidsUsed = 0;
  }
}

/** A generator that nobody can repeat. */
export function systemRandom(): Random {
  const [seed, stream] = getRandomValues(new Uint32Array(2));
  return new Random(seed as number, stream);
}

/** The lowest `count` digits of `bits` into the scratch. */
function write(bits: number, count: number, at: number): void {
  for (let i = at + count - 1, rest = bits; i >= at; i--, rest >>>= 4) scratch[i] = DIGITS[rest & 15] as number;
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
