import { describe, expect, test } from 'vitest';
import { localShare, proportionalShares } from '../../../proxy/upstream/balance/zones.ts';
import { choose } from '../../../proxy/upstream/choice.ts';
import { Endpoint } from '../../../proxy/upstream/endpoint.ts';
import type { LoadBalancerSpec } from '../../../proxy/upstream/spec.ts';
import { Random } from '../../../shared/random.ts';

const PLAIN: LoadBalancerSpec = { type: 'Random', hashOn: null, slowStartMs: 0, zones: null, panicPercent: 0 };
const ZONED: LoadBalancerSpec = { ...PLAIN, zones: { minEndpoints: 2, force: true, minEndpointsInZone: 1 } };
const EVEN: LoadBalancerSpec = { ...PLAIN, zones: { minEndpoints: 2, force: false, minEndpointsInZone: 0 } };

function endpoints(...zones: string[]): Endpoint[] {
  return zones.map((zone, i) => {
    const spec = { address: `10.0.0.${i + 1}`, port: 80, ready: true, weight: 1, zone, meshTls: false };
    return new Endpoint(spec, 0);
  });
}

/** How often each endpoint is picked in 2000 picks. */
function shares(spec: LoadBalancerSpec, all: Endpoint[], zone = '', now = 0): number[] {
  const { picker } = choose(spec, all, zone, now, new Random(1));
  const counts = all.map(() => 0);
  for (let i = 0; i < 2_000; i++) {
    const at = all.indexOf(picker.pick(null) as Endpoint);
    if (at >= 0) counts[at] = (counts[at] ?? 0) + 1;
  }
  return counts;
}

describe('a forced zone', () => {
  test('the own zone takes all while it is well', () => {
    expect(shares(ZONED, endpoints('a', 'a', 'b', 'b'), 'a').slice(2)).toEqual([0, 0]);
  });

  test('it gives over to the others as its endpoints fail', () => {
    const all = endpoints('a', 'a', 'b', 'b');
    (all[0] as Endpoint).state = 'ejected';
    const [ejected = 0, local = 0, ...others] = shares(ZONED, all, 'a');
    expect(ejected).toBe(0);
    // Half of them are left: 1.4 / 2 of the traffic stays.
    expect(local).toBeGreaterThan(1_300);
    expect(local).toBeLessThan(1_500);
    expect(Math.min(...others)).toBeGreaterThan(200);
  });

  test('with none of it left the others take all, and without a zone of our own everybody shares', () => {
    const all = endpoints('a', 'b', 'b');
    expect(Math.min(...shares(ZONED, all))).toBeGreaterThan(500);
    (all[0] as Endpoint).ready = false;
    expect(shares(ZONED, all, 'a')[0]).toBe(0);
  });

  test('what the own zone has been tried out of is found in another', () => {
    const all = endpoints('a', 'b');
    const { picker } = choose(ZONED, all, 'a', 0, new Random(1));
    expect(picker.pick([all[0] as Endpoint])).toBe(all[1]);
  });

  test('the share is the healthy part with some room', () => {
    expect([localShare(3, 3), localShare(3, 4), localShare(1, 2), localShare(0, 3)]).toEqual([1, 1, 0.7, 0]);
  });
});

