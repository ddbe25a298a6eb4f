/** What can be wrong with one message on a stream, and the row of the error table that it is on either side. */
import { FAILURES, type Failure } from '../../shared/errors.ts';

export class H2Fault {
  /** The row when a client did it to us, and when a server did. */
  readonly downstream: Failure;
  readonly upstream: Failure;
  /** Fixed text: never a byte of the message, so that a log line stays one line. */
  readonly detail: string;

  constructor(downstream: Failure, upstream: Failure, detail: string) {
    this.downstream = downstream;
    this.upstream = upstream;
    this.detail = detail;
  }
}

/** The message is not as RFC 9113 section 8 asks. */
export function malformed(detail: string, downstream: Failure = FAILURES.malformedHeader): H2Fault {
  return new H2Fault(downstream, FAILURES.upstreamMalformed, detail);
}

export const WRONG_LENGTH: H2Fault = new H2Fault(
  FAILURES.ambiguousLength,
  FAILURES.upstreamAmbiguous,
  'Content-Length is not one number, or not that of the DATA',
);
export const TOO_LARGE: H2Fault = new H2Fault(
  FAILURES.headTooLarge,
  FAILURES.upstreamHeadTooLarge,
  'the header section has more bytes or fields than the limit',
);
export const INTERIM_FLOOD: H2Fault = new H2Fault(
  FAILURES.internal,
  FAILURES.interimFlood,
  'more interim responses than the limit',
);
export const BAD_VALUE: H2Fault = malformed('a field value holds a control character or begins or ends with a blank');
export const BAD_PATH: H2Fault = malformed(':path cannot be normalised', FAILURES.badPath);
export const BAD_EXPECT: H2Fault = malformed('Expect is not 100-continue', FAILURES.unsupportedExpectation);
