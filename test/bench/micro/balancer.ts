/** What a successful request pays for its endpoint, budget and breaker: `node test/bench/micro/balancer.ts`. */
import { AdaptiveConcurrency } from '../../../proxy/upstream/adaptive-concurrency.ts';
import { createPicker, PICKER_KINDS, type Pickable } from '../../../proxy/upstream/balancer.ts';
import { Breaker } from '../../../proxy/upstream/breaker.ts';
import { LiveP95 } from '../../../proxy/upstream/latency-histogram.ts';
import { Slots } from '../../../proxy/upstream/limits.ts';
import { RetryBudget } from '../../../proxy/upstream/retry-budget.ts';
import { systemClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { compare, type Variant } from './timing.ts';

class BenchEndpoint implements Pickable {
  readonly key: string;
  readonly weight: number;
  active: number;
  readonly available = true;

  constructor(key: string, weight: number, active: number) {
    this.key = key;
    this.weight = weight;
    this.active = active;
  }
}

function endpointsOf(count: number, weighted: boolean): BenchEndpoint[] {
  return Array.from(
    { length: count },
    (_, i) => new BenchEndpoint(`10.0.0.${i}:80`, weighted ? 1 + (i % 5) : 1, i % 3),
  );
}

function picks(type: string, count: number, weighted: boolean): Variant {
  const picker = createPicker(type, endpointsOf(count, weighted), new Random(1));
  return {
    name: `${count} endpoints`,
    run: (calls) => {
      for (let i = 0; i < calls; i++) picker.pick(null, Math.imul(i, 0x9e37_79b1) >>> 0);
    },
  };
}

/** What issue 7 allows, in nanoseconds, and by how much a pick may cost more at 1, 100 or 1000 endpoints than at 10. */
const MOST_NS = { success: 1_000, refusal: 10_000 };
const MOST_RATIO = 1.1;
const ROUNDS = 3;

const verdicts: string[] = [];
function judge(what: string, value: number, most: number, unit: string): void {
  verdicts.push(`${value <= most ? 'ok    ' : 'BEYOND'} ${what}: ${value.toFixed(2)}${unit}, at most ${most}${unit}`);
}

/** Of any variant to the first, each at its best. What is beyond the bound is measured again: a hiccup seldom comes twice. */
function largestRatio(title: string, variants: readonly Variant[]): number {
  const best = variants.map(() => Number.POSITIVE_INFINITY);
  let ratio = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS && ratio > MOST_RATIO; round++) {
    for (const [i, ns] of compare(title, variants).entries()) best[i] = Math.min(best[i] as number, ns);
    const [first = 0, ...others] = best;
    ratio = Math.max(...others) / first;
  }
  return ratio;
}

for (const { type } of PICKER_KINDS) {
  for (const weighted of [false, true]) {
    const title = `${type}, ${weighted ? 'weights 1 to 5' : 'equal weights'}`;
    const variants = [10, 1, 100, 1000].map((count) => picks(type, count, weighted));
    judge(`${title}: 1, 100 and 1000 endpoints to 10`, largestRatio(title, variants), MOST_RATIO, ' ×');
  }
}

const SETTINGS = { errorRatePercent: 50, errorWindowMs: 10_000, errorMinimumRequests: 10, openMs: 60_000 };
const slots = new Slots(1024);
const budget = new RetryBudget(systemClock, { percent: 20, minPerSecond: 10 });
const leastRequest = createPicker('LeastRequest', endpointsOf(10, false), new Random(1));
const admitting = new Breaker('bench', SETTINGS, () => {});
const ejected = new Breaker('bench', SETTINGS, () => {});
for (let i = 0; i < 20; i++) ejected.admit()?.fail();
const adaptive = new AdaptiveConcurrency(systemClock, {
  minLimit: 3,
  maxLimit: 1000,
  tolerancePercent: 25,
  probeIntervalMs: 30_000,
});
const p95 = new LiveP95(systemClock);

const [success = 0, , , refusal = 0] = compare('the rest of a request', [
  {
    name: 'slot, budget, LeastRequest, breaker',
    run: (calls) => {
      for (let i = 0; i < calls; i++) {
        slots.tryAcquire();
        const lease = admitting.admit();
        budget.onRequest();
        leastRequest.pick(null);
        lease?.succeed();
        slots.release();
      }
    },
  },
  {
    name: 'of that: slot, budget, LeastRequest',
    run: (calls) => {
      for (let i = 0; i < calls; i++) {
        slots.tryAcquire();
        budget.onRequest();
        leastRequest.pick(null);
        slots.release();
      }
    },
  },
  {
    name: 'adaptive concurrency',
    run: (calls) => {
      for (let i = 0; i < calls; i++) {
        adaptive.tryAcquire();
        const now = systemClock.now();
        adaptive.observe(now - 1, now);
        adaptive.release();
      }
    },
  },
  {
    name: 'refusal by an ejected breaker',
    run: (calls) => {
      for (let i = 0; i < calls; i++) ejected.admit();
    },
  },
  {
    name: 'retry refused by an empty budget',
    run: (calls) => {
      for (let i = 0; i < calls; i++) budget.tryRetry();
    },
  },
  {
    name: 'live p95, noted and asked for',
    run: (calls) => {
      for (let i = 0; i < calls; i++) {
        p95.observe(1 + (i & 63));
        void p95.ms;
      }
    },
  },
]);
judge(
  'a successful request pays for slot, budget, LeastRequest and breaker',
  success / 1_000,
  MOST_NS.success / 1_000,
  ' µs',
);
judge('a refusal by an open breaker', refusal / 1_000, MOST_NS.refusal / 1_000, ' µs');
admitting.close();
ejected.close();
process.stdout.write(`\n${verdicts.join('\n')}\n`);
