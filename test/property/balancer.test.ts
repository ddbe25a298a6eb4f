/** What every picker must hold, walked over the registry. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPicker, PICKER_KINDS, type Pickable } from '../../proxy/upstream/balancer.ts';
import { Random } from '../../shared/random.ts';

interface TestEndpoint extends Pickable {
  readonly place: number;
  active: number;
}

const endpoint = fc.record({
  weight: fc.integer({ min: 1, max: 100 }),
  active: fc.integer({ min: 0, max: 50 }),
  available: fc.boolean(),
});
const endpoints = fc
  .array(endpoint, { maxLength: 12 })
  .map((list): TestEndpoint[] => list.map((one, place) => ({ ...one, place, key: `10.0.0.${place}:80` })));

describe.each(PICKER_KINDS.map((kind) => kind.type))('%s', (type) => {
  test('never picks one that is unavailable, and picks nobody only if none is available', () => {
    fc.assert(
      fc.property(endpoints, fc.integer(), (list, seed) => {
        const picker = createPicker(type, list, new Random(seed));
        for (let i = 0; i < 20; i++) {
          const picked = picker.pick(null, i * 7919);
          expect(picked === null).toBe(list.every((one) => !one.available));
          if (picked !== null) expect(picked.available).toBe(true);
        }
      }),
      { seed: 1, numRuns: 120 },
    );
  });

  test('never picks one twice for a request while another is there, and still picks when all were tried', () => {
    fc.assert(
      fc.property(endpoints, fc.integer(), fc.integer({ min: 0, max: 0xffff_ffff }), (list, seed, hash) => {
        const available = list.filter((one) => one.available);
        const picker = createPicker(type, list, new Random(seed));
        const tried: TestEndpoint[] = [];
        for (const _ of available) {
          const picked = picker.pick(tried, hash);
          if (picked === null) throw new Error('nobody was picked');
          expect(tried).not.toContain(picked);
          tried.push(picked);
        }
        if (available.length > 0) expect(available).toContain(picker.pick(tried, hash));
      }),
      { seed: 2, numRuns: 120 },
    );
  });

  test('equal seeds give equal picks', () => {
    fc.assert(
      fc.property(endpoints, fc.integer(), (list, seed) => {
        const picks = (): (number | undefined)[] => {
          const picker = createPicker(type, list, new Random(seed));
          return Array.from({ length: 10 }, (_, i) => picker.pick(null, i)?.place);
        };
        expect(picks()).toEqual(picks());
      }),
      { seed: 3, numRuns: 50 },
    );
  });

  test('idle endpoints share the traffic by weight', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }),
        fc.integer(),
        (weights, seed) => {
          const list = weights.map(
            (weight, place): TestEndpoint => ({ weight, place, key: `10.0.0.${place}:80`, active: 0, available: true }),
          );
          const picks = 20_000;
          const counts = countPicks(type, list, seed, picks);
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          for (const [place, weight] of weights.entries()) {
            // Five standard deviations of a fair draw, and for rings and tables the unevenness of their layout.
            const expected = (picks * weight) / total;
            expect(Math.abs((counts[place] ?? 0) - expected)).toBeLessThan(
              5 * Math.sqrt(expected) + (LAYOUT_ERROR[type] ?? 0) * expected + 1,
            );
          }
        },
      ),
      { seed: 4, numRuns: 25 },
    );
  });
});

/** Shares that a hash table lays out unevenly by its nature: a ring's points fall at random, few of them for small weights. */
const LAYOUT_ERROR: Readonly<Record<string, number>> = { RingHash: 0.8, Maglev: 0.02 };

function countPicks(type: string, list: readonly TestEndpoint[], seed: number, picks: number): number[] {
  const picker = createPicker(type, list, new Random(seed));
  const hashes = new Random(seed, 1);
  const counts = list.map(() => 0);
  for (let i = 0; i < picks; i++) {
    const place = picker.pick(null, hashes.uint32())?.place ?? 0;
    counts[place] = (counts[place] ?? 0) + 1;
  }
  return counts;
}

test('a type that is not in the registry is a bug', () => {
  expect(() => createPicker('Tarot', [], new Random(1))).toThrow('Tarot');
});
