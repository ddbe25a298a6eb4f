/**
 * The attempt loop: takes one request to a cluster, once or more often, until an answer starts or nothing is left to try.
 *
 * Another attempt is made only while no byte of an answer has been passed on, the request can be sent again from what is
 * kept of it, the error table allows it for what happened, and count, retry limit and budget have room. A stream that was
 * refused unread needs no leave of policy to be tried again. Where policy says so a second attempt runs beside a slow
 * first (session/hedge): what is answered first goes on here, the other is given up.
 * Leases (request slot, breaker, retry slot, endpoint load) are given back in `settle`, whatever the end.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { endsWithHead, type Fields, isGrpc, type RequestHead, type ResponseHead } from '../http/message.ts';
import type { UpstreamStream } from '../http/stream.ts';
import type { Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import { Admission } from '../upstream/admission.ts';
import type { BreakerOutcome } from '../upstream/breaker.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { Lane, StreamWaiter, Waiting } from '../upstream/pool.ts';
import { mayFollow, mayFollowCode } from '../upstream/retry-grounds.ts';
import type { RetryPolicy } from '../upstream/retry-policy.ts';
import { attemptDeadline, giveBackEndpoint, giveBackStream, observeAnswer } from './attempt-end.ts';
import type { AttemptRules, ForwardHost } from './forward-host.ts';
import { grpcStatus } from './grpc.ts';
import { Hedge, mayHedge } from './hedge.ts';
import { Replay } from './replay.ts';
import { leaveToFollow, mayResend } from './retry-leave.ts';
import type { Room } from './room.ts';
import type { Story } from './story.ts';

export class Forward implements StreamWaiter {
  readonly cluster: Cluster;
  readonly lane: Lane;
  /** Made so far; `attempt` is the number of the one that is under way here. */
  attempts = 0;
  attempt = 1;
  /** Of these, those that followed a refusal and were no retries. */
  private resends = 0;
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
  readonly attemptTimeoutMs: number;
  private readonly maxRetries: number;
  /** The own application: there is no other endpoint, and the callers' sidecars try again themselves. */
  private readonly alone: boolean;
  private readonly policy: RetryPolicy;
  /** Answers are looked into for a gRPC status that may be retried. */
  private readonly readsGrpc: boolean;
  private attemptDeadline: Deadline | null;
  private readonly admission: Admission;
  /** null for the many requests that nothing is sent beside. */
  private readonly hedge: Hedge | null;
  private tried: Endpoint[] | null = null;
  private stream: UpstreamStream | null = null;
  private waiting: Waiting | null = null;
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
  private readonly story: Story;
  private readonly body: Replay;

  constructor(room: Room, host: ForwardHost, cluster: Cluster, head: RequestHead, rules: AttemptRules) {
    const { attemptTimeoutMs, retryPolicy } = rules;
    const { io } = room;
    this.io = io;
    this.story = room.story;
    this.host = host;
    this.cluster = cluster;
    this.head = head;
    this.lane = head.origin < 20 ? 'h1' : 'h2';
    this.attemptTimeoutMs = attemptTimeoutMs;
    // What is an attempt of another sidecar's already is not multiplied by ours.
    this.maxRetries = head.attempt > 1 ? 0 : rules.retries;
    this.alone = room.direction === 'inbound';
    this.policy = retryPolicy;
    this.readsGrpc = retryPolicy.readsGrpc && isGrpc(head);
    this.attemptDeadline = attemptDeadline(attemptTimeoutMs, this);
    this.admission = new Admission(cluster);
    this.hedge = mayHedge(head, retryPolicy.hedge) ? new Hedge(this, host, io, retryPolicy.hedge) : null;
    this.body = new Replay(room.replayMemory, endsWithHead(head) && head.upgrade === null);
  }

  /** Asks for admission and makes the first attempt; a refusal comes back as the row, and nothing is held then. */
  start(): Failure | null {
    const refused = this.admission.enter();
    if (refused !== null) return refused;
    this.startedAt = this.io.clock.now();
    this.hedge?.arm();
    this.tryOne(0, false);
    return null;
  }

  /** Bytes of the request body. True if they could not be passed on yet: the caller holds back more. */
  sendBytes(bytes: Buffer, start: number, end: number): boolean {
    const { stream, body } = this;
    if (this.settled) return false;
    body.keep(bytes, start, end, stream !== null);
    if (stream === null) return body.full;
    stream.sendBytes(bytes, start, end);
    return false;
  }

  sendEnd(trailers: Fields | null): void {
    if (this.body.complete) return;
    this.body.end(trailers);
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
    this.sendTo(stream, this.attempt);
    if (!this.body.complete && !this.congested) this.host.onWritable();
  }

  /** Head and what has come of the body; for this attempt, or for the one beside it. */
  sendTo(stream: UpstreamStream, attempt: number): void {
    stream.sendHead(this.head, this.head.length, this.host.attemptLines(attempt, stream.toWeft));
    this.body.sendTo(stream);
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
    if (this.retriesAnswer(head)) return;
    // A caller that has not finished may wait for the head before it says more.
    if (this.readsGrpc && this.body.complete && !endsWithHead(head)) this.heldHead = head;
    else this.pass(head);
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    if (this.heldHead !== null) this.pass(this.heldHead);
    this.host.onBytes(bytes, start, end);
  }

  onEnd(trailers: Fields | null): void {
    this.stream = null;
    if (this.admission.judged && trailers !== null) this.grpcCode = grpcStatus(trailers);
    if (this.heldHead !== null) {
      const head = this.heldHead;
      if (mayFollowCode(grpcStatus(trailers), this.head, this.policy) && this.mayTryAgain()) {
        this.retry(null, 0);
        return;
      }
      this.pass(head);
    }
    this.attemptEnded(null);
    this.settle(this.admission.outcomeOf(this.status, this.grpcCode, this.headAt - this.startedAt));
    this.host.onEnd(trailers);
  }

  onFailure(failure: Failure, detail: string): void {
    // What a fresh connection met is no race for a pooled one: the application would do the same again.
    const final = this.headAt >= 0 || (this.alone && this.stream?.fresh === true);
    this.stream = null;
    this.attemptFailed(failure, detail, final);
  }

  onCongested(): void {
    this.congested = true;
    this.host.onCongested();
  }

  onWritable(): void {
    this.congested = false;
    this.host.onWritable();
  }

  // What the attempt beside this one says

  /** What a second attempt beside this one needs: an endpoint of its own, a slot, and a share of the budget. */
  roomBeside(): Endpoint | null {
    const { cluster, endpoint, tried } = this;
    const waits = this.headAt < 0 && this.heldHead === null && this.attemptStartedAt !== 0;
    if (!waits || endpoint === null || this.preferred !== null || !this.body.complete || !this.body.whole) return null;
    const taken = tried === null ? [endpoint] : [...tried, endpoint];
    const other = cluster.pick(taken, this.hash);
    if (other === null || taken.includes(other) || !this.admission.tryRetry(true)) return null;
    this.attempts++;
    cluster.retried++;
    this.story.retried(FAILURES.hedged);
    return other;
  }

  /** An answer came there first: false if policy would rather have another, as long as there is one to come. */
  yieldTo(hedge: Hedge, head: ResponseHead): boolean {
    if (leaveToFollow(head, hedge.principal, this.head, this.policy) !== null) return false;
    this.letGo();
    this.attemptEnded(FAILURES.hedged);
    this.adopt(hedge);
    return true;
  }

  /** The head goes to the caller: there is no way back from here. */
  private pass(head: ResponseHead): void {
    const { endpoint, cluster } = this;
    const now = this.io.clock.now();
    this.heldHead = null;
    this.headAt = now;
    this.hedge?.end(FAILURES.hedged, 0);
    observeAnswer(cluster, endpoint, now - this.attemptStartedAt, now - this.startedAt);
    this.admission.answered(this.attemptStartedAt, now);
    if (this.admission.judged) this.grpcCode = grpcStatus(head.fields);
    this.attemptDeadline?.clear();
    this.body.letGo();
    this.host.onHead(head);
  }

  /** An answer that policy wants another one for, of the application or of a peer sidecar in its own name. */
  private retriesAnswer(head: ResponseHead): boolean {
    const leave = leaveToFollow(head, this.principal, this.head, this.policy);
    if (leave === null || !this.mayTryAgain()) return false;
    const { stream } = this;
    this.stream = null;
    giveBackStream(stream, head);
    this.retry(leave.refusal, leave.pauseMs);
    return true;
  }

  /** At least `pauseMs` from now; `answered`: the last attempt had an answer, if not a welcome one. */
  private tryOne(pauseMs: number, answered: boolean, resent = false): void {
    const { tried, policy, preferred } = this;
    const stays = preferred?.available === true && tried === null;
    const endpoint = stays ? preferred : this.cluster.pick(tried, this.hash);
    if (endpoint === null) {
      this.settle('ignore');
      this.host.onFailed(FAILURES.noReadyEndpoint, `${this.cluster.key} has no ready endpoint`);
      return;
    }
    // What could not answer is left for another endpoint at once; who said no, or is alone, gets time.
    const backsOff = answered || (!resent && tried?.includes(endpoint) === true);
    const backOffMs = backsOff ? policy.pauseMs(this.attempts, this.io.random.float()) : 0;
    this.endpoint = endpoint;
    this.sent = false;
    this.attempted = true;
    this.status = 0;
    this.heldHead = null;
    this.attempt = ++this.attempts;
    if (backsOff) this.waiting = this.io.clock.after(Math.max(pauseMs, backOffMs), () => this.lease(endpoint));
    else this.lease(endpoint);
  }

  private lease(endpoint: Endpoint): void {
    this.waiting = null;
    endpoint.active++;
    endpoint.requests++;
    this.attemptStartedAt = this.io.clock.now();
    if (this.attemptDeadline !== null) this.io.deadlines.set(this.attemptDeadline, this.attemptTimeoutMs);
    const { attempt } = this;
    const waiting = this.cluster.pool.lease(endpoint, this);
    // An answer that came at once may have started the next attempt already.
    if (this.attempt === attempt && this.stream === null && !this.settled) this.waiting = waiting;
  }

  giveUpAttempt(failure: Failure, detail: string): void {
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

  private attemptFailed(failure: Failure, detail: string, final = false): void {
    if (this.settled) return;
    const follows = !final && mayFollow(failure, this.sent, this.head, this.policy);
    const resent = !final && this.body.whole && mayResend(failure, this.resends);
    if (this.hedge?.running === true || resent || (follows && this.mayTryAgain())) {
      this.retry(failure, 0, resent);
      return;
    }
    this.attemptEnded(failure);
    this.settle(this.cluster.breakerErrors.outcomeOf(failure));
    this.host.onFailed(failure, detail);
  }

  /** Takes what another attempt needs: a body that is still whole, a slot, and a share of the budget. */
  private mayTryAgain(): boolean {
    // The one beside this is the next one.
    if (this.hedge?.running === true) return true;
    // What only waited for another request's dial has put no load on anybody.
    const { body, attempts, resends, maxRetries, admission } = this;
    return body.whole && attempts - resends <= maxRetries && admission.tryRetry(this.attempted);
  }

  /** `failure` null: the answer was whole, and one of those that policy retries. At least `pauseMs` are waited. */
  private retry(failure: Failure | null, pauseMs: number, resent = false): void {
    this.attemptEnded(failure, resent);
    if (this.hedge?.running === true) {
      this.adopt(this.hedge);
      return;
    }
    if (resent) this.resends++;
    // Who has only no room for it yet will have.
    if (!resent || this.endpoint?.links.length === 0) this.noteTried(this.endpoint);
    this.cluster.retried++;
    this.story.retried(failure);
    this.tryOne(pauseMs, failure === null, resent);
  }

  /** It is not asked again while there is another. */
  noteTried(endpoint: Endpoint | null): void {
    if (endpoint === null || this.tried?.includes(endpoint) === true) return;
    (this.tried ??= []).push(endpoint);
  }

  /** The attempt beside this one is the only one from now on. */
  private adopt(hedge: Hedge): void {
    this.noteTried(this.endpoint);
    hedge.running = false;
    this.endpoint = hedge.endpoint;
    this.attempt = hedge.attempt;
    this.attemptStartedAt = hedge.startedAt;
    this.attemptDeadline = hedge.deadline;
    this.principal = hedge.principal;
    this.stream = hedge.stream;
    this.waiting = hedge.waiting;
    this.sent = hedge.stream !== null;
    this.attempted = true;
    this.congested = false;
    this.heldHead = null;
    this.status = 0;
  }

  private attemptEnded(failure: Failure | null, resent = false): void {
    const { endpoint, attemptStartedAt } = this;
    this.attemptDeadline?.clear();
    if (endpoint === null || attemptStartedAt === 0) return;
    this.attemptStartedAt = 0;
    if (resent) endpoint.active--;
    else giveBackEndpoint(this.cluster, endpoint, this.status, failure, this.io.clock.now() - attemptStartedAt);
    this.host.onAttemptEnd(endpoint, this.attempt, attemptStartedAt, this.status, failure, this.principal);
  }

  private settle(outcome: BreakerOutcome): void {
    if (this.settled) return;
    this.settled = true;
    this.hedge?.end(FAILURES.hedged, 0);
    this.body.letGo();
    this.admission.leave(outcome, this.headAt < 0 ? this.io.clock.now() - this.startedAt : 0);
  }
}
