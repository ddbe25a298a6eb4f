/** How an attempt is left: when, what it means for its endpoint, and what becomes of an answer that nobody wants. */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { ResponseHead } from '../http/message.ts';
import type { UpstreamStream } from '../http/stream.ts';
import { Deadline } from '../net/deadline.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { outcomeOf } from './retry-rules.ts';

/** An answer that is longer, or of unknown length, is not read to its end for the sake of its connection. */
const MAX_DISCARDED = 65_536;

/** The time that one attempt has; null without a bound. */
export function attemptDeadline(
  ms: number,
  attempt: { giveUpAttempt(failure: Failure, detail: string): void },
): Deadline | null {
  if (ms === 0) return null;
  return new Deadline(() => attempt.giveUpAttempt(FAILURES.attemptTimeout, `no answer within ${ms} ms`));
}

/** The head of an answer came so long after the start of its attempt, and of the request. */
export function observeAnswer(cluster: Cluster, endpoint: Endpoint | null, attemptMs: number, requestMs: number): void {
  if (endpoint !== null && endpoint.latency !== null) endpoint.latency.observe(attemptMs);
  if (cluster.p95 !== null) cluster.p95.observe(requestMs);
}

/** An attempt took `ms` until it ended with this failure, or (null) with an answer of this status. */
export function giveBackEndpoint(
  cluster: Cluster,
  endpoint: Endpoint,
  status: number,
  failure: Failure | null,
  ms: number,
): void {
  endpoint.active--;
  const outcome = outcomeOf(failure, status);
  if (outcome !== null) cluster.record(endpoint, outcome);
  if (failure !== null && failure.fault === 'upstream') endpoint.failures++;
  // It would have taken longer than this.
  if (failure === FAILURES.hedged && endpoint.latency !== null) endpoint.latency.observe(ms);
}

export function giveBackStream(stream: UpstreamStream | null, { length }: ResponseHead): void {
  if (length >= 0 && length <= MAX_DISCARDED) stream?.discard();
  else stream?.cancel();
}
