/** What an attempt's end means: for another attempt, and for the endpoint. Pure. */
import { FAILURES, type Failure, failureOfWord } from '../../shared/errors.ts';
import type { ResponseHead } from '../http/message.ts';
import type { EndpointOutcome } from '../upstream/outlier.ts';
import { UNREACHABLE } from '../upstream/unreachable.ts';

export const SERVER_ERROR = 500;
const BAD_GATEWAY = 502;
const GATEWAY_TIMEOUT = 504;

/** What a peer sidecar can only say before it has sent a byte to its application. */
const BEFORE_SENDING: ReadonlySet<Failure> = new Set([
  FAILURES.connectRefused,
  FAILURES.connectTimeout,
  FAILURES.connectFailed,
  FAILURES.dnsError,
  FAILURES.noReadyEndpoint,
  FAILURES.noApplication,
  FAILURES.draining,
  FAILURES.notReady,
  FAILURES.upstreamRefusedStream,
]);

const LOCAL_ANSWER = 'weft; error=';
const DETAILS = 'details="';

/** Was the application untouched when a peer sidecar said this? */
export function isBeforeSending(refusal: Failure): boolean {
  return BEFORE_SENDING.has(refusal);
}

/** A refusal that a peer sidecar wrote itself, as its Proxy-Status says; believed only from a verified peer. */
export function refusalOfPeer(head: ResponseHead, principal: string): Failure | null {
  if (principal === '' || (head.status < SERVER_ERROR && !isTrailersOnly(head))) return null;
  const status = head.fields.get('proxy-status');
  if (status === undefined || !status.startsWith(LOCAL_ANSWER)) return null;
  const from = status.indexOf(DETAILS);
  const to = status.indexOf(':', from);
  return from < 0 || to < 0 ? null : (failureOfWord(status.slice(from + DETAILS.length, to)) ?? null);
}

/** As gRPC refuses: status 200, no content, and a status of its own. */
function isTrailersOnly(head: ResponseHead): boolean {
  return head.length === 0 && head.fields.has('grpc-status');
}

/** What an attempt says of its endpoint; null where it says nothing (our own limits, a caller that left). */
export function outcomeOf(failure: Failure | null, status: number): EndpointOutcome | null {
  if (failure === null) {
    if (status < SERVER_ERROR) return 'success';
    return status >= BAD_GATEWAY && status <= GATEWAY_TIMEOUT ? 'gatewayError' : 'error';
  }
  if (failure.fault !== 'upstream') return null;
  return UNREACHABLE.has(failure) ? 'localFailure' : 'gatewayError';
}
