/**
 * Faults made on purpose (TrafficPolicy `faultInjection`): a delay, then perhaps an answer instead of the upstream's. Each
 * falls on its own share of the requests, as in Envoy's fault filter.
 */
import { type Clock, systemClock } from '../../shared/clock.ts';
import { FAILURES } from '../../shared/errors.ts';
import { type Random, systemRandom } from '../../shared/random.ts';
import { formatDuration } from '../../shared/units.ts';
import type { RequestHead } from '../http/message.ts';
import type { Decision, LocalAnswer, Policy, PolicyContext, PolicyKind } from './policy.ts';

/** Milliseconds; shares in percent. `abortGrpcStatus` -1: the abort has an HTTP status. */
export interface FaultInjectionConfig {
  readonly delayMs: number;
  readonly delayPercent: number;
  readonly abortStatus: number;
  readonly abortGrpcStatus: number;
  readonly abortPercent: number;
  /** Only requests that have all of these; names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Envoy's text, which scripts of testers look for. */
const ABORTED = 'fault filter abort';

export class FaultInjection implements Policy {
  readonly kind = 'FaultInjection';
  readonly waits: boolean;
  readonly waitFlag = 'DI';
  readonly byChance?: string;
  private readonly config: FaultInjectionConfig;
  private readonly abort: LocalAnswer;
  private readonly clock: Clock;
  private readonly random: Random;

  constructor(config: FaultInjectionConfig, clock: Clock, random: Random) {
    this.config = config;
    this.waits = config.delayPercent > 0;
    this.abort = abortOf(config);
    if (!isCertain(config)) this.byChance = chanceText(config);
    this.clock = clock;
    this.random = random;
  }

  onRequest(head: RequestHead, _context: PolicyContext, resume: (decision: Decision) => void): Decision {
    const { config } = this;
    if (!this.concerns(head)) return undefined;
    const decision = this.falls(config.abortPercent) ? this.abort : undefined;
    if (!this.falls(config.delayPercent)) return decision;
    this.clock.after(config.delayMs, () => resume(decision));
    return 'pending';
  }

  private concerns({ fields }: RequestHead): boolean {
    return this.config.headers.every(([name, value]) => fields.getAll(name).includes(value));
  }

  private falls(percent: number): boolean {
    return percent > 0 && this.random.float() * 100 < percent;
  }
}

/** It answers always or never, and at once. */
function isCertain({ abortPercent, delayPercent }: FaultInjectionConfig): boolean {
  return delayPercent === 0 && (abortPercent === 0 || abortPercent >= 100);
}

function chanceText(config: FaultInjectionConfig): string {
  const { delayPercent, delayMs, abortPercent, abortStatus, abortGrpcStatus, headers } = config;
  const status = abortGrpcStatus < 0 ? `${abortStatus}` : `grpc-status ${abortGrpcStatus}`;
  const parts = [
    ...(delayPercent > 0 ? [`${delayPercent} % wait ${formatDuration(delayMs)}`] : []),
    ...(abortPercent > 0 ? [`${abortPercent} % are answered with ${status}`] : []),
  ];
  const only = headers.map(([name, value]) => `${name}: ${value}`).join(', ');
  return `of the requests${only === '' ? '' : ` with ${only}`} ${parts.join(', ')}`;
}

function abortOf({ abortStatus, abortGrpcStatus }: FaultInjectionConfig): LocalAnswer {
  const fault = { failure: FAILURES.faultAbort, detail: '' };
  if (abortGrpcStatus < 0) return { ...fault, status: abortStatus, headers: [], body: ABORTED };
  const headers = [
    ['content-type', 'application/grpc'],
    ['grpc-status', String(abortGrpcStatus)],
    ['grpc-message', ABORTED],
  ] as const;
  return { ...fault, status: 200, headers, body: '' };
}

/** Which requests are hurt need not be repeatable outside of tests. */
const DICE = systemRandom();

export const FAULT_INJECTION: PolicyKind = {
  kind: 'FaultInjection',
  prepare: (config) => new FaultInjection(config as FaultInjectionConfig, systemClock, DICE),
};
