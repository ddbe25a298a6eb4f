import { describe, expect, test } from 'vitest';
import { AdaptiveConcurrency } from '../../../proxy/upstream/adaptive-concurrency.ts';
import type { AdaptiveConcurrencySpec } from '../../../proxy/upstream/spec.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { QueueingServer } from '../../support/queueing-server.ts';

const SETTINGS: AdaptiveConcurrencySpec = {
  minLimit: 3,
  maxLimit: 1_000,
  tolerancePercent: 25,
  probeIntervalMs: 30_000,
};

/** A server of ten workers and 10 ms (1000 requests a second) behind the limit, and callers that do not wait for each other. */
class Scene {
  readonly clock = new ManualClock();
  readonly server = new QueueingServer(this.clock, 10, 10);
  readonly limit: AdaptiveConcurrency;
  private readonly random = new Random(7);
  latencies: number[] = [];
  sent = 0;

  constructor(settings: Partial<AdaptiveConcurrencySpec> = {}) {
    this.limit = new AdaptiveConcurrency(this.clock, { ...SETTINGS, ...settings });
  }

  /** So many requests per second for so many seconds; says what share of the server's capacity was served, and the median. */
  run(rate: number, seconds: number): { goodput: number; median: number; refused: number } {
    const { clock, limit, server } = this;
    const [servedBefore, refusedBefore] = [server.served, limit.refused];
    this.latencies = [];
    for (let ms = 0; ms < seconds * 1_000; ms++) {
      clock.advance(1);
      for (let due = rate / 1_000; due > 0; due--) if (this.random.float() < due) this.request();
    }
    this.latencies.sort((a, b) => a - b);
    const capacity = (10 * 1_000 * seconds) / server.serviceMs;
    return {
      goodput: (server.served - servedBefore) / capacity,
      median: this.latencies[Math.floor(this.latencies.length / 2)] ?? 0,
      refused: limit.refused - refusedBefore,
    };
  }

  private request(): void {
    this.sent++;
    if (!this.limit.tryAcquire()) return;
    const startedAt = this.clock.now();
    this.server.request(() => {
      const now = this.clock.now();
      this.latencies.push(now - startedAt);
      this.limit.observe(startedAt, now);
      this.limit.release();
    });
  }
}

describe('the adaptive limit', () => {
  test('settles near what the upstream works on at a time, whatever is asked of it', () => {
    const scene = new Scene();
    // The first answers are slow already: from them alone it learns no better than three times ten.
    scene.run(3_000, 3);
    expect(scene.run(3_000, 10).median).toBeLessThan(32);
    scene.run(3_000, 20);
    const { goodput, median } = scene.run(3_000, 10);
    expect(scene.limit.limit).toBeGreaterThanOrEqual(10);
    expect(scene.limit.limit).toBeLessThanOrEqual(18);
    expect(goodput).toBeGreaterThan(0.95);
    expect(median).toBeLessThan(20);
  });

  test('refuses nobody below the capacity, and leaves room above what is asked', () => {
    const scene = new Scene();
    scene.run(600, 2);
    const { refused, median } = scene.run(600, 60);
    expect(refused).toBe(0);
    expect(median).toBeLessThanOrEqual(12);
  });

  test('grows when the upstream does', () => {
    const scene = new Scene();
    scene.run(3_000, 5);
    scene.server.serviceMs = 2;
    scene.run(3_000, 5);
    const { refused, goodput } = scene.run(3_000, 10);
    expect(refused / 30_000).toBeLessThan(0.01);
    expect(goodput).toBeGreaterThan(0.57);
  });

  test('finds an upstream that has become slower at its new capacity, and back', () => {
    const scene = new Scene();
    scene.run(3_000, 5);
    scene.server.serviceMs = 40;
    scene.run(3_000, 10);
    const slow = scene.run(3_000, 40);
    expect(slow.goodput).toBeGreaterThan(0.85);
    expect(slow.median).toBeLessThan(150);
    scene.server.serviceMs = 10;
    expect(scene.run(3_000, 30).goodput).toBeGreaterThan(0.9);
    const back = scene.run(3_000, 10);
    expect(back.goodput).toBeGreaterThan(0.9);
    expect(back.median).toBeLessThan(25);
  });

  test('overload from the first request on is found out by a probe', () => {
    const scene = new Scene({ probeIntervalMs: 5_000 });
    scene.run(6_000, 7);
    const { median, goodput } = scene.run(6_000, 4);
    expect(median).toBeLessThan(25);
    expect(goodput).toBeGreaterThan(0.85);
  });

  test('keeps to its bounds', () => {
    const low = new Scene({ minLimit: 5, maxLimit: 8 });
    low.run(3_000, 5);
    expect(low.limit.limit).toBe(8);
    const high = new Scene({ minLimit: 40, maxLimit: 60 });
    high.run(6_000, 5);
    expect(high.limit.limit).toBeGreaterThanOrEqual(40);
  });

  test('answers that never come bring it down, those that fail at once do not', () => {
    const { clock, limit } = new Scene();
    const turn = (end: () => void): void => {
      for (let i = 0; i < 20; i++) {
        limit.tryAcquire();
        clock.advance(10);
        end();
        limit.release();
      }
    };
    turn(() => limit.observe(clock.now() - 10, clock.now()));
    const before = limit.limit;
    turn(() => limit.unanswered(1));
    expect(limit.limit).toBe(before);
    turn(() => limit.unanswered(1_000));
    expect(limit.limit).toBeLessThan(before);
  });
});
