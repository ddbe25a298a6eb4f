import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random, systemRandom } from '../../../shared/random.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('Random', () => {
  test('repeats itself from equal seeds and not from others', () => {
    const draw = (random: Random): number[] => Array.from({ length: 8 }, () => random.uint32());
    expect(draw(new Random(7, 3))).toEqual(draw(new Random(7, 3)));
    expect(draw(new Random(7, 3))).not.toEqual(draw(new Random(8, 3)));
    expect(draw(new Random(7, 3))).not.toEqual(draw(new Random(7, 4)));
  });

  test('keeps every number in its range and every text in its form, whatever the seed', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 2 ** 32 }), (seed, limit) => {
        const random = new Random(seed);
        const below = random.below(limit);
        expect(Number.isInteger(below) && below >= 0 && below < limit).toBe(true);
        const float = random.float();
        expect(float >= 0 && float < 1).toBe(true);
        expect(random.hex(16)).toMatch(/^[0-9a-f]{32}$/);
        expect(random.uuid()).toMatch(UUID);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test('spreads evenly: each of 16 slots gets its share of 32,000 draws', () => {
    const random = new Random(42);
    const slots = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < 32_000; i++) slots[random.below(16)]! += 1;
    for (const count of slots) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });

  test('sets and clears each bit about half of the time', () => {
    const random = new Random(1);
    const set = Array.from({ length: 32 }, () => 0);
    for (let i = 0; i < 10_000; i++) {
      const value = random.uint32();
      for (let bit = 0; bit < 32; bit++) set[bit]! += (value >>> bit) & 1;
    }
    for (const count of set) expect(Math.abs(count - 5000)).toBeLessThan(300);
  });

  test('never gives an identifier twice, over many of the texts that they are cut from', () => {
    const random = new Random(11);
    const made = new Set<string>();
    for (let i = 0; i < 2000; i++) for (const text of [random.hex(16), random.hex(8), random.uuid()]) made.add(text);
    expect(made.size).toBe(6000);
    for (const text of made) expect(text).toMatch(/^(?:[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f-]{36})$/);
  });

  test('gives two system generators different sequences', () => {
    expect(systemRandom().hex(16)).not.toBe(systemRandom().hex(16));
  });
});
