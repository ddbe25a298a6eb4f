import { describe, expect, test } from 'vitest';
import { hash32 } from '../../../proxy/upstream/balance/hash.ts';
import { createPicker, type Pickable } from '../../../proxy/upstream/balancer.ts';
import { Random } from '../../../shared/random.ts';

interface TestEndpoint extends Pickable {
  available: boolean;
}

function endpointsOf(count: number): TestEndpoint[] {
  return Array.from({ length: count }, (_, i) => ({ key: `10.1.2.${i}:8080`, weight: 1, active: 0, available: true }));
}

const HASHES = Array.from({ length: 5000 }, (_, i) => hash32(`user-${i}`));

function placements(type: string, list: readonly TestEndpoint[]): (string | undefined)[] {
  const picker = createPicker(type, list, new Random(1));
  return HASHES.map((hash) => picker.pick(null, hash)?.key);
}

describe.each([
  ['RingHash', 0],
  ['Maglev', 0.03],
])('%s', (type, disturbed) => {
  test('keeps equal requests together, from every sidecar and in whatever order the endpoints were learned', () => {
    const list = endpointsOf(10);
    expect(placements(type, list.toReversed())).toEqual(placements(type, list));
  });

  test.each([3, 10, 50])('moves little besides the share of an endpoint that goes, of %i', (count) => {
    const list = endpointsOf(count);
    const before = placements(type, list);
    const gone = list[1] as TestEndpoint;
    gone.available = false;
    const after = placements(type, list);
    const movedElsewhere = before.filter((key, i) => key !== gone.key && after[i] !== key).length;
    expect(after).not.toContain(gone.key);
    expect(movedElsewhere / HASHES.length).toBeLessThanOrEqual(disturbed);
  });

  test('gives each of 100 endpoints something near its share', () => {
    const counts = new Map<string | undefined, number>();
    for (const key of placements(type, endpointsOf(100))) counts.set(key, (counts.get(key) ?? 0) + 1);
    expect(counts.size).toBe(100);
    expect(Math.max(...counts.values())).toBeLessThan(100);
  });

  test('gives an endpoint of the smallest weight beside huge ones still a place', () => {
    const list = endpointsOf(3).map((one, i) => ({ ...one, weight: i === 0 ? 1 : 100_000 }));
    const picker = createPicker(type, list, new Random(1));
    const [light, ...heavy] = list;
    expect(picker.pick(heavy, 12_345)).toBe(light);
  });
});

test('the hash never changes: sidecars of different versions must agree', () => {
  // FNV-1a with MurmurHash3's finalizer, worked out by another program.
  expect([hash32(''), hash32('a'), hash32('10.0.0.1:80')]).toEqual([2_872_998_923, 444_641_715, 3_629_747_543]);
});

test.each(['RingHash', 'Maglev'])(
  '%s finds the one untried endpoint though others that were tried have left',
  (type) => {
    const [gone, tried, untried] = endpointsOf(3) as [TestEndpoint, TestEndpoint, TestEndpoint];
    const picker = createPicker(type, [tried, untried], new Random(1));
    for (const hash of HASHES.slice(0, 100)) expect(picker.pick([gone, tried], hash)).toBe(untried);
    expect(picker.pick([gone, tried, untried], 1)).not.toBeNull();
  },
);
