import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration, parsePercent } from '../../../shared/units.ts';

describe('durations', () => {
  it.each([
    ['0s', 0],
    ['250ms', 250],
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['1h2m3s4ms', 3_723_004],
    ['99999h', 359_996_400_000],
  ])('reads %s as %d milliseconds', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '10', '10x', '1.5s', '-1s', ' 1s', '100000s', '1s1s1s1s1s', '1d', 's'])('refuses %j', (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  it.each([0, 1, 250, 1000, 90_000, 3_723_004])('writes %d milliseconds so that they read the same', (ms) => {
    expect(parseDuration(formatDuration(ms))).toBe(ms);
  });
});

describe('percentages', () => {
  it('reads percentages with and without their sign, up to 100', () => {
    expect(['25', '25%', '0.5%', '100'].map(parsePercent)).toEqual([25, 25, 0.5, 100]);
    expect(['101', '-1', 'x', '1e2', ''].map(parsePercent)).toEqual([null, null, null, null, null]);
  });
});
