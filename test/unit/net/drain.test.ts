import { beforeEach, expect, test } from 'vitest';
import { Drain, type Draining, LAST_ANSWERS_MS, LAST_LOOK_MS, QUIET_MS } from '../../../proxy/net/drain.ts';
import { ManualClock } from '../../../shared/clock.ts';

class Direction implements Draining {
  open = 0;
  busy = 0;
  lastBusyAt = 0;
  told = 0;

  drain(): void {
    this.told++;
  }
}

let clock: ManualClock;
let inbound: Direction;
let outbound: Direction;
let drain: Drain;
let done: number;

beforeEach(() => {
  clock = new ManualClock();
  [inbound, outbound] = [new Direction(), new Direction()];
  done = 0;
  drain = new Drain(clock, [inbound, outbound], () => done++);
});

test('with nothing open it is done at once', () => {
  drain.start();
  expect([done, inbound.told, outbound.told]).toEqual([1, 1, 1]);
});

test('with idle connections it waits until nothing new came for the quiet time', () => {
  inbound.open = 3;
  drain.start();
  clock.advance(QUIET_MS - 1);
  expect(done).toBe(0);
  inbound.lastBusyAt = clock.now();
  clock.advance(QUIET_MS - 1);
  expect(done).toBe(0);
  clock.advance(100);
  expect(done).toBe(1);
});

test('it waits for a request under way, however long, in either direction', () => {
  Object.assign(outbound, { open: 1, busy: 1 });
  drain.start();
  clock.advance(10 * QUIET_MS);
  expect(done).toBe(0);
  Object.assign(outbound, { busy: 0, lastBusyAt: clock.now() });
  clock.advance(QUIET_MS + 100);
  expect(done).toBe(1);
});

test('a second start changes nothing', () => {
  inbound.open = 1;
  drain.start();
  drain.start();
  clock.advance(2 * QUIET_MS);
  expect([done, inbound.told]).toEqual([1, 1]);
});

test('after the listeners closed it waits for what was accepted in the last moment', () => {
  let finished = 0;
  Object.assign(inbound, { open: 1, lastBusyAt: clock.now() });
  drain.finish(() => finished++);
  clock.advance(LAST_LOOK_MS - 1);
  expect(finished).toBe(0);
  inbound.busy = 1;
  clock.advance(10 * LAST_LOOK_MS);
  expect(finished).toBe(0);
  Object.assign(inbound, { busy: 0, lastBusyAt: clock.now() });
  clock.advance(LAST_LOOK_MS + 100);
  expect(finished).toBe(1);
});

test('what has been quiet for long enough is finished at once', () => {
  clock.advance(LAST_LOOK_MS);
  let finished = 0;
  drain.finish(() => finished++);
  expect(finished).toBe(1);
});

test('the last answers are waited for until they are taken', () => {
  let left = 2;
  let ended = 0;
  drain.last(
    () => left,
    () => ended++,
  );
  clock.advance(LAST_ANSWERS_MS / 2);
  expect(ended).toBe(0);
  left = 0;
  clock.advance(LAST_ANSWERS_MS / 2 - 1);
  expect(ended).toBe(1);
});

test('for who does not take the last answer the end comes all the same', () => {
  let ended = 0;
  drain.last(
    () => 1,
    () => ended++,
  );
  clock.advance(LAST_ANSWERS_MS - 1);
  expect(ended).toBe(0);
  clock.advance(10);
  expect(ended).toBe(1);
});
