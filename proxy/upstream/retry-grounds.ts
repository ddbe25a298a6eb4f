/** May a request be sent once more, by what it is and what happened to it? Room for it is another question. Pure. */
import type { Failure } from '../../shared/errors.ts';
import { isGrpc, type RequestHead } from '../http/message.ts';
import type { RetryPolicy } from './retry-policy.ts';

const FIRST_ERROR_STATUS = 400;

/** RFC 9110 section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** After a failure; `sent`: bytes of the request may have been acted on. */
export function mayFollow(failure: Failure, sent: boolean, head: RequestHead, policy: RetryPolicy): boolean {
  if (failure.retryable === 'never' || !policy.wantsFailure(failure)) return false;
  return failure.retryable !== 'unsent' || !sent || isRepeatable(head, policy);
}

/** After an answer with this status. */
export function mayFollowStatus(status: number, head: RequestHead, policy: RetryPolicy): boolean {
  return status >= FIRST_ERROR_STATUS && policy.wantsStatus(status) && isRepeatable(head, policy);
}

/** After one with this gRPC code. A code that policy names is its leave: every RPC is a POST. */
export function mayFollowCode(code: number, head: RequestHead, policy: RetryPolicy): boolean {
  return policy.wantsGrpc(code) && isGrpc(head);
}

/** May it be sent twice though the first may have been acted on? By its method, or by its key with policy's leave. */
export function isRepeatable({ method, fields }: RequestHead, policy: RetryPolicy): boolean {
  return IDEMPOTENT.has(method) || (policy.idempotencyKey && fields.has('idempotency-key'));
}
