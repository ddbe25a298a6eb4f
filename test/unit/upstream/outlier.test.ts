import { describe, expect, test } from 'vitest';
import {
  type EndpointOutcome,
  type OutlierChange,
  OutlierDetector,
  type OutlierSettings,
} from '../../../proxy/upstream/outlier.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

const SETTINGS: OutlierSettings = {
  consecutiveErrors: 5,
  consecutiveGatewayErrors: 0,
  consecutiveLocalFailures: 3,
  intervalMs: 10_000,
  successRateMinimumHosts: 5,
  successRateRequestVolume: 50,
  successRateDeviations: 1.9,
  baseEjectionMs: 30_000,
  maxEjectionMs: 100_000,
  maxEjectionPercent: 50,
};

class Watched {
  readonly clock = new ManualClock();
  readonly changes: OutlierChange[] = [];
  readonly detector: OutlierDetector;

  constructor(count: number, settings: Partial<OutlierSettings> = {}) {
    this.detector = new OutlierDetector(this.clock, { ...SETTINGS, ...settings }, (change) =>
      this.changes.push(change),
    );
    for (let i = 0; i < count; i++) this.detector.add(`e${i}`);
  }

  record(key: string, outcome: EndpointOutcome, times: number): void {
    for (let i = 0; i < times; i++) this.detector.record(key, outcome);
  }
}

describe('failures in a row', () => {
  test('eject at the limit and tell what was counted', () => {
    const watched = new Watched(4);
    watched.record('e0', 'error', 4);
    expect(watched.detector.state('e0')).toBe('admitting');
    watched.record('e0', 'error', 1);
    expect(watched.changes).toEqual([
      {
        key: 'e0',
        from: 'admitting',
        to: 'ejected',
        reason: 'consecutiveErrors',
        observed: 5,
        limit: 5,
        ejectedForMs: 30_000,
      },
    ]);
  });

  test('are forgotten with a success', () => {
    const watched = new Watched(4);
    for (let i = 0; i < 10; i++) {
      watched.record('e0', 'error', 4);
      watched.record('e0', 'success', 1);
    }
    expect(watched.changes).toEqual([]);
  });

  test('of the local kind have a limit of their own', () => {
    const watched = new Watched(4);
    watched.record('e0', 'localFailure', 3);
    expect(watched.changes[0]?.reason).toBe('consecutiveLocalFailures');
  });

  test('count as gateway errors only if they are', () => {
    const watched = new Watched(4, { consecutiveGatewayErrors: 2 });
    watched.record('e0', 'gatewayError', 1);
    watched.record('e0', 'error', 1);
    watched.record('e0', 'gatewayError', 1);
    expect(watched.changes).toEqual([]);
    watched.record('e0', 'localFailure', 1);
    expect(watched.changes[0]?.reason).toBe('consecutiveGatewayErrors');
  });

  test('never eject the only endpoint', () => {
    const watched = new Watched(1);
    watched.record('e0', 'error', 50);
    expect(watched.detector.state('e0')).toBe('admitting');
  });

  test('eject no more than the share allowed, and one in any case', () => {
    const share = (count: number, maxEjectionPercent: number): number => {
      const watched = new Watched(count, { maxEjectionPercent });
      for (let i = 0; i < count; i++) watched.record(`e${i}`, 'error', 5);
      return watched.changes.length;
    };
    expect([share(10, 50), share(3, 10), share(2, 100), share(4, 100)]).toEqual([5, 1, 1, 3]);
  });
});

describe('an ejected endpoint', () => {
  test('probes after its time and is an equal again with the first success', () => {
    const watched = new Watched(4);
    watched.record('e0', 'error', 5);
    watched.clock.advance(29_999);
    expect(watched.detector.state('e0')).toBe('ejected');
    watched.clock.advance(1);
    expect(watched.detector.state('e0')).toBe('probing');
    watched.record('e0', 'success', 1);
    expect(watched.detector.state('e0')).toBe('admitting');
  });

  test('is ejected for longer each time its probe fails, up to the most', () => {
    const watched = new Watched(4);
    watched.record('e0', 'error', 5);
    for (let i = 0; i < 4; i++) {
      watched.clock.advance(100_000);
      watched.record('e0', 'error', 1);
    }
    const times = watched.changes.filter((change) => change.to === 'ejected').map((change) => change.ejectedForMs);
    expect(times).toEqual([30_000, 60_000, 90_000, 100_000, 100_000]);
    expect(watched.changes.at(-1)?.reason).toBe('probeFailed');
  });

  test('is forgiven by and by while it is good', () => {
    const watched = new Watched(4);
    watched.record('e0', 'error', 5);
    watched.clock.advance(30_000);
    watched.record('e0', 'success', 1);
    watched.clock.advance(10_000);
    watched.record('e0', 'success', 1);
    watched.record('e0', 'error', 5);
    expect(watched.changes.at(-1)?.ejectedForMs).toBe(30_000);
  });

  test('does not hear of requests from before', () => {
    const watched = new Watched(4);
    watched.record('e0', 'error', 5);
    watched.record('e0', 'success', 10);
    watched.record('e0', 'error', 10);
    expect(watched.changes).toHaveLength(1);
  });

  test('makes room for another when it is gone, and its timer does nothing', () => {
    const watched = new Watched(3, { maxEjectionPercent: 10 });
    watched.record('e0', 'error', 5);
    watched.record('e1', 'error', 5);
    expect(watched.detector.state('e1')).toBe('admitting');
    watched.detector.remove('e0');
    watched.record('e1', 'error', 1);
    expect(watched.detector.state('e1')).toBe('ejected');
    watched.clock.advance(30_000);
    expect(watched.changes.map((change) => `${change.key} ${change.to}`)).toEqual([
      'e0 ejected',
      'e1 ejected',
      'e1 probing',
    ]);
  });

  test('stays as it is when it is added again', () => {
    const watched = new Watched(3);
    watched.record('e0', 'error', 5);
    watched.detector.add('e0');
    expect(watched.detector.state('e0')).toBe('ejected');
  });
});

