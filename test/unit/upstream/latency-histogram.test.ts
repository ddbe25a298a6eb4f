import { expect, test } from 'vitest';
import { LatencyHistogram, LiveP95 } from '../../../proxy/upstream/latency-histogram.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

test('a quantile is within 10 % of the exact one, over four orders of magnitude', () => {
  const random = new Random(1);
  const histogram = new LatencyHistogram();
  const exact = Array.from({ length: 5_000 }, () => 0.5 * 10 ** (random.float() * 4));
  for (const ms of exact) histogram.add(ms);
  exact.sort((a, b) => a - b);
  for (const share of [0.05, 0.5, 0.9, 0.95, 0.99]) {
    const wanted = exact[Math.floor(exact.length * share)] as number;
    expect(Math.abs(histogram.quantile(share) - wanted) / wanted, String(share)).toBeLessThan(0.1);
  }
});

test('what is below or above the range counts as its ends', () => {
  const histogram = new LatencyHistogram();
  histogram.add(0);
  expect(histogram.quantile(0.5)).toBeLessThan(0.3);
  histogram.clear();
  histogram.add(1e9);
  expect([histogram.total, histogram.quantile(0.5)]).toEqual([1, 65_536]);
});

test('the live p95 says nothing until it has heard enough, and forgets what is older than half a minute', () => {
  const clock = new ManualClock();
  const p95 = new LiveP95(clock);
  for (let i = 0; i < 49; i++) p95.observe(10);
  expect(p95.ms).toBe(0);
  p95.observe(10);
  expect(Math.abs(p95.ms - 10)).toBeLessThan(1);
  clock.advance(12_000);
  for (let i = 0; i < 10; i++) p95.observe(100);
  expect(Math.abs(p95.ms - 100)).toBeLessThan(9);
  clock.advance(20_000);
  expect(p95.ms).toBe(0);
  for (let i = 0; i < 50; i++) p95.observe(20);
  expect(Math.abs(p95.ms - 100)).toBeLessThan(9);
  clock.advance(3_600_000);
  expect(p95.ms).toBe(0);
});

test('it follows the latency as it changes', () => {
  const clock = new ManualClock();
  const p95 = new LiveP95(clock);
  const random = new Random(3);
  const second = (ms: number): void => {
    for (let i = 0; i < 100; i++) p95.observe(ms * (0.5 + random.float()));
    clock.advance(1_000);
  };
  for (let i = 0; i < 40; i++) second(10);
  expect(Math.abs(p95.ms - 14.5)).toBeLessThan(1.5);
  for (let i = 0; i < 40; i++) second(50);
  expect(Math.abs(p95.ms - 72.5)).toBeLessThan(7);
});
