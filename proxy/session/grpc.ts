/** What gRPC asks of a proxy beyond HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md and doc/http-grpc-status-mapping.md). */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Fields, type RequestHead, ResponseHead } from '../http/message.ts';
import type { LocalAnswer } from '../policy/policy.ts';
import { answer, type Reply } from './reply.ts';

const NOTHING = Buffer.alloc(0);
const UNKNOWN = 2;
const DEADLINE_EXCEEDED = 4;
const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const UNAVAILABLE = 14;

/** HTTP status to gRPC code, UNKNOWN for all others (doc/http-grpc-status-mapping.md). */
const CODES: ReadonlyMap<number, number> = new Map([
  [400, 13],
  [401, 16],
  [403, 7],
  [404, 12],
  [429, 14],
  [502, 14],
  [503, 14],
  [504, 14],
]);

/** What is known better than by its status. */
const OWN_CODES: ReadonlyMap<Failure, number> = new Map([
  [FAILURES.requestTimeout, DEADLINE_EXCEEDED],
  [FAILURES.attemptTimeout, DEADLINE_EXCEEDED],
  [FAILURES.streamIdle, DEADLINE_EXCEEDED],
  [FAILURES.bodyTooLarge, RESOURCE_EXHAUSTED],
  [FAILURES.headTooLarge, INTERNAL],
  // Gateway API, GRPCRouteRule.backendRefs.
  [FAILURES.invalidBackend, UNAVAILABLE],
]);

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** Milliseconds of `grpc-timeout`; 0 without one, or where it is malformed (a server must ignore it then). */
export function grpcTimeoutMs(head: RequestHead): number {
  const text = head.fields.get('grpc-timeout');
  if (text === undefined) return 0;
  const unit = UNIT_MS[text.at(-1) ?? ''];
  const digits = text.slice(0, -1);
  if (unit === undefined || !/^[0-9]{1,8}$/.test(digits)) return 0;
  // A deadline of zero has passed; the least that a timer can hold stands for it.
  return Math.max(1, Number(digits) * unit);
}

/** The code in a response head (trailers-only) or in trailers; -1 if there is none. */
export function grpcStatus(fields: Fields | null): number {
  const text = fields?.get('grpc-status');
  return text !== undefined && /^[0-9]{1,3}$/.test(text) ? Number(text) : -1;
}

/**
 * The code that a whole answer ended with: that of its trailers, else of its head (`code`, -1 without), else what callers
 * make of its HTTP status.
 */
export function endingCode(trailers: Fields | null, code: number, status: number): number {
  const last = grpcStatus(trailers);
  if (last >= 0) return last;
  return code >= 0 ? code : (CODES.get(status) ?? UNKNOWN);
}

/** What a policy answers, in the form of the request; one that names a `grpc-status` itself is in it already. */
export function localReply(local: LocalAnswer, grpc: boolean): Reply {
  const reply = answer(local);
  if (!grpc || local.failure === null || reply.head.fields.has('grpc-status')) return reply;
  return grpcRefusal(reply, local.failure);
}

/** A refusal as gRPC clients read it: trailers-only, with the status of HTTP in `proxy-status` alone. */
export function grpcRefusal({ head, body }: Reply, failure: Failure): Reply {
  const fields = new Fields();
  fields.append('content-type', 'application/grpc');
  appendStatus(fields, failure, head.status, body.toString().trim());
  const status = head.fields.get('proxy-status');
  if (status !== undefined) fields.append('proxy-status', status);
  return { head: new ResponseHead(200, 'OK', fields, 0, -1, 20, false, -1, null), body: NOTHING };
}

/** What ends an answer that has begun and cannot be completed. */
export function grpcTrailers(failure: Failure, detail: string): Fields {
  const trailers = new Fields();
  appendStatus(trailers, failure, failure.status, `${failure.word}: ${detail === '' ? failure.advice : detail}`);
  return trailers;
}

function appendStatus(fields: Fields, failure: Failure, status: number, message: string): void {
  const code = OWN_CODES.get(failure) ?? CODES.get(status) ?? UNKNOWN;
  fields.append('grpc-status', String(code));
  fields.append('grpc-message', percentEncode(message));
}

/** `Percent-Encoded` of the protocol: printable ASCII but `%` as it is, every other byte of UTF-8 escaped. */
function percentEncode(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
