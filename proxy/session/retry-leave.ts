/** What an answer that could be followed by another attempt says of it, or the peer sidecar that wrote it. Pure. */
import type { Failure } from '../../shared/errors.ts';
import type { RequestHead, ResponseHead } from '../http/message.ts';
import { mayFollow, mayFollowCode, mayFollowStatus } from '../upstream/retry-grounds.ts';
import { type RetryPolicy, retryAfterMs } from '../upstream/retry-policy.ts';
import { grpcStatus } from './grpc.ts';
import { isBeforeSending, refusalOfPeer } from './retry-rules.ts';

/** What a peer sidecar refuses in its own name is as if we had met it ourselves; null where nothing may follow it. */
export function refusalToFollow(
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
export function pauseAfter(answer: ResponseHead, request: RequestHead, policy: RetryPolicy): number {
  const wanted =
    mayFollowStatus(answer.status, request, policy) ||
    (policy.readsGrpc && mayFollowCode(grpcStatus(answer.fields), request, policy));
  if (!wanted) return -1;
  const ms = retryAfterMs(answer);
  return ms > policy.maxBackOffMs ? -1 : ms;
}
