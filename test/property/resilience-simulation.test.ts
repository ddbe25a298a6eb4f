import { expect, test } from 'vitest';
import { simulate } from '../faults/scenes/simulation.ts';

test('in 300 made-up worlds balancers, ejection and retry budget keep their promises, and all heals when faults end', () => {
  const broken = Array.from({ length: 300 }, (_, seed) => ({ seed, problems: simulate(seed) })).filter(
    ({ problems }) => problems.length > 0,
  );
  expect(broken).toEqual([]);
}, 60_000);