describe('success rates', () => {
  /** Ten seconds in which each endpoint fails its share of 100 requests, never five in a row. */
  function interval(watched: Watched, failuresOf: readonly number[]): void {
    for (let i = 0; i < 100; i++) {
      for (const [place, failures] of failuresOf.entries())
        watched.detector.record(`e${place}`, (i * failures) % 100 < failures ? 'error' : 'success');
    }
    watched.clock.advance(10_000);
    watched.record('e0', 'success', 1);
  }

  test('eject the one far below the others', () => {
    const watched = new Watched(6);
    interval(watched, [1, 1, 2, 1, 2, 40]);
    expect(watched.changes.map((change) => [change.key, change.reason])).toEqual([['e5', 'successRate']]);
  });

  test('eject nobody where all are equally bad', () => {
    const watched = new Watched(6);
    interval(watched, [40, 40, 40, 40, 40, 40]);
    expect(watched.changes).toEqual([]);
  });

  test('are not compared among too few', () => {
    const watched = new Watched(4);
    interval(watched, [1, 1, 1, 40]);
    expect(watched.changes).toEqual([]);
  });
});

test('closing leaves no timer to fire', () => {
  const watched = new Watched(4);
  watched.record('e0', 'error', 5);
  watched.detector.close();
  watched.clock.advance(1e6);
  expect(watched.changes).toHaveLength(1);
});

test('the share cap holds, and states follow their order, over 500 seeded histories', () => {
  let ejections = 0;
  for (let seed = 0; seed < 500; seed++) ejections += history(seed);
  expect(ejections).toBeGreaterThan(500);
}, 60_000);

/** Random outcomes of random endpoints that come and go. */
function history(seed: number): number {
  const random = new Random(seed);
  const count = 1 + random.below(8);
  const maxEjectionPercent = random.below(101);
  const watched = new Watched(count, { maxEjectionPercent, consecutiveErrors: 1 + random.below(4) });
  const bad = Array.from({ length: count }, () => random.float());
  for (let step = 0; step < 200; step++) {
    const place = random.below(count);
    watched.detector.record(`e${place}`, random.float() < (bad[place] ?? 0) ? 'error' : 'success');
    watched.clock.advance(random.below(2000));
    const ejected = bad.filter((_, i) => watched.detector.state(`e${i}`) === 'ejected').length;
    const most = Math.min(count - 1, Math.max(1, Math.floor((count * maxEjectionPercent) / 100)));
    expect(ejected, `seed ${seed}, step ${step}`).toBeLessThanOrEqual(most);
  }
  const allowed = ['admitting ejected', 'ejected probing', 'probing ejected', 'probing admitting'];
  for (const change of watched.changes) expect(allowed).toContain(`${change.from} ${change.to}`);
  return watched.changes.filter((change) => change.to === 'ejected').length;
}

describe('what cannot be talked to', () => {
  const unreachable = { consecutiveLocalFailures: 1, baseEjectionMs: 1_000, intervalMs: 0 };

  test('is left alone beyond the share that may be ejected, but for one', () => {
    const watched = new Watched(4, unreachable);
    for (const key of ['e0', 'e1', 'e2']) watched.record(key, 'localFailure', 1);
    expect(watched.changes.map(({ key, to }) => `${key} ${to}`)).toEqual(['e0 ejected', 'e1 ejected', 'e2 ejected']);
  });

  test('is asked again after the same time each time', () => {
    const watched = new Watched(3, unreachable);
    watched.record('e0', 'localFailure', 1);
    for (let i = 0; i < 3; i++) {
      watched.clock.advance(1_000);
      watched.record('e0', 'localFailure', 1);
    }
    const ejections = watched.changes.filter(({ to }) => to === 'ejected');
    expect(ejections.map(({ ejectedForMs }) => ejectedForMs)).toEqual([1_000, 1_000, 1_000, 1_000]);
  });

  test('gives its place, as the last one, to the one that was ejected first', () => {
    const watched = new Watched(3, unreachable);
    watched.record('e0', 'localFailure', 1);
    watched.clock.advance(300);
    watched.record('e1', 'localFailure', 1);
    watched.clock.advance(300);
    watched.record('e2', 'localFailure', 1);
    expect(watched.changes.slice(2).map(({ key, to }) => `${key} ${to}`)).toEqual(['e0 probing', 'e2 ejected']);
  });

  test('does not change places at every request when all are gone', () => {
    const watched = new Watched(3, unreachable);
    for (let i = 0; i < 100; i++) {
      for (const key of ['e0', 'e1', 'e2']) watched.record(key, 'localFailure', 1);
      watched.clock.advance(1);
    }
    expect(watched.changes.length).toBeLessThan(8);
  });
});
