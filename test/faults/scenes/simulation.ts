/**
 * A cluster in a made-up world: endpoints that refuse, fail and recover by a seeded plan, requests that are picked, judged and
 * retried by the real balancers, ejection, budget and breaker (opossum included), on a clock that is moved by hand. One seed,
 * one world: a failure replays from its number.
 */
import { mock } from 'node:test';
import { directCluster } from '../../../proxy/config/direct-cluster.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import type { BreakerLease } from '../../../proxy/upstream/breaker.ts';
import { Cluster } from '../../../proxy/upstream/cluster.ts';
import type { Endpoint } from '../../../proxy/upstream/endpoint.ts';
import type { EndpointOutcome } from '../../../proxy/upstream/outlier.ts';
import type { CircuitBreakerSpec, EndpointSpec, LoadBalancerType } from '../../../proxy/upstream/spec.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { BreakerRules } from '../../support/breaker-rules.ts';
import { simulateAttempts } from './attempts-simulation.ts';

const TYPES: readonly LoadBalancerType[] = ['RoundRobin', 'LeastRequest', 'Random', 'PeakEWMA'];
/** Their tables take longer to make than a world to run: one world in so many has one. */
const TABLES: readonly LoadBalancerType[] = ['RingHash', 'Maglev'];
const TABLE_WORLDS = 20;
const STEPS = 150;
const MAX_ATTEMPTS = 3;
/** Longer than any ejection lasts. */
const CALM_MS = 35_000;

/** What an endpoint does to the requests that reach it, until a time. */
interface Trouble {
  readonly from: number;
  readonly to: number;
  readonly outcome: EndpointOutcome;
}

/** A request that the breaker admitted and that has not told it yet how it went. */
interface Owed {
  readonly lease: BreakerLease;
  readonly epoch: number;
  readonly failed: boolean;
}

class World {
  requests = 0;
  retries = 0;
  readonly problems: string[] = [];
  private readonly clock = new ManualClock();
  private readonly random: Random;
  private readonly cluster: Cluster;
  private readonly plan = new Map<string, readonly Trouble[]>();
  private readonly reached = new Map<string, number>();
  /** null in a world without a breaker. */
  private readonly rules: BreakerRules | null;
  private readonly owed: Owed[] = [];

  constructor(seed: number) {
    this.random = new Random(seed);
    const { random } = this;
    const count = 1 + random.below(8);
    const endpoints = Array.from({ length: count }, (_, i): EndpointSpec => {
      const weight = 1 + random.below(3);
      return { address: `10.0.0.${i + 1}`, port: 80, ready: true, weight, zone: `z${i % 2}`, meshTls: false };
    });
    const spec = directCluster('sim', endpoints[0] as EndpointSpec);
    const types = seed % TABLE_WORLDS === 0 ? TABLES : TYPES;
    const type = types[random.below(types.length)] as LoadBalancerType;
    const force = random.below(2) === 0;
    const zones = random.below(3) === 0 ? { minEndpoints: 2, force, minEndpointsInZone: 1 } : null;
    const slowStartMs = types === TYPES && random.below(3) === 0 ? 2_000 : 0;
    const loadBalancer = { ...spec.loadBalancer, type, zones, slowStartMs };
    const circuitBreaker = { ...spec.circuitBreaker, ...this.breakerSettings() };
    this.rules = circuitBreaker.errorRatePercent === 0 ? null : new BreakerRules(circuitBreaker);
    const share = { thread: 0, threads: 1, zone: 'z0' };
    const events = { onBreaker() {}, onEjection() {} };
    this.cluster = new Cluster(
      new IoThread(this.clock, random),
      { ...spec, endpoints, loadBalancer, circuitBreaker },
      share,
      events,
    );
    for (const key of this.cluster.endpoints.keys()) this.plan.set(key, this.troubles());
  }

  run(): string[] {
    for (let step = 0; step < STEPS; step++) {
      this.pass(random1(this.random, 200));
      for (let n = this.random.below(6); n > 0; n--) this.request();
      this.check();
      this.settleSome();
    }
    this.recover();
    this.cluster.retire();
    return this.problems;
  }

  private troubles(): Trouble[] {
    const { random } = this;
    return Array.from({ length: random.below(3) }, () => {
      const from = random.below(STEPS * 100);
      const outcome = (['localFailure', 'gatewayError', 'error'] as const)[random.below(3)] as EndpointOutcome;
      return { from, to: from + random.below(8_000), outcome };
    });
  }

  private breakerSettings(): Partial<CircuitBreakerSpec> {
    const { random } = this;
    if (random.below(2) === 0) return {};
    return {
      errorRatePercent: 10 + random.below(91),
      errorWindowMs: 1_000 * (1 + random.below(10)),
      errorMinimumRequests: 1 + random.below(10),
      openMs: 100 + random.below(3_000),
    };
  }

