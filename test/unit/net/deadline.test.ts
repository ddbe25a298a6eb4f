import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Deadline, Deadlines } from '../../../proxy/net/deadline.ts';
import { type Clock, ManualClock } from '../../../shared/clock.ts';

function setUp(): { clock: ManualClock; deadlines: Deadlines; expired: string[]; named: (name: string) => Deadline } {
  const clock = new ManualClock();
  const expired: string[] = [];
  return { clock, deadlines: new Deadlines(clock), expired, named: (name) => new Deadline(() => expired.push(name)) };
}

test('a deadline expires once, when its time has come and not before', () => {
  const { clock, deadlines, expired, named } = setUp();
  const item = named('a');
  deadlines.set(item, 100);
  clock.advance(99);
  expect([expired.length, item.isSet]).toEqual([0, true]);
  clock.advance(1);
  clock.advance(1_000);
  expect([expired, item.isSet]).toEqual([['a'], false]);
});

test('one that is set again counts from then, with the same duration or another', () => {
  const { clock, deadlines, expired, named } = setUp();
  const item = named('a');
  deadlines.set(item, 100);
  clock.advance(60);
  deadlines.set(item, 100);
  clock.advance(60);
  expect(expired).toEqual([]);
  deadlines.set(item, 30);
  clock.advance(30);
  expect(expired).toEqual(['a']);
});

test('a duration of 0 means none, and takes one away that was set', () => {
  const { clock, deadlines, expired, named } = setUp();
  const item = named('a');
  deadlines.set(item, 0);
  expect(item.isSet).toBe(false);
  deadlines.set(item, 10);
  deadlines.set(item, 0);
  clock.advance(100);
  expect(expired).toEqual([]);
});

test('one that clears another when it expires keeps it from expiring in the same turn', () => {
  const { clock, deadlines, expired, named } = setUp();
  const victim = named('victim');
  const first = new Deadline(() => victim.clear());
  deadlines.set(first, 10);
  deadlines.set(victim, 10);
  clock.advance(10);
  expect(expired).toEqual([]);
});

test('one that sets itself again when it expires goes on, and delays nobody', () => {
  const { clock, deadlines, expired, named } = setUp();
  const again: Deadline = new Deadline(() => {
    expired.push('again');
    deadlines.set(again, 10);
  });
  deadlines.set(again, 10);
  deadlines.set(named('other'), 10);
  clock.advance(30);
  expect(expired).toEqual(['again', 'other', 'again', 'again']);
});

test('a thousand deadlines of one duration need one timer', () => {
  const manual = new ManualClock();
  let timers = 0;
  const clock: Clock = {
    now: () => manual.now(),
    wall: () => manual.wall(),
    after(ms, callback) {
      timers++;
      return manual.after(ms, callback);
    },
    hold() {},
    release() {},
  };
  const deadlines = new Deadlines(clock);
  for (let i = 0; i < 1_000; i++) deadlines.set(new Deadline(() => {}), 50);
  expect(timers).toBe(1);
});

test('any schedule of setting and clearing lets exactly those expire that were not cleared in time', () => {
  const step = fc.record({
    item: fc.nat(4),
    ms: fc.constantFrom(0, 5, 10, 25),
    clear: fc.boolean(),
    pause: fc.nat(12),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { clock, deadlines } = setUp();
      const due = new Map<number, number>();
      const wrong: string[] = [];
      const items = [0, 1, 2, 3, 4].map(
        (i) =>
          new Deadline(() => {
            if (due.get(i) === undefined || clock.now() < (due.get(i) as number)) wrong.push(`${i} at ${clock.now()}`);
            due.delete(i);
          }),
      );
      for (const { item, ms, clear, pause } of steps) {
        const deadline = items[item] as Deadline;
        if (clear) deadline.clear();
        else deadlines.set(deadline, ms);
        if (clear || ms === 0) due.delete(item);
        else due.set(item, clock.now() + ms);
        clock.advance(pause);
        for (const [i, at] of due) if (at <= clock.now()) wrong.push(`${i} was due at ${at}`);
      }
      expect(wrong).toEqual([]);
    }),
    { numRuns: 200, seed: 7 },
  );
});
