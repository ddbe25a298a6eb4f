/**
 * Runs the policies of one route over a request and its response: flat arrays made at link time, no allocation on the
 * way unless a policy waits.
 *
 * Requests pass in the order written, responses in the reverse order, as in Envoy's filter chain: the policy that sees
 * the caller first has the last word about what the caller gets, so what a policy near the upstream adds to a response
 * can still be judged by those before it.
 */
import type { RequestHead, ResponseHead } from '../http/message.ts';
import { POLICY_KINDS } from './policies.ts';
import type { Decision, LocalAnswer, Policy, PolicyContext } from './policy.ts';

/** One filter as the snapshot holds it; `config` is the prepared config of that kind, complete and checked. */
export interface FilterConfig {
  readonly kind: string;
  readonly config: unknown;
}

/** Who hears the verdict of a chain that answered `pending`: the exchange. */
export interface PolicyWaiter {
  /** Called once, later; undefined: go on. Comes even if the exchange has ended meanwhile. */
  policiesDone(answer: LocalAnswer | undefined): void;
}

type RequestStep = Policy & Required<Pick<Policy, 'onRequest'>>;
type ResponseStep = Policy & Required<Pick<Policy, 'onResponse'>>;

/** The prepared policies of one route (or of one backend of it). Stateless: one chain serves all requests. */
export class PolicyChain {
  /** Policies in the order written, for explain. */
  readonly policies: readonly Policy[];
  /** Response flag of requests for which the answer is `pending`; of the first policy that may wait. */
  readonly waitFlag: string;
  private readonly requestSteps: readonly RequestStep[];
  private readonly responseSteps: readonly ResponseStep[];

  constructor(policies: readonly Policy[]) {
    this.policies = policies;
    this.waitFlag = policies.find(({ waits }) => waits === true)?.waitFlag ?? '';
    this.requestSteps = policies.filter((policy): policy is RequestStep => policy.onRequest !== undefined);
    this.responseSteps = policies
      .filter((policy): policy is ResponseStep => policy.onResponse !== undefined)
      .toReversed();
  }

  /**
   * Runs the request policies until one answers. undefined: go on to the upstream; a local answer: send it instead;
   * `pending`: `waiter.policiesDone` will be told.
   */
  request(head: RequestHead, context: PolicyContext, waiter: PolicyWaiter): Decision {
    return this.requestFrom(0, head, context, waiter);
  }

  /** Runs the response policies. Also meant for the head of a local answer, so that CORS covers refusals too. */
  response(head: ResponseHead, request: RequestHead, context: PolicyContext): void {
    const steps = this.responseSteps;
    for (let i = 0; i < steps.length; i++) (steps[i] as ResponseStep).onResponse(head, request, context);
  }

  private requestFrom(start: number, head: RequestHead, context: PolicyContext, waiter: PolicyWaiter): Decision {
    const steps = this.requestSteps;
    for (let i = start; i < steps.length; i++) {
      const step = steps[i] as RequestStep;
      const resume = step.waits === true ? this.resumeAt(i + 1, head, context, waiter) : neverResumed;
      const decision = step.onRequest(head, context, resume);
      if (decision !== undefined) return decision;
    }
    return undefined;
  }

  private resumeAt(
    next: number,
    head: RequestHead,
    context: PolicyContext,
    waiter: PolicyWaiter,
  ): (decision: Decision) => void {
    let resumed = false;
    return (decision) => {
      if (resumed || decision === 'pending') return;
      resumed = true;
      const verdict = decision ?? this.requestFrom(next, head, context, waiter);
      if (verdict !== 'pending') waiter.policiesDone(verdict);
    };
  }
}

/** Link time: every filter becomes a policy. Throws if compile let an unknown kind or an impossible config through. */
export function prepare(filters: readonly FilterConfig[]): PolicyChain {
  if (filters.length === 0) return EMPTY_CHAIN;
  return new PolicyChain(filters.map(prepareOne));
}

function prepareOne(filter: FilterConfig): Policy {
  const kind = kinds.get(filter.kind);
  if (kind === undefined) throw new Error(`no policy kind is named ${filter.kind}`);
  return kind.prepare(filter.config);
}

function neverResumed(): void {
  throw new Error('a policy that is not marked as waiting resumed');
}

const kinds = new Map(POLICY_KINDS.map((kind) => [kind.kind, kind]));
/** Most routes have no policies; they share this one. */
const EMPTY_CHAIN = new PolicyChain([]);
