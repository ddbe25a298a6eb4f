/**
 * A second attempt beside the first, for requests that only read: made when the first has not answered for a while, within
 * the same retry limit and budget, at another endpoint. The first answer's head decides and the other attempt is
 * cancelled. One per request: a second hedge finds hardly anything that the first has left (Dean and Barroso, "The Tail at
 * Scale", 2013).
 */
import type { Failure } from '../../shared/errors.ts';
import { type Fields, isGrpc, type RequestHead, type ResponseHead } from '../http/message.ts';
import type { UpstreamStream } from '../http/stream.ts';
import { coarse, Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { LiveP95 } from '../upstream/latency-histogram.ts';
import type { Lane, StreamWaiter, Waiting } from '../upstream/pool.ts';
import type { HedgeSpec } from '../upstream/spec.ts';
import { attemptDeadline, giveBackEndpoint } from './attempt-end.ts';
import type { Forward } from './forward.ts';
import type { ForwardHost } from './forward-host.ts';

/** Methods that only read (RFC 9110 section 9.2.1); TRACE is for looking at one path, not at the faster of two. */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** May this request be sent to two at a time? Not what is a further attempt of another sidecar's already. */
export function mayHedge(head: RequestHead, spec: HedgeSpec | null): spec is HedgeSpec {
  if (spec === null || head.attempt > 1 || head.upgrade !== null) return false;
  return SAFE.has(head.method) || (spec.grpc && isGrpc(head));
}

/**
 * While it is `running` it ends by itself and tells nobody but the balancers. When Forward has taken it over it passes on
 * everything.
 */
export class Hedge implements StreamWaiter {
  running = false;
  endpoint: Endpoint | null = null;
  attempt = 0;
  startedAt = 0;
  principal = '';
  stream: UpstreamStream | null = null;
  waiting: Waiting | null = null;
  /** Of this attempt; null without a timeout. */
  readonly deadline: Deadline | null;
  readonly lane: Lane;
  private readonly forward: Forward;
  private readonly host: ForwardHost;
  private readonly io: IoThread;
  private readonly spec: HedgeSpec;
  /** When the first attempt has had its chance. */
  private readonly due: Deadline;

  constructor(forward: Forward, host: ForwardHost, io: IoThread, spec: HedgeSpec) {
    this.forward = forward;
    this.host = host;
    this.io = io;
    this.spec = spec;
    this.lane = forward.lane;
    this.due = new Deadline(() => this.start());
    this.deadline = attemptDeadline(forward.attemptTimeoutMs, this);
  }

  /** The first attempt is about to start. */
  arm(): void {
    const { cluster } = this.forward;
    if (this.spec.delayMs === 0) cluster.p95 ??= new LiveP95(this.io.clock);
    const ms = this.spec.delayMs === 0 ? (cluster.p95?.ms ?? 0) : this.spec.delayMs;
    if (ms > 0) this.io.deadlines.set(this.due, coarse(ms));
  }

  /** Ends what is under way, if anything is; `status` is that of an answer nobody wants, else 0. */
  end(failure: Failure | null, status: number): void {
    this.due.clear();
    if (!this.running) return;
    const { stream, waiting } = this;
    this.stream = null;
    this.waiting = null;
    stream?.cancel();
    waiting?.cancel();
    this.running = false;
    this.deadline?.clear();
    const { endpoint, attempt, startedAt, principal } = this;
    if (endpoint === null) return;
    this.forward.noteTried(endpoint);
    giveBackEndpoint(this.forward.cluster, endpoint, status, failure, this.io.clock.now() - startedAt);
    this.host.onAttemptEnd(endpoint, attempt, startedAt, status, failure, principal);
  }

  onStream(stream: UpstreamStream): void {
    this.waiting = null;
    if (!this.running) {
      this.forward.onStream(stream);
      return;
    }
    this.stream = stream;
    this.principal = stream.principal;
    this.forward.sendTo(stream, this.attempt);
  }

  onNoStream(failure: Failure, detail: string, attempted: boolean): void {
    this.waiting = null;
    if (this.running) this.end(failure, 0);
    else this.forward.onNoStream(failure, detail, attempted);
  }

  onInterim(head: ResponseHead): void {
    if (!this.running) this.forward.onInterim(head);
  }

  onHead(head: ResponseHead): void {
    if (this.running && !this.forward.yieldTo(this, head)) this.end(null, head.status);
    else this.forward.onHead(head);
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.forward.onBytes(bytes, start, end);
  }

  onEnd(trailers: Fields | null): void {
    this.forward.onEnd(trailers);
  }

  onFailure(failure: Failure, detail: string): void {
    if (!this.running) {
      this.forward.onFailure(failure, detail);
      return;
    }
    this.stream = null;
    this.end(failure, 0);
  }

  /** All of the request is here already and waits in the stream. */
  onCongested(): void {
    if (!this.running) this.forward.onCongested();
  }

  onWritable(): void {
    if (!this.running) this.forward.onWritable();
  }

  private start(): void {
    const { forward } = this;
    const endpoint = forward.roomBeside();
    if (endpoint === null) return;
    this.endpoint = endpoint;
    this.attempt = forward.attempts;
    this.startedAt = this.io.clock.now();
    this.running = true;
    endpoint.active++;
    endpoint.requests++;
    if (this.deadline !== null) this.io.deadlines.set(this.deadline, forward.attemptTimeoutMs);
    const waiting = forward.cluster.pool.lease(endpoint, this);
    if (this.running && this.stream === null) this.waiting = waiting;
  }

  giveUpAttempt(failure: Failure, detail: string): void {
    if (this.running) this.end(failure, 0);
    else this.forward.giveUpAttempt(failure, detail);
  }
}
