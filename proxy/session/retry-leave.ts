/** What an answer, or a refusal, that could be followed by another attempt says of it. Pure. */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { RequestHead, ResponseHead } from '../http/message.ts';
import { mayFollow, mayFollowCode, mayFollowStatus } from '../upstream/retry-grounds.ts';
import { type RetryPolicy, retryAfterMs } from '../upstream/retry-policy.ts';
import { grpcStatus } from './grpc.ts';
import { isBeforeSending, refusalOfPeer } from './retry-rules.ts';

/** One on a connection whose limit was not known yet, and one more on another that goes away. */
const MOST_RESENDS = 2;

/** Leave for another attempt: after a peer sidecar's refusal, or (null) a whole answer; in so many milliseconds, at least. */
export interface Leave {
  readonly refusal: Failure | null;
  readonly pauseMs: number;
}

/** Refused before anybody looked at it (RFC 9113 section 8.7): that takes no leave of policy, as long as it is rare. */
export function mayResend(failure: Failure, resends: number): boolean {
  return failure === FAILURES.upstreamRefusedStream && resends < MOST_RESENDS;
}

/** null for an answer that goes to the caller. */
export function leaveToFollow(
  answer: ResponseHead,
  principal: string,
  request: RequestHead,
  policy: RetryPolicy,
): Leave | null {
  const refusal = refusalToFollow(answer, principal, request, policy);
  const pauseMs = refusal === null ? pauseAfter(answer, request, policy) : 0;
  return pauseMs < 0 ? null : { refusal, pauseMs };
}

/** What a peer sidecar refuses in its own name is as if we had met it ourselves; null where nothing may follow it. */
function refusalToFollow(
  answer: ResponseHead,
  principal: string,
  request: RequestHead,
  policy: RetryPolicy,
): Failure | null {
  const refusal = refusalOfPeer(answer, principal);
  return refusal !== null && mayFollow(refusal, !isBeforeSending(refusal), request, policy) ? refusal : null;
}

/**
 * After an answer that policy wants another one for: the milliseconds to wait, at least; -1 for one that goes to the
 * caller. A `Retry-After` beyond the longest pause is the caller's to respect.
 */
function pauseAfter(answer: ResponseHead, request: RequestHead, policy: RetryPolicy): number {
  const wanted =
    mayFollowStatus(answer.status, request, policy) ||
    (policy.readsGrpc && mayFollowCode(grpcStatus(answer.fields), request, policy));
  if (!wanted) return -1;
  const ms = retryAfterMs(answer);
  return ms > policy.maxBackOffMs ? -1 : ms;
}
