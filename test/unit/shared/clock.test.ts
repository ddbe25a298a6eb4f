import { expect, test, vi } from 'vitest';
import { ManualClock, systemClock, TurnClock } from '../../../shared/clock.ts';

/** Lets the system's clock move on visibly, without a timer. */
function spin(): void {
  const start = performance.now();
  while (performance.now() - start < 1);
}

test('the time of a turn stands still until the turn is over', () => {
  const clock = new TurnClock();
  clock.hold();
  const start = clock.now();
  spin();
  expect(clock.now()).toBe(start);
  clock.release();
  expect(clock.now()).toBeGreaterThan(start);
});

test('outside of a turn time runs', () => {
  const clock = new TurnClock();
  const start = clock.now();
  spin();
  expect(clock.now()).toBeGreaterThan(start);
});

test('a manual clock fires what falls due on the way, in the order of its time', () => {
  const clock = new ManualClock();
  const fired: [string, number][] = [];
  clock.after(20, () => fired.push(['second', clock.now()]));
  clock.after(10, () => {
    fired.push(['first', clock.now()]);
    clock.after(5, () => fired.push(['between', clock.now()]));
  });
  clock.after(15, () => fired.push(['cancelled', clock.now()])).cancel();
  clock.advance(30);
  expect(fired).toEqual([
    ['first', 10],
    ['between', 15],
    ['second', 20],
  ]);
  expect(clock.now()).toBe(30);
});

test('a time longer than the timers of the system hold passes before anybody is called back, or is cancelled', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const month = 30 * 86_400_000;
    const fired: string[] = [];
    systemClock.after(month, () => fired.push('a month'));
    systemClock.after(month, () => fired.push('cancelled at once')).cancel();
    const late = systemClock.after(month, () => fired.push('cancelled late'));
    vi.advanceTimersByTime(month - 1);
    late.cancel();
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(month);
    expect([fired, vi.getTimerCount()]).toEqual([['a month'], 0]);
  } finally {
    vi.useRealTimers();
  }
});
