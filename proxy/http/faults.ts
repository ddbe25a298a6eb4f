/** What can be wrong with a message on the wire, and the row of the error table that it is on either side. */
import { FAILURES, type Failure } from '../../shared/errors.ts';

export type FaultKind =
  | 'startLine'
  | 'startLineTooLong'
  | 'version'
  | 'target'
  | 'path'
  | 'host'
  | 'field'
  | 'lineEnd'
  | 'tooLarge'
  | 'length'
  | 'chunk'
  | 'expectation'
  | 'upgrade';

/** `detail` is fixed text: never a byte of the message, so that a log line stays one line. */
export class Fault {
  readonly kind: FaultKind;
  readonly detail: string;

  constructor(kind: FaultKind, detail: string) {
    this.kind = kind;
    this.detail = detail;
  }
}

export function fault(kind: FaultKind, detail: string): Fault {
  return new Fault(kind, detail);
}

export const REQUEST_FAILURES: Readonly<Record<FaultKind, Failure>> = {
  startLine: FAILURES.malformedRequestLine,
  startLineTooLong: FAILURES.uriTooLong,
  version: FAILURES.unsupportedVersion,
  target: FAILURES.badTarget,
  path: FAILURES.badPath,
  host: FAILURES.badHost,
  field: FAILURES.malformedHeader,
  lineEnd: FAILURES.bareLineEnd,
  tooLarge: FAILURES.headTooLarge,
  length: FAILURES.ambiguousLength,
  chunk: FAILURES.badChunk,
  expectation: FAILURES.unsupportedExpectation,
  upgrade: FAILURES.upgradeRefused,
};

export const RESPONSE_FAILURES: Readonly<Record<FaultKind, Failure>> = {
  startLine: FAILURES.upstreamMalformed,
  startLineTooLong: FAILURES.upstreamHeadTooLarge,
  version: FAILURES.upstreamMalformed,
  target: FAILURES.upstreamMalformed,
  path: FAILURES.upstreamMalformed,
  host: FAILURES.upstreamMalformed,
  field: FAILURES.upstreamMalformed,
  lineEnd: FAILURES.upstreamMalformed,
  tooLarge: FAILURES.upstreamHeadTooLarge,
  length: FAILURES.upstreamAmbiguous,
  chunk: FAILURES.upstreamMalformed,
  expectation: FAILURES.upstreamMalformed,
  upgrade: FAILURES.upstreamBadUpgrade,
};
