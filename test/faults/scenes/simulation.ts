/**
 * A cluster in a made-up world: endpoints that refuse, fail and recover by a seeded plan, requests that are picked, judged and
 * retried by the real balancers, ejection and budget, on a clock that is moved by hand. One seed, one world: a failure
 * replays from its number.
 */
import { directCluster } from '../../../proxy/config/direct-cluster.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { Cluster } from '../../../proxy/upstream/cluster.ts';
import type { Endpoint } from '../../../proxy/upstream/endpoint.ts';
import type { EndpointOutcome } from '../../../proxy/upstream/outlier.ts';
import type { EndpointSpec, LoadBalancerType } from '../../../proxy/upstream/spec.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

const TYPES: readonly LoadBalancerType[] = ['RoundRobin', 'LeastRequest', 'Random', 'PeakEWMA', 'RingHash'];
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

class World {
  requests = 0;
  retries = 0;
  readonly problems: string[] = [];
  private readonly clock = new ManualClock();
  private readonly random: Random;
  private readonly cluster: Cluster;
  private readonly plan = new Map<string, readonly Trouble[]>();
  private readonly reached = new Map<string, number>();

  constructor(seed: number) {
    this.random = new Random(seed);
    const { random } = this;
    const count = 1 + random.below(8);
    const endpoints = Array.from({ length: count }, (_, i): EndpointSpec => {
      const weight = 1 + random.below(3);
      return { address: `10.0.0.${i + 1}`, port: 80, ready: true, weight, zone: `z${i % 2}`, meshTls: false };
    });
    const spec = directCluster('sim', endpoints[0] as EndpointSpec);
    const type = TYPES[random.below(TYPES.length)] as LoadBalancerType;
    const zones = random.below(3) === 0 ? { minEndpoints: 2, minEndpointsInZone: 1 } : null;
    const slowStartMs = random.below(3) === 0 ? 2_000 : 0;
    const loadBalancer = { ...spec.loadBalancer, type, zones, slowStartMs };
    const share = { thread: 0, threads: 1, zone: 'z0' };
    const events = { onBreaker() {}, onEjection() {} };
    this.cluster = new Cluster(new IoThread(this.clock, random), { ...spec, endpoints, loadBalancer }, share, events);
    for (const key of this.cluster.endpoints.keys()) this.plan.set(key, this.troubles());
  }

  run(): string[] {
    for (let step = 0; step < STEPS; step++) {
      this.clock.advance(random1(this.random, 200));
      for (let n = this.random.below(6); n > 0; n--) this.request();
      this.check();
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

  private request(): void {
    this.requests++;
    this.cluster.budget.onRequest();
    const tried: Endpoint[] = [];
    const hash = this.random.uint32();
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const endpoint = this.cluster.pick(tried.length === 0 ? null : tried, hash);
      if (endpoint === null) {
        this.problems.push('nobody was there to pick');
        return;
      }
      this.judgePick(endpoint, tried);
      const outcome = this.outcomeAt(endpoint.key);
      this.reached.set(endpoint.key, (this.reached.get(endpoint.key) ?? 0) + 1);
      this.hold(endpoint);
      this.cluster.record(endpoint, outcome);
      if (outcome === 'success' || attempt === MAX_ATTEMPTS || !this.cluster.budget.tryRetry()) return;
      this.retries++;
      tried.push(endpoint);
    }
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
    this.clock.advance(CALM_MS);
    this.reached.clear();
    for (let i = 0; i < this.cluster.endpoints.size * 40; i++) {
      this.clock.advance(20);
      this.request();
    }
    this.clock.advance(1_000);
    const zoned = this.cluster.spec.loadBalancer.zones !== null;
    for (const { key, state, active, zone } of this.cluster.endpoints.values()) {
      if (active !== 0) this.problems.push(`${key} has ${active} requests left`);
      if (zoned && zone !== 'z0') continue;
      if (state !== 'admitting') this.problems.push(`${key} is still ${state}`);
      if (!this.reached.has(key)) this.problems.push(`${key} gets no traffic any more`);
    }
  }
}

/** What went wrong in the world of this seed; empty for nothing. */
export function simulate(seed: number): string[] {
  return new World(seed).run();
}

function random1(random: Random, limit: number): number {
  return 1 + random.below(limit);
}
