/** Time as it travels with a request: what the caller has left, what the next sidecar is told, and how long a stream may be quiet. */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Route } from '../config/link.ts';
import type { RequestHead } from '../http/message.ts';
import { coarse, Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import { ATTEMPT, DEADLINE } from '../policy/forwarding-fields.ts';
import { grpcTimeoutMs } from './grpc.ts';

const SWITCHING = 101;

/** Milliseconds that the caller leaves: its sidecar's word, or its own `grpc-timeout`, the shorter; 0 if neither says. */
function callerLeftMs(head: RequestHead, grpc: boolean): number {
  const own = grpc ? grpcTimeoutMs(head) : 0;
  if (head.leftMs < 0) return own;
  // None left is what the least that a timer can hold stands for.
  const left = Math.max(1, head.leftMs);
  return own === 0 ? left : Math.min(own, left);
}

/** Field lines for the next sidecar. `leftMs` at or below 0: there is no deadline, or it is just passing. */
export function hopLines(attempt: number, leftMs: number): string {
  const deadline = leftMs > 0 ? `${DEADLINE}: ${Math.ceil(leftMs)}\r\n` : '';
  return attempt === 1 ? deadline : `${deadline}${ATTEMPT}: ${attempt}\r\n`;
}

/** The times that bound one request; null where neither its route nor its caller sets any. */
export function timeLimits(
  io: IoThread,
  { requestTimeoutMs, streamIdleMs }: Pick<Route, 'requestTimeoutMs' | 'streamIdleMs'>,
  head: RequestHead,
  grpc: boolean,
  owner: TimeOwner,
): TimeLimits | null {
  const left = callerLeftMs(head, grpc);
  if (requestTimeoutMs === 0 && left === 0 && streamIdleMs === 0) return null;
  return new TimeLimits(io, requestTimeoutMs, left, streamIdleMs, owner);
}

export interface TimeOwner {
  /** A time is over. */
  spoil(failure: Failure, detail: string): void;
}

export class TimeLimits {
  private readonly io: IoThread;
  private readonly whole: Deadline | null;
  private readonly wholeAt: number;
  private readonly idle: Deadline | null;
  private readonly idleMs: number;

  /** Milliseconds, each 0 for none: what the route allows, what the caller has left, how long nothing may move. */
  constructor(io: IoThread, routeMs: number, leftMs: number, idleMs: number, owner: TimeOwner) {
    const own = leftMs === 0 || (routeMs > 0 && routeMs <= leftMs);
    const ms = own ? routeMs : leftMs;
    const what = own ? 'the route allows' : "were left of the caller's deadline";
    this.io = io;
    this.wholeAt = io.clock.now() + ms;
    this.whole =
      ms === 0
        ? null
        : new Deadline(() => owner.spoil(FAILURES.requestTimeout, `no whole answer within the ${ms} ms that ${what}`));
    if (this.whole !== null) io.deadlines.set(this.whole, own ? ms : coarse(ms));
    this.idleMs = idleMs;
    this.idle =
      idleMs === 0 ? null : new Deadline(() => owner.spoil(FAILURES.streamIdle, `nothing moved for ${idleMs} ms`));
    this.touch();
  }

  /** Until the deadline of the whole request; 0 without one. */
  leftMs(now: number): number {
    return this.whole === null ? 0 : this.wholeAt - now;
  }

  /** Something moved. */
  touch(): void {
    if (this.idle !== null) this.io.deadlines.set(this.idle, this.idleMs);
  }

  /** A tunnel (101) has no end by which an answer could be late. */
  answered(status: number): void {
    if (status === SWITCHING) this.whole?.clear();
    this.touch();
  }

  clear(): void {
    this.whole?.clear();
    this.idle?.clear();
  }
}