describe('zones in proportion', () => {
  test('all stays where the own zone has its part of the endpoints or more', () => {
    expect(shares(EVEN, endpoints('a', 'a', 'b', 'b'), 'a').slice(2)).toEqual([0, 0]);
    expect(shares(EVEN, endpoints('a', 'a', 'a', 'b'), 'a')[3]).toBe(0);
  });

  test('what the own zone has too little room for goes where there is more than its callers need', () => {
    // Zone a has a sixth of the endpoints for a third of the callers: half stays. b has its third, c has to spare.
    const [a = 0, b1 = 0, b2 = 0, ...c] = shares(EVEN, endpoints('a', 'b', 'b', 'c', 'c', 'c'), 'a');
    expect(a).toBeGreaterThan(900);
    expect(a).toBeLessThan(1_100);
    expect([b1, b2]).toEqual([0, 0]);
    expect(Math.min(...c)).toBeGreaterThan(250);
  });

  test('every endpoint is equally busy when all zones call equally much', () => {
    const zones = ['a', 'b', 'b', 'b', 'c', 'c', 'd'];
    const busy = zones.map(() => 0);
    for (const zone of ['a', 'b', 'c', 'd']) {
      for (const [i, picks] of shares(EVEN, endpoints(...zones), zone).entries()) busy[i] = (busy[i] ?? 0) + picks;
    }
    const fair = 8_000 / zones.length;
    for (const picks of busy) expect(Math.abs(picks - fair) / fair).toBeLessThan(0.1);
  });

  test('a zone without any endpoint in health goes where there is room, and everybody does in panic', () => {
    const all = endpoints('a', 'b', 'b', 'b');
    (all[0] as Endpoint).healthy = false;
    expect(Math.min(...shares(EVEN, all, 'a').slice(1))).toBeGreaterThan(550);
    expect(shares(EVEN, all, 'a')[0]).toBe(0);
    expect(shares({ ...EVEN, panicPercent: 80 }, all, 'a')[0]).toBeGreaterThan(900);
  });

  test('weights count as endpoints', () => {
    const capacity = new Map([
      ['a', 1],
      ['b', 3],
    ]);
    expect([...proportionalShares(capacity, 'a')]).toEqual([
      ['a', 0.5],
      ['b', 0.5],
    ]);
    expect([...proportionalShares(capacity, 'b')]).toEqual([
      ['b', 1],
      ['a', 0],
    ]);
  });

  test('equal requests find the same endpoint, spilled ones too', () => {
    const hashed: LoadBalancerSpec = { ...EVEN, type: 'Maglev', hashOn: { on: 'SourceIP', names: [] } };
    const all = endpoints('a', 'b', 'b', 'b');
    const { picker } = choose(hashed, all, 'a', 0, new Random(1));
    const random = new Random(2);
    const met = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const hash = random.uint32();
      const endpoint = picker.pick(null, hash) as Endpoint;
      met.add(endpoint.zone);
      expect(picker.pick(null, hash)).toBe(endpoint);
    }
    expect([...met].toSorted()).toEqual(['a', 'b']);
  });

  test('what one zone has been tried out of is found in another', () => {
    const all = endpoints('a', 'b', 'c');
    const { picker } = choose(EVEN, all, 'a', 0, new Random(1));
    expect(picker.pick([all[0] as Endpoint, all[1] as Endpoint])).toBe(all[2]);
  });
});

describe('panic', () => {
  test('below the threshold all ready endpoints are used, at or above it only those in health', () => {
    const all = endpoints('', '', '', '');
    for (const endpoint of all.slice(0, 3)) endpoint.healthy = false;
    expect(shares(PLAIN, all)).toEqual([0, 0, 0, 2_000]);
    expect(Math.min(...shares({ ...PLAIN, panicPercent: 50 }, all))).toBeGreaterThan(400);
    expect(shares({ ...PLAIN, panicPercent: 25 }, all)).toEqual([0, 0, 0, 2_000]);
  });

  test('what policy calls not ready is never used', () => {
    const all = endpoints('', '');
    for (const endpoint of all) endpoint.ready = false;
    expect(shares({ ...PLAIN, panicPercent: 100 }, all)).toEqual([0, 0]);
  });
});

describe('slow start', () => {
  const slow = { ...PLAIN, slowStartMs: 10_000 };

  test('a newcomer begins with a tenth of a share and has a whole one at the end of its window', () => {
    const all = endpoints('', '');
    (all[1] as Endpoint).upSince = 60_000;
    const [, early = 0] = shares(slow, all, '', 60_000);
    expect(early).toBeGreaterThan(100);
    expect(early).toBeLessThan(260);
    const [, late = 0] = shares(slow, all, '', 70_000);
    expect(late).toBeGreaterThan(900);
  });

  test('the choice is made again while somebody warms up, and left alone afterwards', () => {
    const all = endpoints('', '');
    expect(choose(slow, all, '', 5_000, new Random(1)).renewInMs).toBe(500);
    expect(choose(slow, all, '', 10_000, new Random(1)).renewInMs).toBe(0);
    expect(choose(PLAIN, all, '', 0, new Random(1)).renewInMs).toBe(0);
  });
});
