import { describe, expect, test } from 'vitest';
import { PeakLatency } from '../../../proxy/upstream/balance/peak-ewma.ts';
import { createPicker, type Pickable } from '../../../proxy/upstream/balancer.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

describe('the latency of an endpoint', () => {
  test('rises at once with a slow answer and falls slowly with fast ones', () => {
    const clock = new ManualClock();
    const latency = new PeakLatency(clock);
    latency.observe(10);
    clock.advance(100);
    latency.observe(500);
    expect(latency.expectedMs()).toBe(500);
    clock.advance(100);
    latency.observe(10);
    expect(latency.expectedMs()).toBeGreaterThan(450);
    for (let i = 0; i < 900; i++) {
      clock.advance(100);
      latency.observe(10);
    }
    expect(latency.expectedMs()).toBeCloseTo(10, 0);
  });

  test('is forgotten while nothing is heard', () => {
    const clock = new ManualClock();
    const latency = new PeakLatency(clock);
    latency.observe(1000);
    clock.advance(10_000);
    expect(latency.expectedMs()).toBeCloseTo(1000 / Math.E, 6);
  });
});

interface Simulated extends Pickable {
  active: number;
  readonly latency: PeakLatency;
  served: number;
}

/** One request per millisecond for 20 s; `slowMs` is what the last endpoint takes, the others 5 ms. */
function simulate(seed: number, slowMs: number): Simulated[] {
  const clock = new ManualClock();
  const list = Array.from(
    { length: 4 },
    (_, i): Simulated => ({
      key: `e${i}`,
      weight: 1,
      active: 0,
      available: true,
      latency: new PeakLatency(clock),
      served: 0,
    }),
  );
  const picker = createPicker('PeakEWMA', list, new Random(seed));
  const ending: { at: number; one: Simulated; ms: number }[] = [];
  for (let now = 0; now < 20_000; now++) {
    clock.advance(1);
    for (let i = ending.length - 1; i >= 0; i--) {
      const request = ending[i];
      if (request === undefined || request.at > now) continue;
      request.one.active--;
      request.one.latency.observe(request.ms);
      ending.splice(i, 1);
    }
    const one = picker.pick(null);
    if (one === null) throw new Error('nobody was picked');
    one.active++;
    one.served++;
    const ms = one === list[3] ? slowMs : 5;
    ending.push({ at: now + ms, one, ms });
  }
  return list;
}

test('a slow endpoint gets almost nothing, in 20 simulations', () => {
  for (let seed = 0; seed < 20; seed++) {
    const [fast, , , slow] = simulate(seed, 500).map((one) => one.served);
    expect(slow ?? 0, `seed ${seed}`).toBeLessThan((fast ?? 0) / 50);
    expect(slow ?? 0, `seed ${seed}`).toBeGreaterThan(0);
  }
});

test('equal endpoints share evenly', () => {
  const served = simulate(1, 5).map((one) => one.served);
  expect(Math.max(...served) - Math.min(...served)).toBeLessThan(1000);
});

test('an endpoint that never answered gets one request and no second until it does', () => {
  const clock = new ManualClock();
  const known = { key: 'known', weight: 1, active: 50, available: true, latency: new PeakLatency(clock) };
  const fresh = { key: 'fresh', weight: 1, active: 0, available: true, latency: new PeakLatency(clock) };
  known.latency.observe(1000);
  const picker = createPicker('PeakEWMA', [known, fresh], new Random(1));
  expect(picker.pick(null)).toBe(fresh);
  fresh.active = 1;
  expect(picker.pick(null)).toBe(known);
});
