import { setImmediate as turn } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test } from 'vitest';
import { releaseStartMemory } from '../../proxy/start-memory.ts';

afterEach(() => expect(runInNewContext('typeof gc')).toBe('undefined'));

test('what the start left behind is collected', async () => {
  const left = new WeakRef({ schemas: Array.from({ length: 1000 }, (_, index) => ({ index })) });
  // A WeakRef holds its target until the turn that made it has ended.
  await turn();
  releaseStartMemory();
  expect(left.deref()).toBeUndefined();
});

test('code whose bytecode was collected runs as before', () => {
  const double = (value: number): number => value * 2;
  expect(double(2)).toBe(4);
  releaseStartMemory();
  expect(double(3)).toBe(6);
});
