/**
 * Attempts in a made-up world: the real attempt loop with its hedges, budget, ejection and adaptive limit, over streams that
 * answer, hang, refuse or die by a seeded plan, on a clock that is moved by hand. One seed, one world.
 */
import { directCluster } from '../../../proxy/config/direct-cluster.ts';
import { Fields, RequestHead, ResponseHead } from '../../../proxy/http/message.ts';
import type { UpstreamStream } from '../../../proxy/http/stream.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { Forward } from '../../../proxy/session/forward.ts';
import type { AttemptRules, ForwardHost } from '../../../proxy/session/forward-host.ts';
import { Room } from '../../../proxy/session/room.ts';
import { Story } from '../../../proxy/session/story.ts';
import { Metrics } from '../../../proxy/telemetry/metrics.ts';
import { UNKNOWN_PARTY } from '../../../proxy/telemetry/record.ts';
import { Cluster } from '../../../proxy/upstream/cluster.ts';
import type { Endpoint } from '../../../proxy/upstream/endpoint.ts';
import type { StreamWaiter, Waiting } from '../../../proxy/upstream/pool.ts';
import { RetryPolicy } from '../../../proxy/upstream/retry-policy.ts';
import type { AdaptiveConcurrencySpec, EndpointSpec, HedgeSpec } from '../../../proxy/upstream/spec.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { FAILURES } from '../../../shared/errors.ts';
import { Random } from '../../../shared/random.ts';

const REQUESTS = 60;
/** Longer than any attempt and pause takes. */
const CALM_MS = 30_000;
const OUTLETS = { spans() {}, notice() {} };
/** Nothing of it is looked at here; one for all worlds, since its counters take long to make. */
const STORY = new Story(new ManualClock(), new Metrics(), UNKNOWN_PARTY, OUTLETS);

type Behaviour = 'answers' | 'slow' | 'errs' | 'hangs' | 'refuses' | 'dies';
const BEHAVIOURS: readonly Behaviour[] = ['answers', 'answers', 'answers', 'slow', 'errs', 'hangs', 'refuses', 'dies'];

/** One attempt's stream, which reports to its waiter until it has ended or was cancelled. */
class SimStream implements UpstreamStream, Waiting {
  readonly principal = '';
  readonly fresh = true;
  readonly toWeft = true;
  readonly endpoint: Endpoint;
  open = true;
  sent = false;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
  }

  sendHead(): void {
    this.sent = true;
  }
  sendBytes(): void {}
  sendEnd(): void {}
  pause(): void {}
  resume(): void {}
  cancel(): void {
    this.open = false;
  }
  discard(): void {
    this.open = false;
  }
}

/** One request, and what its caller was told. */
class Caller implements ForwardHost {
  readonly streams: SimStream[] = [];
  readonly safe: boolean;
  heads = 0;
  ends = 0;
  private readonly world: AttemptWorld;

  constructor(world: AttemptWorld, safe: boolean) {
    this.world = world;
    this.safe = safe;
  }

  get over(): boolean {
    return this.ends > 0;
  }

  attemptLines(): string {
    return '';
  }
  onAttemptEnd(): void {}
  onInterim(): void {}
  onHead(): void {
    this.heads++;
    const open = this.streams.filter((stream) => stream.open).length;
    if (open !== 1) this.world.problem(`${open} attempts are open once one is answered`);
  }
  onBytes(): void {}
  onEnd(): void {
    this.end();
  }
  onFailed(): void {
    this.end();
  }
  onCongested(): void {}
  onWritable(): void {}

  end(): void {
    this.ends++;
    if (this.ends > 1 || this.heads > 1) this.world.problem('a caller was answered twice');
    if (this.streams.some((stream) => stream.open)) this.world.problem('an attempt outlives its request');
  }
}

