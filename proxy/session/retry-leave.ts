/** May a request be sent once more, by what it is and what happened to it? Room for it is another question. Pure. */
import type { Failure } from '../../shared/errors.ts';
import type { RequestHead, ResponseHead } from '../http/message.ts';
import { type RetryPolicy, retryAfterMs } from '../upstream/retry-policy.ts';
import { grpcStatus } from './grpc.ts';
import { isBeforeSending, isIdempotent, refusalOfPeer } from './retry-rules.ts';

const FIRST_ERROR_STATUS = 400;

/** `sent`: bytes of the request may have been acted on. */
export function mayFollow(failure: Failure, sent: boolean, head: RequestHead, policy: RetryPolicy): boolean {
  if (failure.retryable === 'never' || !policy.wantsFailure(failure)) return false;
  return failure.retryable !== 'unsent' || !sent || isRepeatable(head, policy);
}

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

/** May it be sent twice though the first may have been acted on? By its method, or by its key with policy's leave. */
function isRepeatable({ method, fields }: RequestHead, policy: RetryPolicy): boolean {
  return isIdempotent(method) || (policy.idempotencyKey && fields.has('idempotency-key'));
}

/**
 * After an answer that policy wants another one for: the milliseconds to wait, at least; -1 for one that goes to the
 * caller. A `Retry-After` beyond the longest pause is the caller's to respect.
 */
export function pauseAfter(
  answer: ResponseHead,
  request: RequestHead,
  policy: RetryPolicy,
  readsGrpc: boolean,
): number {
  const wanted =
    (answer.status >= FIRST_ERROR_STATUS && policy.wantsStatus(answer.status) && isRepeatable(request, policy)) ||
    // A code that policy names is its leave: every RPC is a POST.
    (readsGrpc && policy.wantsGrpc(grpcStatus(answer.fields)));
  if (!wanted) return -1;
  const ms = retryAfterMs(answer);
  return ms > policy.maxBackOffMs ? -1 : ms;
}
