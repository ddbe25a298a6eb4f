/** What a successful request pays for its endpoint, budget and breaker: `node test/bench/micro/balancer.ts`. */
import { createPicker, PICKER_KINDS, type Pickable } from '../../../proxy/upstream/balancer.ts';
import { Breaker } from '../../../proxy/upstream/breaker.ts';
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

for (const { type } of PICKER_KINDS) {
  for (const weighted of [false, true]) {
    compare(
      `${type}, ${weighted ? 'weights 1 to 5' : 'equal weights'}`,
      [10, 1, 100, 1000].map((count) => picks(type, count, weighted)),
    );
  }
}

const SETTINGS = { errorRatePercent: 50, errorWindowMs: 10_000, errorMinimumRequests: 10, openMs: 60_000 };
const slots = new Slots(1024);
const budget = new RetryBudget(systemClock, { percent: 20, minPerSecond: 10 });
const leastRequest = createPicker('LeastRequest', endpointsOf(10, false), new Random(1));
const admitting = new Breaker('bench', SETTINGS, () => {});
const ejected = new Breaker('bench', SETTINGS, () => {});
for (let i = 0; i < 20; i++) ejected.admit()?.fail();
await Promise.resolve();

/** Outcomes reach opossum in microtasks; waiting for them now and then is part of the cost. */
async function breakerCost(): Promise<number> {
  const rounds = 2000;
  const perRound = 64;
  let best = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 5; turn++) {
    const start = process.hrtime.bigint();
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < perRound; i++) admitting.admit()?.succeed();
      await new Promise(setImmediate);
    }
    best = Math.min(best, Number(process.hrtime.bigint() - start) / (rounds * perRound));
  }
  return best;
}

compare('the rest of a request', [
  {
    name: 'slot, budget and LeastRequest',
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
]);
process.stdout.write(`breaker, admitted and successful       ${(await breakerCost()).toFixed(1).padStart(8)} ns\n`);
admitting.close();
ejected.close();