class AttemptWorld {
  readonly problems: string[] = [];
  private readonly clock = new ManualClock();
  private readonly random: Random;
  private readonly io: IoThread;
  private readonly room: Room;
  private readonly cluster: Cluster;
  private readonly rules: AttemptRules;
  private readonly behaviours = new Map<string, Behaviour>();
  private readonly callers: Caller[] = [];
  /** Whose attempts a waiter makes, and who has just begun. */
  private readonly waiters = new Map<StreamWaiter, Caller>();
  private current: Caller | null = null;
  private admitted = 0;
  private streams = 0;

  constructor(seed: number) {
    this.random = new Random(seed, 1);
    const { random, clock } = this;
    this.io = new IoThread(clock, random);
    const endpoints = Array.from({ length: 1 + random.below(4) }, (_, i): EndpointSpec => {
      return { address: `10.0.0.${i + 1}`, port: 80, ready: true, weight: 1, zone: '', meshTls: false };
    });
    const spec = directCluster('sim', endpoints[0] as EndpointSpec);
    const adaptiveConcurrency: AdaptiveConcurrencySpec | null =
      random.below(2) === 0 ? { minLimit: 2, maxLimit: 30, tolerancePercent: 25, probeIntervalMs: 2_000 } : null;
    const circuitBreaker = { ...spec.circuitBreaker, adaptiveConcurrency };
    const events = { onBreaker() {}, onEjection() {} };
    const share = { thread: 0, threads: 1 };
    this.cluster = new Cluster(this.io, { ...spec, endpoints, circuitBreaker }, share, events);
    Object.assign(this.cluster.pool, { lease: (to: Endpoint, waiter: StreamWaiter) => this.lease(to, waiter) });
    this.room = new Room(this.io, 'outbound', STORY, { destination: () => FAILURES.noRoute });
    this.rules = this.chooseRules();
    for (const key of this.cluster.endpoints.keys()) this.behaviours.set(key, this.anyBehaviour());
  }

  run(): string[] {
    for (let i = 0; i < REQUESTS; i++) {
      this.clock.advance(1 + this.random.below(40));
      if (this.random.below(10) === 0) this.turnOne();
      this.request();
      this.check();
    }
    this.clock.advance(CALM_MS);
    this.checkEnd();
    this.cluster.retire();
    return this.problems;
  }

  problem(text: string): void {
    this.problems.push(`at ${this.clock.now()} ms: ${text}`);
  }

  private chooseRules(): AttemptRules {
    const { random } = this;
    const hedge: HedgeSpec | null =
      random.below(4) === 0 ? null : { delayMs: random.below(2) === 0 ? 0 : 5 + random.below(60), grpc: false };
    const retryPolicy = new RetryPolicy({
      triggers: ['connect-failure', 'refused-stream', 'reset', 'retriable-status-codes'],
      statuses: random.below(2) === 0 ? [503] : [],
      idempotencyKey: false,
      backOffMs: 25,
      maxBackOffMs: 250,
      hedge,
    });
    return { attemptTimeoutMs: 100 + random.below(300), retries: random.below(3), retryPolicy };
  }

  private anyBehaviour(): Behaviour {
    return BEHAVIOURS[this.random.below(BEHAVIOURS.length)] as Behaviour;
  }

  private turnOne(): void {
    const keys = [...this.behaviours.keys()];
    this.behaviours.set(keys[this.random.below(keys.length)] as string, this.anyBehaviour());
  }

  private request(): void {
    const safe = this.random.below(4) > 0;
    const caller = new Caller(this, safe);
    const method = safe ? 'GET' : 'POST';
    const head = new RequestHead(method, 'http', 'sim', '/', new Fields(), 0, 11, false, false, false, null);
    const forward = new Forward(this.room, caller, this.cluster, head, this.rules);
    this.current = caller;
    this.callers.push(caller);
    if (forward.start() !== null) {
      this.callers.pop();
      return;
    }
    this.admitted++;
    if (this.random.below(10) > 0) return;
    this.clock.after(this.random.below(100), () => {
      if (caller.over) return;
      forward.cancel(FAILURES.clientGone);
      caller.end();
    });
  }

