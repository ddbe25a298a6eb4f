/**
 * The attempt loop: takes one request to a cluster, once or more often, until an answer starts or nothing is left to try.
 *
 * Another attempt is made only while no byte of an answer has been passed on, the request can be sent again from what is
 * kept of it, the error table allows it for what happened, and count, retry limit and budget have room. Leases (request
 * slot, breaker, retry slot, endpoint load) are given back in `settle`, whatever the end.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Fields, RequestHead, ResponseHead } from '../http/message.ts';
import type { UpstreamStream } from '../http/stream.ts';
import { Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import type { BreakerLease, BreakerOutcome } from '../upstream/breaker.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { Lane, StreamWaiter, Waiting } from '../upstream/pool.ts';
import type { RetryPolicy } from '../upstream/retry-policy.ts';
import type { AttemptRules, ForwardHost } from './forward-host.ts';
import { grpcStatus, isGrpc } from './grpc.ts';
import { REPLAY_BYTES, Replay, type ReplayMemory } from './replay.ts';
import { mayFollow, pauseAfter } from './retry-leave.ts';
import { isBeforeSending, outcomeOf, refusalOfPeer } from './retry-rules.ts';
import type { Room } from './room.ts';
import type { Story } from './story.ts';

/** An answer that is longer, or of unknown length, is not read to its end for the sake of its connection. */
const MAX_DISCARDED = 65_536;

export class Forward implements StreamWaiter {
  readonly cluster: Cluster;
  readonly lane: Lane;
  attempts = 0;
  endpoint: Endpoint | null = null;
  /** Verified SPIFFE ID of the endpoint of the last attempt. */
  principal = '';
  /** Monotonic time of the last attempt's start and of its answer's head. */
  attemptStartedAt = 0;
  headAt = -1;
  /** What keeps equal requests together, and the endpoint that this caller is to stay with. Set before `start`. */
  hash = 0;
  preferred: Endpoint | null = null;
  private readonly io: IoThread;
  private readonly host: ForwardHost;
  private readonly head: RequestHead;
  private readonly attemptTimeoutMs: number;
  private readonly maxRetries: number;
  private readonly policy: RetryPolicy;
  /** Answers are looked into for a gRPC status that may be retried. */
  private readonly readsGrpc: boolean;
  private readonly attemptDeadline: Deadline | null;
  private breakerLease: BreakerLease | null = null;
  private tried: Endpoint[] | null = null;
  private stream: UpstreamStream | null = null;
  private waiting: Waiting | null = null;
  private retrySlots = 0;
  private sent = false;
  /** The stream takes no more for now. */
  private congested = false;
  private attempted = true;
  private status = 0;
  private settled = false;
  private startedAt = 0;
  private grpcCode = -1;
  /** Waits for the first byte of its message, or for trailers that ask for another attempt. */
  private heldHead: ResponseHead | null = null;
  // The request as far as it has come
  private readonly memory: ReplayMemory;
  private readonly story: Story;
  private replay: Replay | null = null;
  private complete = false;
  private trailers: Fields | null = null;
  private replayable = true;

  constructor(room: Room, host: ForwardHost, cluster: Cluster, head: RequestHead, rules: AttemptRules) {
    const { attemptTimeoutMs, retryPolicy } = rules;
    const { io } = room;
    this.io = io;
    this.memory = room.replayMemory;
    this.story = room.story;
    this.host = host;
    this.cluster = cluster;
    this.head = head;
    this.lane = head.origin < 20 ? 'h1' : 'h2';
    this.attemptTimeoutMs = attemptTimeoutMs;
    // What is an attempt of another sidecar's already is not multiplied by ours.
    this.maxRetries = head.attempt > 1 ? 0 : rules.retries;
    this.policy = retryPolicy;
    this.readsGrpc = retryPolicy.readsGrpc && isGrpc(head);
    this.attemptDeadline =
      attemptTimeoutMs > 0
        ? new Deadline(() => this.giveUpAttempt(FAILURES.attemptTimeout, `no answer within ${attemptTimeoutMs} ms`))
        : null;
    this.complete = head.length === 0 && head.upgrade === null;
  }

  /** Asks for admission and makes the first attempt; a refusal comes back as the row, and nothing is held then. */
  start(): Failure | null {
    const { cluster } = this;
    if (!cluster.requests.tryAcquire()) return FAILURES.requestLimit;
    if (cluster.breaker !== null) {
      this.breakerLease = cluster.breaker.admit();
      if (this.breakerLease === null) {
        cluster.requests.release();
        return FAILURES.breakerOpen;
      }
    }
    cluster.budget.onRequest();
    this.startedAt = this.io.clock.now();
    this.attempt(0, false);
    return null;
  }