  /** opossum waits by the timer of the runtime, everything else by the clock. */
  private pass(ms: number): void {
    this.clock.advance(ms);
    if (this.rules === null) return;
    mock.timers.tick(ms);
    this.rules.pass(this.clock.now());
  }

  private request(): void {
    const { breaker } = this.cluster;
    if (breaker === null) {
      this.attempts();
      return;
    }
    const lease = breaker.admit();
    if ((lease !== null) !== this.rules?.admit()) this.problems.push('the breaker breaks its rules');
    if (lease === null) return;
    const { epoch } = this.rules as BreakerRules;
    this.owed.push({ lease, epoch, failed: !this.attempts() });
  }

  /** Late ones too: requests do not end in the order in which they began. */
  private settleSome(): void {
    const { breaker } = this.cluster;
    if (breaker === null) return;
    while (this.owed.length > 0 && this.random.below(4) > 0) {
      const [{ lease, epoch, failed }] = this.owed.splice(this.random.below(this.owed.length), 1) as [Owed];
      const verdict = this.random.below(10) === 0 ? 'cancel' : failed ? 'fail' : 'succeed';
      lease[verdict]();
      this.rules?.end(this.clock.now(), epoch, verdict);
      if (breaker.state !== this.rules?.state) this.problems.push(`the breaker is ${breaker.state}`);
    }
  }

  /** True if one of them succeeded. */
  private attempts(): boolean {
    this.requests++;
    this.cluster.budget.onRequest();
    const tried: Endpoint[] = [];
    const hash = this.random.uint32();
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const endpoint = this.cluster.pick(tried.length === 0 ? null : tried, hash);
      if (endpoint === null) {
        this.problems.push('nobody was there to pick');
        return false;
      }
      this.judgePick(endpoint, tried);
      const outcome = this.outcomeAt(endpoint.key);
      this.reached.set(endpoint.key, (this.reached.get(endpoint.key) ?? 0) + 1);
      this.hold(endpoint);
      this.cluster.record(endpoint, outcome);
      if (outcome === 'success') return true;
      if (attempt === MAX_ATTEMPTS || !this.cluster.budget.tryRetry()) return false;
      this.retries++;
      tried.push(endpoint);
    }
    return false;
  }

  private judgePick(endpoint: Endpoint, tried: readonly Endpoint[]): void {
    const others = [...this.cluster.endpoints.values()].filter((other) => !tried.includes(other));
    if (tried.includes(endpoint) && others.length > 0) this.problems.push(`${endpoint.key} was picked twice`);
    if (endpoint.state === 'ejected' && others.some((other) => other.available))
      this.problems.push(`${endpoint.key} was picked while ejected`);
  }

  private outcomeAt(key: string): EndpointOutcome {
    const now = this.clock.now();
    return this.plan.get(key)?.find(({ from, to }) => now >= from && now < to)?.outcome ?? 'success';
  }

  /** For a while it counts as busy. */
  private hold(endpoint: Endpoint): void {
    endpoint.active++;
    endpoint.latency?.observe(1 + this.random.below(50));
    this.clock.after(1 + this.random.below(300), () => {
      endpoint.active--;
    });
  }

  private check(): void {
    const allowed = this.requests * 0.2 + 10 * (this.clock.now() / 1_000 + 1);
    if (this.retries > allowed) this.problems.push(`${this.retries} retries of ${this.requests} requests`);
    const endpoints = [...this.cluster.endpoints.values()];
    if (endpoints.every(({ state }) => state === 'ejected')) this.problems.push('all are ejected');
  }

  /** When all faults are over everybody is an equal again, and gets traffic. */
  private recover(): void {
    this.plan.clear();
    while (this.owed.length > 0) this.settleSome();
    this.pass(CALM_MS);
    this.reached.clear();
    for (let i = 0; i < this.cluster.endpoints.size * 40; i++) {
      this.pass(20);
      this.attempts();
    }
    this.pass(1_000);
    const { breaker } = this.cluster;
    breaker?.admit()?.succeed();
    if (breaker !== null && breaker.state !== 'admitting') this.problems.push(`the breaker is still ${breaker.state}`);
    const zoned = this.cluster.spec.loadBalancer.zones !== null;
    for (const { key, state, active, zone } of this.cluster.endpoints.values()) {
      if (active !== 0) this.problems.push(`${key} has ${active} requests left`);
      if (zoned && zone !== 'z0') continue;
      if (state !== 'admitting') this.problems.push(`${key} is still ${state}`);
      if (!this.reached.has(key)) this.problems.push(`${key} gets no traffic any more`);
    }
  }
}

/** What went wrong in the worlds of this seed; empty for nothing. */
export function simulate(seed: number): string[] {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    return [...new World(seed).run(), ...simulateAttempts(seed)];
  } finally {
    mock.timers.reset();
  }
}

function random1(random: Random, limit: number): number {
  return 1 + random.below(limit);
}
