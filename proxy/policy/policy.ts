/**
 * What a policy is on the request path: something prepared at link time that looks at a request, and perhaps at its
 * response, and says whether the exchange goes on. It never chooses the route and never touches a socket.
 */
import type { Failure } from '../../shared/errors.ts';
import type { RequestHead, ResponseHead } from '../http/message.ts';

/** An answer given instead of forwarding. `headers` as name, value pairs. */
export interface LocalAnswer {
  /** May be another one than the row's. */
  readonly status: number;
  /** Row of the error table; null for an answer that is no refusal (a redirect, a preflight). */
  readonly failure: Failure | null;
  readonly detail: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

/** undefined: go on. `pending`: the policy calls `resume` later, once, with an answer or undefined. */
export type Decision = undefined | 'pending' | LocalAnswer;

/** What a policy may know of the exchange beyond the heads. */
export interface PolicyContext {
  readonly direction: 'inbound' | 'outbound';
  /** Verified SPIFFE ID of the caller, empty without. */
  readonly principal: string;
  /** Address of the caller, without port. */
  readonly sourceAddress: string;
}

export interface Policy {
  readonly kind: string;
  /** True if onRequest may answer `pending`; only then is `resume` a callback of its own. */
  readonly waits?: boolean;
  /** Envoy's response flag of the requests that it lets wait. */
  readonly waitFlag?: string;
  /** Where the same request fares now this way, now that: in what way, for explain, which does not run it then. */
  readonly byChance?: string;
  /** `resume` is called at most once, and never before onRequest has returned. */
  onRequest?(head: RequestHead, context: PolicyContext, resume: (decision: Decision) => void): Decision;
  /** May change the head; the response always goes on. `request` is the request as the policies left it. */
  onResponse?(head: ResponseHead, request: RequestHead, context: PolicyContext): void;
}

/** One line of the registry in policies.ts: how `FilterSpec.config` becomes a Policy. */
export interface PolicyKind {
  readonly kind: string;
  prepare(config: unknown): Policy;
}
