/**
 * What policy says of further attempts, ready to ask: which failures and answers may be followed by one, and when.
 * Whether the request can be repeated at all, and whether budget and limits have room, is judged elsewhere.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { ResponseHead } from '../http/message.ts';
import type { HedgeSpec, RetryRulesSpec } from './spec.ts';
import { UNREACHABLE } from './unreachable.ts';

/** Envoy's words (`x-envoy-retry-on`, `x-envoy-retry-grpc-on`), as Envoy Gateway takes them. */
export const RETRY_TRIGGERS = [
  '5xx',
  'gateway-error',
  'reset',
  'connect-failure',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;

export type RetryTrigger = (typeof RETRY_TRIGGERS)[number];

/** Of the triggers that are codes. grpc/grpc, doc/statuscodes.md. */
export const GRPC_CODES: ReadonlyMap<string, number> = new Map([
  ['cancelled', 1],
  ['deadline-exceeded', 4],
  ['resource-exhausted', 8],
  ['internal', 13],
  ['unavailable', 14],
]);

const NOT_CONNECTED: ReadonlySet<Failure> = new Set([
  ...UNREACHABLE,
  // Said by a peer sidecar that has not bothered its application.
  FAILURES.noReadyEndpoint,
  FAILURES.noApplication,
]);

const REFUSED: ReadonlySet<Failure> = new Set([FAILURES.upstreamRefusedStream, FAILURES.draining, FAILURES.notReady]);

const CONFLICT = 409;
const SERVER_ERROR = 500;

export class RetryPolicy {
  /** The upstream recognises repeated requests by their Idempotency-Key: policy's leave to repeat any method. */
  readonly idempotencyKey: boolean;
  /** First pause, doubled at each attempt up to the most; a random share of it is waited. Milliseconds. */
  readonly backOffMs: number;
  readonly maxBackOffMs: number;
  /** null: nothing is sent twice before it has failed. */
  readonly hedge: HedgeSpec | null;
  /** True where a gRPC answer must be read before it is passed on. */
  readonly readsGrpc: boolean;
  private readonly connectFailure: boolean;
  private readonly refusedStream: boolean;
  private readonly reset: boolean;
  private readonly statuses: ReadonlySet<number>;
  private readonly serverErrors: boolean;
  private readonly gatewayErrors: boolean;
  private readonly grpcCodes: ReadonlySet<number>;

  constructor(spec: RetryRulesSpec) {
    const triggers: ReadonlySet<string> = new Set(spec.triggers);
    this.idempotencyKey = spec.idempotencyKey;
    this.backOffMs = spec.backOffMs;
    this.maxBackOffMs = spec.maxBackOffMs;
    this.hedge = spec.hedge;
    this.serverErrors = triggers.has('5xx');
    // Envoy: 5xx includes what ends without an answer.
    this.connectFailure = this.serverErrors || triggers.has('connect-failure') || triggers.has('reset');
    this.refusedStream = this.serverErrors || triggers.has('refused-stream') || triggers.has('reset');
    this.reset = this.serverErrors || triggers.has('reset');
    this.gatewayErrors = triggers.has('gateway-error');
    this.statuses = new Set(triggers.has('retriable-4xx') ? [...spec.statuses, CONFLICT] : spec.statuses);
    this.grpcCodes = new Set([...triggers].flatMap((trigger) => GRPC_CODES.get(trigger) ?? []));
    this.readsGrpc = this.grpcCodes.size > 0;
  }

  /** May a failure of this kind be followed by another attempt? */
  wantsFailure(failure: Failure): boolean {
    if (NOT_CONNECTED.has(failure)) return this.connectFailure;
    return REFUSED.has(failure) ? this.refusedStream : this.reset;
  }

  /** May an answer with this status? */
  wantsStatus(status: number): boolean {
    if (this.statuses.has(status)) return true;
    if (status < SERVER_ERROR) return false;
    return this.serverErrors || (this.gatewayErrors && status >= 502 && status <= 504);
  }

  /** May an RPC that ended with this code? */
  wantsGrpc(code: number): boolean {
    return this.grpcCodes.has(code);
  }

  /** Milliseconds to wait before attempt `attempts + 1`: exponential, with full jitter (`share` from 0 to 1). */
  pauseMs(attempts: number, share: number): number {
    return share * Math.min(this.maxBackOffMs, this.backOffMs * 2 ** (attempts - 1));
  }
}

/** Milliseconds of `Retry-After` in seconds (RFC 9110 section 10.2.3); 0 without. A date counts as too long to wait for. */
export function retryAfterMs(head: ResponseHead): number {
  const text = head.fields.get('retry-after');
  if (text === undefined) return 0;
  return /^[0-9]{1,9}$/.test(text) ? Number(text) * 1000 : Number.POSITIVE_INFINITY;
}
