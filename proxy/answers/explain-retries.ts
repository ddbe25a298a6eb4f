/** After what a request would be sent once more, asked of the data path's own rules (upstream/retry-grounds). */
import { FAILURES } from '../../shared/errors.ts';
import type { RequestHead } from '../http/message.ts';
import { isRepeatable, mayFollow, mayFollowCode, mayFollowStatus } from '../upstream/retry-grounds.ts';
import { GRPC_CODES, type RetryPolicy } from '../upstream/retry-policy.ts';
import type { Explanation } from './explanation.ts';

/** For each of Envoy's words the failure that is its plainest case; `sent`: the endpoint has the request by then. */
const FAILURES_BY_WORD = [
  ['connect-failure', FAILURES.connectRefused, false],
  ['refused-stream', FAILURES.upstreamRefusedStream, true],
  ['reset', FAILURES.upstreamReset, true],
] as const;

const CLIENT_ERRORS = Array.from({ length: 100 }, (_, i) => 400 + i);
const SERVER_ERRORS = Array.from({ length: 100 }, (_, i) => 500 + i);

export function retriesOf(
  retries: number,
  policy: RetryPolicy,
  head: RequestHead,
): Pick<Explanation, 'retries' | 'retriedAfter' | 'repeatable'> {
  const repeatable = isRepeatable(head, policy);
  return { retries, retriedAfter: retries === 0 ? [] : groundsOf(head, policy), repeatable };
}

function groundsOf(head: RequestHead, policy: RetryPolicy): string[] {
  const follows = (status: number): boolean => mayFollowStatus(status, head, policy);
  const failures = FAILURES_BY_WORD.filter(([, failure, sent]) => mayFollow(failure, sent, head, policy));
  const codes = [...GRPC_CODES].filter(([, code]) => mayFollowCode(code, head, policy));
  const serverErrors = SERVER_ERRORS.every(follows) ? ['5xx'] : SERVER_ERRORS.filter(follows);
  return [...failures, ...codes]
    .map(([word]): string => word)
    .concat([...CLIENT_ERRORS.filter(follows), ...serverErrors].map(String));
}

/** `2, after connect-failure, refused-stream (a POST may have been acted on otherwise)`. */
export function retriesText({ request, retries, retriedAfter, repeatable }: Explanation): string {
  if (retries === 0) return '0';
  const after = retriedAfter.length === 0 ? 'nothing' : retriedAfter.join(', ');
  const note = repeatable || request === null ? '' : ` (a ${request.method} may have been acted on otherwise)`;
  return `${retries}, after ${after}${note}`;
}
