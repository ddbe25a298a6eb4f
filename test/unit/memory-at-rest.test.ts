import { setImmediate as turn } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test } from 'vitest';
import { MemoryAtRest, releaseMemory } from '../../proxy/memory-at-rest.ts';
import { ManualClock } from '../../shared/clock.ts';

afterEach(() => expect(runInNewContext('typeof gc')).toBe('undefined'));

test('what the start left behind is collected', async () => {
  const left = new WeakRef({ schemas: Array.from({ length: 1000 }, (_, index) => ({ index })) });
  // A WeakRef holds its target until the turn that made it has ended.
  await turn();
  releaseMemory();
  expect(left.deref()).toBeUndefined();
});

test('memory is given back when there was nothing heavy to do for five seconds, once', () => {
  const clock = new ManualClock();
  let released = 0;
  const memory = new MemoryAtRest(clock, () => released++);
  for (let turn = 0; turn < 10; turn++) {
    memory.after();
    clock.advance(4_900);
  }
  expect(released).toBe(0);
  clock.advance(100);
  expect(released).toBe(1);
  clock.advance(60_000);
  expect(released).toBe(1);
});

test('code whose bytecode was collected runs as before', () => {
  const double = (value: number): number => value * 2;
  expect(double(2)).toBe(4);
  releaseMemory();
  expect(double(3)).toBe(6);
});
