/** What a circuit breaker takes for an error, by policy (`errorRate.errors`). */
import type { Failure } from '../../shared/errors.ts';

/** Statuses, `failure` (no answer, or half of one), and gRPC codes in Envoy's spelling. */
export const ERROR_KINDS = [
  '5xx',
  'gateway-error',
  '429',
  'failure',
  'cancelled',
  'unknown',
  'deadline-exceeded',
  'resource-exhausted',
  'aborted',
  'internal',
  'unavailable',
  'data-loss',
] as const;

export type ErrorKind = (typeof ERROR_KINDS)[number];

/** grpc/grpc, doc/statuscodes.md. */
const GRPC_CODES: ReadonlyMap<string, number> = new Map([
  ['cancelled', 1],
  ['unknown', 2],
  ['deadline-exceeded', 4],
  ['resource-exhausted', 8],
  ['aborted', 10],
  ['internal', 13],
  ['unavailable', 14],
  ['data-loss', 15],
]);

const TOO_MANY_REQUESTS = 429;

export class BreakerErrors {
  private readonly serverErrors: boolean;
  private readonly gatewayErrors: boolean;
  private readonly tooMany: boolean;
  private readonly failures: boolean;
  private readonly grpcCodes: ReadonlySet<number>;
  private readonly slowCallMs: number;

  /** `slowCallMs`: an answer that starts later is an error; 0: none is. */
  constructor(kinds: readonly string[], slowCallMs: number) {
    this.serverErrors = kinds.includes('5xx');
    this.gatewayErrors = kinds.includes('gateway-error');
    this.tooMany = kinds.includes('429');
    this.failures = kinds.includes('failure');
    this.grpcCodes = new Set(kinds.flatMap((kind) => GRPC_CODES.get(kind) ?? []));
    this.slowCallMs = slowCallMs;
  }

  /** A whole answer: its status, its gRPC code (-1 without), the milliseconds until it started. */
  isError(status: number, grpcCode: number, ms: number): boolean {
    if (this.slowCallMs > 0 && ms > this.slowCallMs) return true;
    if (grpcCode >= 0 && this.grpcCodes.has(grpcCode)) return true;
    if (status === TOO_MANY_REQUESTS) return this.tooMany;
    if (status < 500) return false;
    return this.serverErrors || (this.gatewayErrors && status >= 502 && status <= 504);
  }

  /** No answer, or half of one. Our own limits and a caller that left are nobody's error. */
  outcomeOf(failure: Failure): 'fail' | 'ignore' {
    return this.failures && failure.fault === 'upstream' ? 'fail' : 'ignore';
  }
}
