import { describe, expect, test } from 'vitest';
import { rampedWeight, type SlowStartSettings } from '../../../proxy/upstream/slow-start.ts';

const SETTINGS: SlowStartSettings = { windowMs: 60_000, minWeightPercent: 10, aggression: 1 };

describe('slow start', () => {
  test.each([
    [0, 100],
    [6000, 100],
    [30_000, 500],
    [59_999, 1000],
    [60_000, 1000],
    [1e9, 1000],
  ])('after %i ms an endpoint of weight 10 has %i hundredths', (upMs, expected) => {
    expect(rampedWeight(10, upMs, SETTINGS)).toBe(expected);
  });

  test('grows faster at the beginning with more aggression', () => {
    expect(rampedWeight(1, 15_000, { ...SETTINGS, aggression: 2 })).toBe(50);
  });

  test('never falls on the way, and is never nothing', () => {
    let last = 0;
    for (let upMs = 0; upMs <= 60_000; upMs += 500) {
      const weight = rampedWeight(1, upMs, { ...SETTINGS, minWeightPercent: 0 });
      expect(weight).toBeGreaterThanOrEqual(Math.max(1, last));
      last = weight;
    }
  });

  test('is full weight at once where it is switched off', () => {
    expect(rampedWeight(3, 0, { ...SETTINGS, windowMs: 0 })).toBe(300);
  });
});
