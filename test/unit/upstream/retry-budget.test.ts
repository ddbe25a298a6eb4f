import { describe, expect, test } from 'vitest';
import { RetryBudget, type RetryBudgetSettings } from '../../../proxy/upstream/retry-budget.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

const DEFAULTS: RetryBudgetSettings = { percent: 20, minPerSecond: 10 };

function granted(budget: RetryBudget, tries: number): number {
  let count = 0;
  for (let i = 0; i < tries; i++) if (budget.tryRetry()) count++;
  return count;
}

describe('the retry budget', () => {
  test('lets a quiet cluster retry ten times in any second and no more', () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(clock, DEFAULTS);
    expect(granted(budget, 100)).toBe(10);
    clock.advance(999);
    expect(granted(budget, 100)).toBe(0);
    clock.advance(1);
    expect(granted(budget, 100)).toBe(10);
    clock.advance(60_000);
    expect(granted(budget, 100)).toBe(10);
  });

  test('adds a fifth of the requests of the last ten seconds', () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(clock, DEFAULTS);
    for (let i = 0; i < 1000; i++) budget.onRequest();
    expect(granted(budget, 1000)).toBe(210);
    clock.advance(9000);
    expect(granted(budget, 1000)).toBe(10);
  });

  test('forgets requests after ten seconds', () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(clock, { percent: 20, minPerSecond: 0 });
    for (let i = 0; i < 100; i++) budget.onRequest();
    clock.advance(10_000);
    expect(granted(budget, 100)).toBe(0);
  });

  test('forgets everything after a long silence', () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(clock, { percent: 50, minPerSecond: 0 });
    for (let i = 0; i < 100; i++) budget.onRequest();
    clock.advance(86_400_000);
    expect(granted(budget, 100)).toBe(0);
    budget.onRequest();
    budget.onRequest();
    expect(granted(budget, 100)).toBe(1);
  });

  test('takes a fraction of the floor for a data thread among several', () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(clock, { percent: 0, minPerSecond: 10 / 4 });
    let count = 0;
    for (let step = 0; step < 600; step++) {
      count += granted(budget, 10);
      clock.advance(100);
    }
    expect(count).toBeGreaterThan(140);
    expect(count).toBeLessThanOrEqual(150 + 3);
  });

  test('of zero never grants a retry', () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(clock, { percent: 0, minPerSecond: 0 });
    for (let i = 0; i < 100; i++) budget.onRequest();
    expect(granted(budget, 10)).toBe(0);
  });

  test('takes new settings over and keeps what it counted', () => {
    const clock = new ManualClock();
    const budget = new RetryBudget(clock, { percent: 0, minPerSecond: 0 });
    for (let i = 0; i < 100; i++) budget.onRequest();
    budget.update({ percent: 10, minPerSecond: 5 });
    expect(granted(budget, 100)).toBe(15);
    budget.update({ percent: 10, minPerSecond: 5 });
    expect(granted(budget, 100)).toBe(0);
  });

  test('lets an upstream that fails everything see at most 1.2 times the load and ten a second, in 300 simulations', () => {
    for (let seed = 0; seed < 300; seed++) {
      const { offered, seen, seconds, retried } = simulateFailingUpstream(seed);
      expect(seen, `seed ${seed}`).toBeLessThanOrEqual(1.2 * offered + 10 * seconds);
      expect(retried, `seed ${seed}`).toBeGreaterThan(0);
    }
  });
});

/** Load that changes every second, up to two retries per request, each tried as soon as the attempt before failed. */
function simulateFailingUpstream(seed: number): { offered: number; seen: number; seconds: number; retried: number } {
  const random = new Random(seed);
  const clock = new ManualClock();
  const budget = new RetryBudget(clock, DEFAULTS);
  const seconds = 5 + random.below(40);
  let offered = 0;
  let retried = 0;
  clock.advance(random.below(5000));
  for (let second = 0; second < seconds; second++) {
    const load = random.float() < 0.3 ? 0 : random.below(400);
    for (let i = 0; i < load; i++) {
      offered++;
      budget.onRequest();
      if (budget.tryRetry()) retried++;
      if (budget.tryRetry()) retried++;
      clock.advance(1000 / load);
    }
    if (load === 0) clock.advance(1000);
  }
  return { offered, seen: offered + retried, seconds, retried };
}