  /** Bytes of the request body. True if they could not be passed on yet: the caller holds back more. */
  sendBytes(bytes: Buffer, start: number, end: number): boolean {
    if (this.replayable && !this.settled) this.keep(bytes, start, end);
    if (this.stream !== null) this.stream.sendBytes(bytes, start, end);
    if (this.stream !== null || this.settled) return false;
    this.replay ??= new Replay(this.memory);
    if (!this.replayable) this.replay.add(bytes, start, end);
    return this.replay.bytes >= REPLAY_BYTES;
  }

  sendEnd(trailers: Fields | null): void {
    if (this.complete) return;
    this.complete = true;
    this.trailers = trailers;
    this.stream?.sendEnd(trailers);
  }

  /** The caller's side of a tunnel (after 101) is at its end. */
  sendTunnelEnd(): void {
    this.stream?.sendEnd(null);
  }

  pause(): void {
    this.stream?.pause();
  }

  resume(): void {
    this.stream?.resume();
  }

  /** The caller is gone or out of time: nothing more is reported. */
  cancel(failure: Failure): void {
    if (this.settled) return;
    this.letGo();
    this.attemptEnded(failure);
    this.settle(this.cluster.breakerErrors.outcomeOf(failure));
  }

  // What the pool says

  onStream(stream: UpstreamStream): void {
    this.waiting = null;
    this.stream = stream;
    this.principal = stream.principal;
    this.sent = true;
    this.congested = false;
    stream.sendHead(this.head, this.head.length, this.host.attemptLines(this.attempts, stream.toWeft));
    if (this.replay !== null) {
      this.replay.sendTo(stream);
      if (!this.replayable) this.dropKept();
    }
    if (this.complete) stream.sendEnd(this.trailers);
    else if (!this.congested) this.host.onWritable();
  }

  onNoStream(failure: Failure, detail: string, attempted: boolean): void {
    this.waiting = null;
    this.attempted = attempted;
    this.attemptFailed(failure, detail);
  }

  // What the stream says

  onInterim(head: ResponseHead): void {
    this.host.onInterim(head);
  }

  onHead(head: ResponseHead): void {
    this.status = head.status;
    if (this.refused(head) || this.retriesAnswer(head)) return;
    // A caller that has not finished may wait for the head before it says more.
    if (this.readsGrpc && this.complete && head.length !== 0) this.heldHead = head;
    else this.pass(head);
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    if (this.heldHead !== null) this.pass(this.heldHead);
    this.host.onBytes(bytes, start, end);
  }

  onEnd(trailers: Fields | null): void {
    this.stream = null;
    if (this.breakerLease !== null && trailers !== null) this.grpcCode = grpcStatus(trailers);
    if (this.heldHead !== null) {
      const head = this.heldHead;
      if (this.policy.wantsGrpc(grpcStatus(trailers)) && this.mayTryAgain()) {
        this.retry(null, 0);
        return;
      }
      this.pass(head);
    }
    this.attemptEnded(null);
    const ms = this.headAt - this.startedAt;
    const error = this.breakerLease !== null && this.cluster.breakerErrors.isError(this.status, this.grpcCode, ms);
    this.settle(error ? 'fail' : 'succeed');
    this.host.onEnd(trailers);
  }

  onFailure(failure: Failure, detail: string): void {
    this.stream = null;
    if (this.headAt >= 0) {
      this.attemptEnded(failure);
      this.settle(this.cluster.breakerErrors.outcomeOf(failure));
      this.host.onFailed(failure, detail);
      return;
    }
    this.attemptFailed(failure, detail);
  }

  onCongested(): void {
    this.congested = true;
    this.host.onCongested();
  }

  onWritable(): void {
    this.congested = false;
    this.host.onWritable();
  }

  /** The head goes to the caller: there is no way back from here. */
  private pass(head: ResponseHead): void {
    const { endpoint } = this;
    this.heldHead = null;
    this.headAt = this.io.clock.now();
    if (endpoint !== null && endpoint.latency !== null) endpoint.latency.observe(this.headAt - this.attemptStartedAt);
    if (this.breakerLease !== null) this.grpcCode = grpcStatus(head.fields);
    this.attemptDeadline?.clear();
    this.dropKept();
    this.replayable = false;
    this.host.onHead(head);
  }

  /** What a peer sidecar refuses in its own name is as if we had met it ourselves. */
  private refused(head: ResponseHead): boolean {
    const refusal = refusalOfPeer(head, this.principal);
    if (refusal === null || !this.mayRetry(refusal, !isBeforeSending(refusal))) return false;
    this.giveBack(head);
    this.retry(refusal, 0);
    return true;
  }

  /** An answer of the application that policy wants another one for. */
  private retriesAnswer(head: ResponseHead): boolean {
    const pauseMs = pauseAfter(head, this.head, this.policy, this.readsGrpc);
    if (pauseMs < 0 || !this.mayTryAgain()) return false;
    this.giveBack(head);
    this.retry(null, pauseMs);
    return true;
  }

  private giveBack(head: ResponseHead): void {
    const { stream } = this;
    this.stream = null;
    if (head.length >= 0 && head.length <= MAX_DISCARDED) stream?.discard();
    else stream?.cancel();
  }

