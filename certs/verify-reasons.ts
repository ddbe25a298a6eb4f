/** Why a peer is refused: our own fine reasons, OpenSSL's, and the row of the failure table that stands for each. */
import { FAILURES, type Failure, type FailureName } from '../shared/errors.ts';

/** What the peer was in the handshake: a `client` called us, a `server` was called by us. */
export type PeerRole = 'client' | 'server';

/** What exactly is wrong; the failure's word is coarser and counts in metrics. */
export type RefusalReason =
  | 'no_certificate'
  | 'unknown_ca'
  | 'self_signed'
  | 'bad_signature'
  | 'revoked'
  | 'no_revocation_list'
  | 'revocation_list_expired'
  | 'revocation_list_refused'
  | 'expired'
  | 'not_yet_valid'
  | 'chain_expired'
  | 'chain_not_yet_valid'
  | 'chain_too_long'
  | 'path_length'
  | 'issuer_is_no_ca'
  | 'wrong_purpose'
  | 'is_a_ca'
  | 'signs_certificates'
  | 'no_digital_signature'
  | 'unreadable_extensions'
  | 'weak_key'
  | 'chain_refused'
  | 'no_uri_san'
  | 'several_uri_sans'
  | 'unreadable_san'
  | 'no_spiffe_id'
  | 'no_workload_path'
  | 'foreign_trust_domain';

type RowKind =
  | 'missing'
  | 'untrusted'
  | 'revoked'
  | 'expired'
  | 'notYetValid'
  | 'unusable'
  | 'badIdentity'
  | 'notAllowed';

const ROWS: Readonly<Record<PeerRole, Readonly<Record<RowKind, FailureName>>>> = {
  client: {
    missing: 'peerNoCertificate',
    untrusted: 'peerUntrusted',
    revoked: 'peerRevoked',
    expired: 'peerExpired',
    notYetValid: 'peerNotYetValid',
    unusable: 'peerBadCertificate',
    badIdentity: 'peerBadIdentity',
    notAllowed: 'peerNotAllowed',
  },
  server: {
    missing: 'upstreamBadIdentity',
    untrusted: 'upstreamUntrusted',
    revoked: 'upstreamRevoked',
    expired: 'upstreamExpired',
    notYetValid: 'upstreamExpired',
    unusable: 'upstreamBadCertificate',
    badIdentity: 'upstreamBadIdentity',
    notAllowed: 'upstreamNotAllowed',
  },
};

const KIND_OF_REASON: Readonly<Record<RefusalReason, RowKind>> = {
  no_certificate: 'missing',
  unknown_ca: 'untrusted',
  self_signed: 'untrusted',
  bad_signature: 'untrusted',
  revoked: 'revoked',
  no_revocation_list: 'revoked',
  revocation_list_expired: 'revoked',
  revocation_list_refused: 'revoked',
  expired: 'expired',
  not_yet_valid: 'notYetValid',
  chain_expired: 'expired',
  chain_not_yet_valid: 'notYetValid',
  chain_too_long: 'unusable',
  path_length: 'unusable',
  issuer_is_no_ca: 'unusable',
  wrong_purpose: 'unusable',
  is_a_ca: 'unusable',
  signs_certificates: 'unusable',
  no_digital_signature: 'unusable',
  unreadable_extensions: 'unusable',
  weak_key: 'unusable',
  chain_refused: 'unusable',
  no_uri_san: 'badIdentity',
  several_uri_sans: 'badIdentity',
  unreadable_san: 'badIdentity',
  no_spiffe_id: 'badIdentity',
  no_workload_path: 'badIdentity',
  foreign_trust_domain: 'notAllowed',
};

/** OpenSSL's verify results (openssl-verification-options(1), "Diagnostics") under the names that Node gives them. */
export const REASON_OF_OPENSSL: ReadonlyMap<string, RefusalReason> = new Map([
  ['UNABLE_TO_GET_ISSUER_CERT', 'unknown_ca'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'unknown_ca'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unknown_ca'],
  ['CERT_UNTRUSTED', 'unknown_ca'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'self_signed'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'unknown_ca'],
  ['CERT_SIGNATURE_FAILURE', 'bad_signature'],
  ['UNABLE_TO_DECRYPT_CERT_SIGNATURE', 'bad_signature'],
  ['CERT_REVOKED', 'revoked'],
  ['UNABLE_TO_GET_CRL', 'no_revocation_list'],
  ['CRL_HAS_EXPIRED', 'revocation_list_expired'],
  ['CRL_NOT_YET_VALID', 'revocation_list_refused'],
  ['CRL_SIGNATURE_FAILURE', 'revocation_list_refused'],
  ['UNABLE_TO_DECRYPT_CRL_SIGNATURE', 'revocation_list_refused'],
  ['CERT_HAS_EXPIRED', 'chain_expired'],
  ['CERT_NOT_YET_VALID', 'chain_not_yet_valid'],
  ['CERT_CHAIN_TOO_LONG', 'chain_too_long'],
  ['PATH_LENGTH_EXCEEDED', 'path_length'],
  ['INVALID_CA', 'issuer_is_no_ca'],
  ['INVALID_PURPOSE', 'wrong_purpose'],
]);

/** The row of the failure table: downstream words for those who call us, upstream words for those we call. */
export function failureOf(role: PeerRole, reason: RefusalReason): Failure {
  return FAILURES[ROWS[role][KIND_OF_REASON[reason]]];
}
