import { expect, test } from 'vitest';
import { Deadlines } from '../../../proxy/net/deadline.ts';
import { FreedMemory, trimAllocator } from '../../../proxy/net/freed-memory.ts';
import { ManualClock } from '../../../shared/clock.ts';

function stage() {
  const clock = new ManualClock();
  const released: number[] = [];
  const memory = new FreedMemory(new Deadlines(clock), () => released.push(clock.now()));
  const change = (times: number): void => {
    for (let turn = 0; turn < times; turn++) memory.changed();
  };
  return { clock, released, change };
}

test('memory is given back once, a second or two after the last of a burst of connections', () => {
  const { clock, released, change } = stage();
  const from = clock.now();
  for (let turn = 0; turn < 10; turn++) {
    change(100);
    clock.advance(900);
  }
  expect(released).toEqual([]);
  clock.advance(60_000);
  expect(released).toHaveLength(1);
  expect((released[0] as number) - from).toBeGreaterThanOrEqual(9_100);
  expect((released[0] as number) - from).toBeLessThanOrEqual(11_000);
});

test('a few connections are not worth it, however long they take to be many', () => {
  const { clock, released, change } = stage();
  change(63);
  clock.advance(60_000);
  expect(released).toEqual([]);
  change(1);
  clock.advance(60_000);
  expect(released).toHaveLength(1);
});

test('the next burst is one again', () => {
  const { clock, released, change } = stage();
  for (let turn = 0; turn < 3; turn++) {
    change(64);
    clock.advance(10_000);
  }
  expect(released).toHaveLength(3);
});

test('the allocator of this process takes it', () => {
  trimAllocator();
});
