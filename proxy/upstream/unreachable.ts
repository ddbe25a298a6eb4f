import { FAILURES, type Failure } from '../../shared/errors.ts';

/** The endpoint could not be talked to at all, said by us or by its sidecar: it is left alone, and another one is tried. */
export const UNREACHABLE: ReadonlySet<Failure> = new Set([
  FAILURES.connectRefused,
  FAILURES.connectTimeout,
  FAILURES.connectFailed,
  FAILURES.dnsError,
  FAILURES.upstreamTls,
  FAILURES.upstreamUntrusted,
  FAILURES.upstreamRevoked,
  FAILURES.upstreamExpired,
  FAILURES.upstreamBadIdentity,
  FAILURES.upstreamNotAllowed,
  FAILURES.upstreamBadCertificate,
  FAILURES.upstreamWrongName,
]);