  private lease(endpoint: Endpoint, waiter: StreamWaiter): Waiting {
    const caller = this.callerOf(waiter);
    const stream = new SimStream(endpoint);
    this.judgeAttempt(caller, stream);
    caller.streams.push(stream);
    this.streams++;
    const behaviour = this.behaviours.get(endpoint.key) ?? 'answers';
    this.clock.after(this.random.below(3), () => {
      if (!stream.open) return;
      if (behaviour === 'refuses') {
        stream.open = false;
        waiter.onNoStream(FAILURES.connectRefused, '', true);
      } else {
        waiter.onStream(stream);
        this.play(stream, waiter, behaviour);
      }
    });
    return stream;
  }

  private play(stream: SimStream, waiter: StreamWaiter, behaviour: Behaviour): void {
    if (behaviour === 'hangs') return;
    const ms = behaviour === 'slow' ? 40 + this.random.below(200) : 1 + this.random.below(20);
    this.clock.after(ms, () => {
      if (!stream.open) return;
      if (behaviour === 'dies') {
        stream.open = false;
        waiter.onFailure(FAILURES.upstreamReset, '');
        return;
      }
      waiter.onHead(new ResponseHead(behaviour === 'errs' ? 503 : 200, '', new Fields(), 0, -1, 11, false, -1, null));
      if (!stream.open) return;
      stream.open = false;
      waiter.onEnd(null);
    });
  }

  /** Who is asking: the request whose attempts are being made. */
  private callerOf(waiter: StreamWaiter): Caller {
    const known = this.waiters.get(waiter) ?? this.waiters.get(Reflect.get(waiter, 'forward') as StreamWaiter);
    const caller = known ?? this.current;
    if (caller === null) throw new Error('nobody asked');
    this.waiters.set(waiter, caller);
    return caller;
  }

  private judgeAttempt(caller: Caller, next: SimStream): void {
    const open = caller.streams.filter((stream) => stream.open);
    if (caller.over) this.problem('an attempt was made for a request that is over');
    if (open.length > 1) this.problem('three attempts at a time');
    if (open.some(({ endpoint }) => endpoint === next.endpoint)) this.problem('two at a time at one endpoint');
    const met = caller.streams.map(({ endpoint }) => endpoint);
    const untried = [...this.cluster.endpoints.values()].some((other) => !met.includes(other));
    if (untried && met.includes(next.endpoint)) this.problem('one endpoint was tried again before another');
    if (!caller.safe && caller.streams.some(({ sent }) => sent)) this.problem('a POST was sent twice');
  }

  private check(): void {
    const allowed = this.admitted * 1.2 + 10 * (this.clock.now() / 1_000 + 1);
    if (this.streams > allowed) this.problem(`${this.streams} attempts of ${this.admitted} requests`);
    const { concurrency } = this.cluster;
    if (concurrency === null) return;
    if (concurrency.limit < 2 || concurrency.limit > 30) this.problem(`the limit is ${concurrency.limit}`);
    if (concurrency.active > 30) this.problem(`${concurrency.active} requests under way`);
  }

  private checkEnd(): void {
    const { cluster, room } = this;
    if (this.callers.some(({ over }) => !over)) this.problem('a caller still waits');
    const left = [cluster.requests.active, cluster.retries.active, cluster.concurrency?.active ?? 0];
    for (const { active } of cluster.endpoints.values()) left.push(active);
    if (left.some((count) => count !== 0)) this.problem(`leases are out: ${left.join(' ')}`);
    if (room.replayMemory.used !== 0) this.problem(`${room.replayMemory.used} bytes are kept for replays`);
  }
}

/** What went wrong with the attempts in the world of this seed; empty for nothing. */
export function simulateAttempts(seed: number): string[] {
  return new AttemptWorld(seed).run();
}