  /** At least `pauseMs` from now; `answered`: the last attempt had an answer, if not a welcome one. */
  private attempt(pauseMs: number, answered: boolean): void {
    const { tried, policy } = this;
    const endpoint = this.choose();
    if (endpoint === null) {
      this.settle('ignore');
      this.host.onFailed(FAILURES.noReadyEndpoint, `${this.cluster.key} has no ready endpoint`);
      return;
    }
    // What could not answer is left for another endpoint at once; who said no, or is alone, gets time.
    const backsOff = answered || tried?.includes(endpoint) === true;
    const backOffMs = backsOff ? policy.pauseMs(this.attempts, this.io.random.float()) : 0;
    this.endpoint = endpoint;
    this.sent = false;
    this.attempted = true;
    this.status = 0;
    this.heldHead = null;
    this.attempts++;
    if (backsOff) this.waiting = this.io.clock.after(Math.max(pauseMs, backOffMs), () => this.lease(endpoint));
    else this.lease(endpoint);
  }

  private choose(): Endpoint | null {
    const { preferred, tried } = this;
    if (preferred?.available === true && tried === null) return preferred;
    return this.cluster.pick(tried, this.hash);
  }

  private lease(endpoint: Endpoint): void {
    this.waiting = null;
    endpoint.active++;
    endpoint.requests++;
    this.attemptStartedAt = this.io.clock.now();
    if (this.attemptDeadline !== null) this.io.deadlines.set(this.attemptDeadline, this.attemptTimeoutMs);
    const { attempts } = this;
    const waiting = this.cluster.pool.lease(endpoint, this);
    // An answer that came at once may have started the next attempt already.
    if (this.attempts === attempts && this.stream === null && !this.settled) this.waiting = waiting;
  }

  private giveUpAttempt(failure: Failure, detail: string): void {
    this.letGo();
    this.attemptFailed(failure, detail);
  }

  private letGo(): void {
    const { stream, waiting } = this;
    this.stream = null;
    this.waiting = null;
    stream?.cancel();
    waiting?.cancel();
  }

  private attemptFailed(failure: Failure, detail: string): void {
    if (this.settled) return;
    if (this.mayRetry(failure, this.sent)) {
      this.retry(failure, 0);
      return;
    }
    this.attemptEnded(failure);
    this.settle(this.cluster.breakerErrors.outcomeOf(failure));
    this.host.onFailed(failure, detail);
  }

  private mayRetry(failure: Failure, sent: boolean): boolean {
    return mayFollow(failure, sent, this.head, this.policy) && this.mayTryAgain();
  }

  /** Takes what another attempt needs: a body that is still whole, a slot, and a share of the budget. */
  private mayTryAgain(): boolean {
    const { cluster } = this;
    if (!this.replayable || this.attempts > this.maxRetries) return false;
    if (!cluster.retries.tryAcquire()) return false;
    // What only waited for another request's dial has put no load on anybody.
    if (this.attempted && !cluster.budget.tryRetry()) {
      cluster.retries.release();
      return false;
    }
    this.retrySlots++;
    return true;
  }

  /** `failure` null: the answer was whole, and one of those that policy retries. At least `pauseMs` are waited. */
  private retry(failure: Failure | null, pauseMs: number): void {
    const { endpoint } = this;
    this.attemptEnded(failure);
    this.cluster.retried++;
    this.story.retried(failure);
    if (endpoint !== null) {
      if (this.tried === null) this.tried = [endpoint];
      else if (!this.tried.includes(endpoint)) this.tried.push(endpoint);
    }
    this.attempt(pauseMs, failure === null);
  }

  private attemptEnded(failure: Failure | null): void {
    const { endpoint } = this;
    this.attemptDeadline?.clear();
    if (endpoint === null || this.attemptStartedAt === 0) return;
    endpoint.active--;
    const outcome = outcomeOf(failure, this.status);
    if (outcome !== null) this.cluster.record(endpoint, outcome);
    if (failure !== null && failure.fault === 'upstream') endpoint.failures++;
    this.host.onAttemptEnd(endpoint, this.attemptStartedAt, this.status, failure, this.principal);
    this.attemptStartedAt = 0;
  }

  private settle(outcome: BreakerOutcome): void {
    if (this.settled) return;
    this.settled = true;
    const { cluster, breakerLease } = this;
    this.dropKept();
    for (; this.retrySlots > 0; this.retrySlots--) cluster.retries.release();
    breakerLease?.settle(outcome);
    cluster.requests.release();
  }

  private keep(bytes: Buffer, start: number, end: number): void {
    this.replay ??= new Replay(this.memory);
    this.replayable = !this.replay.overflows(end - start);
    if (this.replayable) this.replay.add(bytes, start, end);
    // What is kept has been sent already, unless there is no stream yet.
    else if (this.stream !== null) this.dropKept();
  }

  private dropKept(): void {
    this.replay?.drop();
    this.replay = null;
  }
}
