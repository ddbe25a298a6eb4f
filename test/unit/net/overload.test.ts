import { expect, test } from 'vitest';
import { connectionLimit, descriptorLimit, Overload } from '../../../proxy/net/overload.ts';
import { type Clock, ManualClock } from '../../../shared/clock.ts';

test('the limit on open files is read from what the kernel says, or guessed low', () => {
  expect(descriptorLimit('Max processes  1 1\nMax open files            20000                524288 files\n')).toBe(
    20_000,
  );
  expect(descriptorLimit('Max open files            unlimited            unlimited  files')).toBe(
    Number.POSITIVE_INFINITY,
  );
  expect(descriptorLimit('')).toBe(1024);
});

test('connections leave descriptors in reserve, and each has one for its upstream', () => {
  expect(connectionLimit(20_256, 2)).toBe(5_000);
  expect(connectionLimit(100, 1)).toBe(1);
});

test('a connection beyond the limit is refused and counted, one below it is not', () => {
  const overload = new Overload(new ManualClock(), 10);
  expect([overload.refusesConnection(9), overload.refusesConnection(10), overload.shed]).toEqual([false, true, 1]);
});

/** Timers come as late as the test says. */
class LateClock implements Clock {
  time = 0;
  private waiting: (() => void)[] = [];

  now(): number {
    return this.time;
  }

  wall(): number {
    return this.time;
  }

  after(_ms: number, callback: () => void): { cancel(): void } {
    this.waiting.push(callback);
    return { cancel: () => {} };
  }

  hold(): void {}

  release(): void {}

  comeRound(ms: number): void {
    this.time += ms;
    for (const callback of this.waiting.splice(0)) callback();
  }
}

test('requests are shed when the event loop was a second late twice in a row, and no longer than that', () => {
  const clock = new LateClock();
  const overload = new Overload(clock, 10);
  const seen: boolean[] = [];
  for (const turn of [120, 1_200, 120, 1_200, 1_300, 1_300, 120, 120]) {
    seen.push(overload.refusesRequest(clock.now()));
    clock.comeRound(turn);
  }
  seen.push(overload.refusesRequest(clock.now()));
  expect(seen).toEqual([false, false, false, false, false, true, true, false, false]);
  expect(overload.shed).toBe(2);
});

test('an old measurement sheds nothing', () => {
  const clock = new LateClock();
  const overload = new Overload(clock, 10);
  for (let i = 0; i < 3; i++) {
    overload.refusesRequest(clock.now());
    clock.comeRound(2_000);
  }
  clock.time += 6_000;
  expect(overload.refusesRequest(clock.now())).toBe(false);
});
