/** What the attempt loop needs of who asked for it: the rules of the route, and somebody to tell. */
import type { Failure } from '../../shared/errors.ts';
import type { Fields, ResponseHead } from '../http/message.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { RetryPolicy } from '../upstream/retry-policy.ts';

/** What a route says of attempts. */
export interface AttemptRules {
  readonly attemptTimeoutMs: number;
  /** Attempts after the first. */
  readonly retries: number;
  readonly retryPolicy: RetryPolicy;
}

/** Who asked for the request to be forwarded. */
export interface ForwardHost {
  /** Field lines that belong to this attempt (from 1) alone; `toWeft`: to a sidecar like this one. Empty without. */
  attemptLines(attempt: number, toWeft: boolean): string;
  /** An attempt (from 1) has ended, for better or worse; `status` is 0 if no head came. */
  onAttemptEnd(
    endpoint: Endpoint,
    attempt: number,
    startedAt: number,
    status: number,
    failure: Failure | null,
    principal: string,
  ): void;
  onInterim(head: ResponseHead): void;
  onHead(head: ResponseHead): void;
  onBytes(bytes: Buffer, start: number, end: number): void;
  onEnd(trailers: Fields | null): void;
  /** Nothing is left to try; after `onHead` the answer was cut. */
  onFailed(failure: Failure, detail: string): void;
  onCongested(): void;
  onWritable(): void;
}
