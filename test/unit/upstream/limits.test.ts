import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Slots, shareOf } from '../../../proxy/upstream/limits.ts';

describe('slots', () => {
  test('are given up to the limit and again when released', () => {
    const slots = new Slots(2);
    expect([slots.tryAcquire(), slots.tryAcquire(), slots.tryAcquire()]).toEqual([true, true, false]);
    slots.release();
    expect(slots.active).toBe(1);
    expect(slots.tryAcquire()).toBe(true);
  });

  test('with a lowered limit are given again only when enough came back', () => {
    const slots = new Slots(3);
    for (let i = 0; i < 3; i++) slots.tryAcquire();
    slots.limit = 1;
    slots.release();
    slots.release();
    expect(slots.tryAcquire()).toBe(false);
    slots.release();
    expect(slots.tryAcquire()).toBe(true);
  });

  test('cannot be released twice', () => {
    const slots = new Slots(1);
    slots.tryAcquire();
    slots.release();
    expect(() => slots.release()).toThrow('nobody held');
  });

  test('of a limit of 0 are never given', () => {
    expect(new Slots(0).tryAcquire()).toBe(false);
  });
});

describe('the share of a data thread', () => {
  test('sums to the limit over all threads, differs by at most 1 and is at least 1', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 64 }), (limit, threads) => {
        const shares = Array.from({ length: threads }, (_, thread) => shareOf(limit, thread, threads));
        const sum = shares.reduce((a, b) => a + b, 0);
        expect(sum).toBe(Math.max(limit, threads));
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
        expect(Math.min(...shares)).toBeGreaterThanOrEqual(1);
      }),
      { seed: 5, numRuns: 200 },
    );
  });

  test('of nothing is nothing', () => {
    expect(shareOf(0, 0, 4)).toBe(0);
  });
});
