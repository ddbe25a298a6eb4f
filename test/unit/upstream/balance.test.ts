import { describe, expect, test } from 'vitest';
import { createPicker, type Pickable } from '../../../proxy/upstream/balancer.ts';
import { Random } from '../../../shared/random.ts';

interface TestEndpoint extends Pickable {
  readonly name: string;
  active: number;
}

function endpointsOf(weights: Readonly<Record<string, number>>): TestEndpoint[] {
  return Object.entries(weights).map(([name, weight]) => ({ name, key: name, weight, active: 0, available: true }));
}

describe('RoundRobin', () => {
  const picksOf = (weights: Readonly<Record<string, number>>, count: number): string => {
    const picker = createPicker('RoundRobin', endpointsOf(weights), new Random(1));
    return Array.from({ length: count }, () => picker.pick(null)?.name).join('');
  };

  test('takes everybody in turn', () => {
    expect('abcabcabcabc').toContain(picksOf({ a: 1, b: 1, c: 1 }, 9));
  });

  test('gives every round exactly by weight, spread over the round', () => {
    const round = picksOf({ a: 5, b: 1, c: 2 }, 8);
    expect(round.split('').toSorted().join('')).toBe('aaaaabcc');
    expect(round + round).not.toContain('aaaaa');
    expect(round + round).not.toContain('cc');
  });

  test('does the same for weights with a common factor', () => {
    expect(picksOf({ a: 5000, b: 1000 }, 6)).toBe(picksOf({ a: 5, b: 1 }, 6));
  });

  test('starts elsewhere with another seed, so that sidecars do not march in step', () => {
    const list = endpointsOf(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`e${i}`, 1])));
    const starts = Array.from(
      { length: 20 },
      (_, seed) => createPicker('RoundRobin', list, new Random(seed)).pick(null)?.name,
    );
    expect(new Set(starts).size).toBeGreaterThan(10);
  });

  test('gives even the smallest weight a turn beside huge ones', () => {
    const list = endpointsOf({ a: 1_000_000, b: 999_999, c: 1 });
    const picker = createPicker('RoundRobin', list, new Random(1));
    const seen = new Set(Array.from({ length: 5000 }, () => picker.pick(null)?.name));
    expect(seen).toEqual(new Set(['a', 'b', 'c']));
  });
});

describe('LeastRequest', () => {
  test('of two endpoints always takes the one with fewer requests in flight', () => {
    const list = endpointsOf({ a: 1, b: 1 });
    const [a] = list as [TestEndpoint, TestEndpoint];
    a.active = 3;
    const picker = createPicker('LeastRequest', list, new Random(1));
    const picks = Array.from({ length: 100 }, () => picker.pick(null)?.name);
    expect(new Set(picks)).toEqual(new Set(['b']));
  });

  test('compares requests in flight for each unit of weight', () => {
    const list = endpointsOf({ heavy: 10, light: 1 });
    const [heavy, light] = list as [TestEndpoint, TestEndpoint];
    heavy.active = 9;
    light.active = 1;
    const picker = createPicker('LeastRequest', list, new Random(1));
    const picks = Array.from({ length: 100 }, () => picker.pick(null)?.name);
    expect(new Set(picks)).toEqual(new Set(['heavy']));
  });

  test('turns away from a slow endpoint: it holds little more in flight than the others', () => {
    const list = endpointsOf({ a: 1, b: 1, c: 1, slow: 1 });
    const random = new Random(42);
    const picker = createPicker('LeastRequest', list, random);
    const served: Record<string, number> = {};
    // Each step one request comes; a busy endpoint ends one with chance 1/2, the slow one with chance 1/20.
    for (let step = 0; step < 20_000; step++) {
      const picked = picker.pick(null);
      if (picked === null) throw new Error('nobody was picked');
      picked.active++;
      served[picked.name] = (served[picked.name] ?? 0) + 1;
      for (const one of list) if (one.active > 0 && random.float() < (one.name === 'slow' ? 0.05 : 0.5)) one.active--;
    }
    expect(served.slow ?? 0).toBeLessThan((served.a ?? 0) / 3);
    expect(Math.max(...list.map((one) => one.active))).toBeLessThan(20);
  });
});

test('an empty cluster picks nobody', () => {
  expect(createPicker('RoundRobin', [], new Random(1)).pick(null)).toBeNull();
});
