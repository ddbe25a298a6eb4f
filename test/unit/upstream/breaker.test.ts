import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  Breaker,
  type BreakerChange,
  type BreakerLease,
  type BreakerSettings,
} from '../../../proxy/upstream/breaker.ts';
import { Random } from '../../../shared/random.ts';
import { BreakerRules } from '../../support/breaker-rules.ts';

const SETTINGS: BreakerSettings = {
  errorRatePercent: 50,
  errorWindowMs: 10_000,
  errorMinimumRequests: 10,
  openMs: 5000,
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

class Watched {
  readonly changes: BreakerChange[] = [];
  readonly breaker: Breaker;

  constructor(settings: Partial<BreakerSettings> = {}) {
    this.breaker = new Breaker('shop/catalog:80', { ...SETTINGS, ...settings }, (change) => this.changes.push(change));
  }

  admit(): BreakerLease {
    const lease = this.breaker.admit();
    if (lease === null) throw new Error('the breaker refused');
    return lease;
  }

  /** So many requests, one after the other. */
  async serve(successes: number, failures: number): Promise<void> {
    for (let i = 0; i < successes; i++) this.admit().succeed();
    for (let i = 0; i < failures && this.breaker.state === 'admitting'; i++) {
      this.admit().fail();
      await settle();
    }
    await settle();
  }

  async eject(): Promise<void> {
    await this.serve(5, 5);
    expect(this.breaker.state).toBe('ejected');
  }
}

/** Lets the outcomes that were given reach opossum. */
async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

describe('a breaker that admits', () => {
  test('ejects when the error rate reaches the threshold and tells the numbers', async () => {
    const { breaker, changes, serve } = bound();
    await serve(5, 5);
    expect(breaker.state).toBe('ejected');
    expect(changes).toEqual([
      { key: 'shop/catalog:80', from: 'admitting', to: 'ejected', failures: 5, total: 10, settings: SETTINGS },
    ]);
    expect(breaker.admit()).toBeNull();
    expect(breaker.refused).toBe(1);
  });

  test('stays below the threshold', async () => {
    const { breaker, serve } = bound();
    await serve(11, 9);
    expect(breaker.state).toBe('admitting');
    expect(breaker.numbers).toEqual({ failures: 9, total: 20 });
  });

  test('stays below the minimum of requests', async () => {
    const { breaker, serve } = bound();
    await serve(0, 9);
    expect(breaker.state).toBe('admitting');
    await serve(0, 1);
    expect(breaker.state).toBe('ejected');
  });

  test('can be set to eject only when everything fails', async () => {
    const { breaker, serve } = bound({ errorRatePercent: 100 });
    await serve(0, 10);
    expect(breaker.state).toBe('ejected');
  });

  test('forgets what left the window', async () => {
    const { breaker, serve } = bound();
    await serve(0, 9);
    await pass(10_001);
    await serve(1, 5);
    expect(breaker.state).toBe('admitting');
    expect(breaker.numbers).toEqual({ failures: 5, total: 6 });
  });

  test('counts each lease once, whatever is said about it later', async () => {
    const watched = new Watched();
    const lease = watched.admit();
    lease.fail();
    lease.fail();
    lease.succeed();
    lease.cancel();
    await settle();
    expect(watched.breaker.numbers).toEqual({ failures: 1, total: 1 });
  });

  test('counts nothing for a cancelled lease', async () => {
    const watched = new Watched();
    watched.admit().cancel();
    await settle();
    expect(watched.breaker.numbers).toEqual({ failures: 0, total: 0 });
  });

  test('keeps no latency per request beyond a slice of the window', async () => {
    const { breaker, serve } = bound();
    for (let slice = 0; slice < 12; slice++) {
      await serve(100, 0);
      await pass(1000);
    }
    await serve(1, 0);
    expect(breaker.numbers.total).toBeGreaterThan(800);
    expect(latenciesKept(breaker)).toBeLessThanOrEqual(101);
  });
});

describe('a breaker that ejected', () => {
  test('lets one request probe after its open time, and admits all when that succeeds', async () => {
    const watched = new Watched();
    await watched.eject();
    await pass(4999);
    expect(watched.breaker.admit()).toBeNull();
    await pass(1);
    expect(watched.breaker.state).toBe('probing');
    const probe = watched.admit();
    expect(watched.breaker.admit()).toBeNull();
    probe.succeed();
    await settle();
    expect(watched.breaker.state).toBe('admitting');
    expect(watched.changes.map((change) => change.to)).toEqual(['ejected', 'probing', 'admitting']);
  });

  test('ejects again when the probe fails', async () => {
    const watched = new Watched();
    await watched.eject();
    await pass(5000);
    watched.admit().fail();
    await settle();
    expect(watched.breaker.state).toBe('ejected');
    await pass(5000);
    expect(watched.breaker.state).toBe('probing');
  });

  test('lets another request probe when the first came to nothing', async () => {
    const watched = new Watched();
    await watched.eject();
    await pass(5000);
    watched.admit().cancel();
    watched.admit().succeed();
    await settle();
    expect(watched.breaker.state).toBe('admitting');
  });

  test('gives no second leave in the turn in which the probe ended', async () => {
    const watched = new Watched();
    await watched.eject();
    await pass(5000);
    watched.admit().fail();
    expect(watched.breaker.admit()).toBeNull();
    await settle();
    expect(watched.breaker.state).toBe('ejected');
  });

  test('does not hear of requests that were admitted before', async () => {
    const watched = new Watched();
    const early = [watched.admit(), watched.admit(), watched.admit()] as const;
    await watched.eject();
    early[0].succeed();
    await pass(5000);
    early[1].succeed();
    await settle();
    expect(watched.breaker.state).toBe('probing');
    const probe = watched.admit();
    early[2].fail();
    await settle();
    expect(watched.breaker.state).toBe('probing');
    probe.succeed();
    await settle();
    expect(watched.breaker.state).toBe('admitting');
  });

  test('starts afresh after a recovery: old failures do not eject again', async () => {
    const watched = new Watched({ openMs: 100 });
    await watched.eject();
    await pass(100);
    watched.admit().succeed();
    await settle();
    expect(watched.breaker.numbers).toEqual({ failures: 0, total: 0 });
    await watched.serve(0, 9);
    expect(watched.breaker.state).toBe('admitting');
  });

  test('leaves no timer behind when closed, and leases that are still out do no harm', async () => {
    const watched = new Watched();
    const lease = watched.admit();
    await watched.eject();
    watched.breaker.close();
    lease.fail();
    await settle();
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('a breaker fits exactly its own settings', () => {
  const { breaker } = new Watched();
  expect(breaker.fits({ ...SETTINGS })).toBe(true);
  expect(breaker.fits({ ...SETTINGS, openMs: 1 })).toBe(false);
  expect(breaker.fits({ ...SETTINGS, errorRatePercent: 1 })).toBe(false);
});

test('an idle breaker holds no timer', () => {
  expect(new Watched().breaker.state).toBe('admitting');
  expect(vi.getTimerCount()).toBe(0);
});

test('opossum follows the rules of a breaker written down plainly, over 200 seeded histories', async () => {
  let ejections = 0;
  for (let seed = 0; seed < 200; seed++) ejections += await compareWithModel(seed);
  expect(ejections).toBeGreaterThan(200);
}, 60_000);

/** Random outcomes, late ones too, and pauses; after each step the breaker's state equals the model's. */
async function compareWithModel(seed: number): Promise<number> {
  const random = new Random(seed);
  const settings: BreakerSettings = {
    errorRatePercent: 10 + random.below(91),
    errorWindowMs: 1000 * (1 + random.below(10)),
    errorMinimumRequests: 1 + random.below(10),
    openMs: 100 + random.below(5000),
  };
  const watched = new Watched(settings);
  const model = new BreakerRules(settings);
  const out: { lease: BreakerLease; epoch: number }[] = [];
  const failing = random.float();
  for (let step = 0; step < 120; step++) {
    const ms = random.below(400);
    await pass(ms);
    model.pass(performance.now());
    const lease = watched.breaker.admit();
    expect(lease !== null, `seed ${seed}, step ${step}`).toBe(model.admit());
    if (lease !== null) out.push({ lease, epoch: model.epoch });
    if (random.float() < 0.8 && out.length > 0) {
      const [ended] = out.splice(random.below(out.length), 1) as [(typeof out)[number]];
      const verdict = random.float() < 0.1 ? 'cancel' : random.float() < failing ? 'fail' : 'succeed';
      ended.lease[verdict]();
      model.end(performance.now(), ended.epoch, verdict);
    }
    await settle();
    expect(watched.breaker.state, `seed ${seed}, step ${step}`).toBe(model.state);
  }
  watched.breaker.close();
  return watched.changes.filter((change) => change.to === 'ejected').length;
}

function bound(settings: Partial<BreakerSettings> = {}): {
  breaker: Breaker;
  changes: BreakerChange[];
  serve: (successes: number, failures: number) => Promise<void>;
} {
  const watched = new Watched(settings);
  return {
    breaker: watched.breaker,
    changes: watched.changes,
    serve: (successes, failures) => watched.serve(successes, failures),
  };
}

function latenciesKept(breaker: Breaker): number {
  const circuit: unknown = Reflect.get(breaker, 'circuit');
  const { window } = (circuit as { status: { window: { latencyTimes: number[] }[] } }).status;
  return window.reduce((sum, slice) => sum + slice.latencyTimes.length, 0);
}
