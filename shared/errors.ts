/**
 * Over 400 lines: it is one table, and a table in two files is two tables.
 *
 * The one table of everything that can end a request or a connection before its time.
 *
 * A row is pingora's triple (what, whose fault, retryable) plus what each audience sees of it: the caller (status and
 * the `Proxy-Status` error token of RFC 9209 section 2.3), dashboards (Envoy's response flag), the log (the word) and the
 * operator (what to check next). Expected failures are rows, handed around as values; only bugs are thrown.
 */

/** Whose fault: the caller's, the far side's, or weft's own (its policy and limits included). */
export type Fault = 'downstream' | 'upstream' | 'local';

/** May another attempt be made: never; only if no byte of the request can have been acted on; or always. */
export type Retryable = 'never' | 'unsent' | 'always';

export interface Failure {
  /** weft's own word: log line, span, `weft_refusals_total{word}`, first part of the `Proxy-Status` details. */
  readonly word: string;
  readonly fault: Fault;
  readonly retryable: Retryable;
  /** HTTP status of the local answer; 0 where no answer can be given (the connection is just ended). */
  readonly status: number;
  /** Error token of RFC 9209 section 2.3. */
  readonly token: string;
  /** Envoy's `%RESPONSE_FLAGS%` short form, `-` where Envoy has none. */
  readonly flag: string;
  /** What the operator should check next; one sentence without a full stop. */
  readonly advice: string;
}

export type FailureName =
  | 'malformedRequestLine'
  | 'malformedHeader'
  | 'bareLineEnd'
  | 'badHost'
  | 'badTarget'
  | 'badPath'
  | 'ambiguousLength'
  | 'badChunk'
  | 'upgradeRefused'
  | 'unsupportedVersion'
  | 'unsupportedExpectation'
  | 'uriTooLong'
  | 'headTooLarge'
  | 'bodyTooLarge'
  | 'headTimeout'
  | 'bodyTimeout'
  | 'clientGone'
  | 'h2ConnectionError'
  | 'writeStalled'
  | 'unknownProtocol'
  | 'proxyProtocolRefused'
  | 'proxyProtocolMalformed'
  | 'plaintextRefused'
  | 'peerNoCertificate'
  | 'peerUntrusted'
  | 'peerRevoked'
  | 'peerExpired'
  | 'peerNotYetValid'
  | 'peerBadIdentity'
  | 'peerNotAllowed'
  | 'peerBadCertificate'
  | 'tlsHandshakeTimeout'
  | 'tlsHandshakeFailed'
  | 'noRoute'
  | 'noServicePort'
  | 'unknownDestination'
  | 'noApplication'
  | 'notLocal'
  | 'invalidBackend'
  | 'denied'
  | 'loopDetected'
  | 'protocolMismatch'
  | 'noReadyEndpoint'
  | 'breakerOpen'
  | 'connectionLimit'
  | 'requestLimit'
  | 'pendingLimit'
  | 'concurrencyLimit'
  | 'hedged'
  | 'faultAbort'
  | 'overloaded'
  | 'draining'
  | 'drainTimeout'
  | 'notReady'
  | 'dnsError'
  | 'connectRefused'
  | 'connectTimeout'
  | 'connectFailed'
  | 'upstreamReset'
  | 'upstreamCut'
  | 'upstreamRefusedStream'
  | 'upstreamStreamReset'
  | 'upstreamTls'
  | 'upstreamUntrusted'
  | 'upstreamRevoked'
  | 'upstreamExpired'
  | 'upstreamBadIdentity'
  | 'upstreamNotAllowed'
  | 'upstreamBadCertificate'
  | 'upstreamWrongName'
  | 'clientCertificate'
  | 'upstreamH2Error'
  | 'upstreamMalformed'
  | 'upstreamAmbiguous'
  | 'upstreamHeadTooLarge'
  | 'upstreamBadUpgrade'
  | 'interimFlood'
  | 'requestTimeout'
  | 'attemptTimeout'
  | 'streamIdle'
  | 'internal';

function row(
  word: string,
  fault: Fault,
  retryable: Retryable,
  status: number,
  token: string,
  flag: string,
  advice: string,
): Failure {
  return Object.freeze({ word, fault, retryable, status, token, flag, advice });
}

const malformed = (word: string, advice: string): Failure =>
  row(word, 'downstream', 'never', 400, 'http_request_error', 'DPE', advice);
const badAnswer = (word: string, advice: string): Failure =>
  row(word, 'upstream', 'never', 502, 'http_protocol_error', 'UPE', advice);
const badPeer = (word: string, advice: string): Failure =>
  row(word, 'downstream', 'never', 0, 'tls_certificate_error', '-', advice);
const badServer = (word: string, advice: string): Failure =>
  row(word, 'upstream', 'unsent', 502, 'tls_certificate_error', 'UF', advice);

export const FAILURES: Readonly<Record<FailureName, Failure>> = {
  // The caller's message
  malformedRequestLine: malformed(
    'malformed_request_line',
    'the request line is not METHOD SP TARGET SP HTTP/1.x CRLF',
  ),
  malformedHeader: malformed('malformed_header', 'a header line breaks RFC 9112 section 5 (name, colon, value, CRLF)'),
  bareLineEnd: malformed('bare_line_end', 'a line ends in a bare CR or LF, which two parsers may read differently'),
  badHost: malformed('bad_host', 'there must be exactly one valid Host, equal to the authority of an absolute target'),
  badTarget: malformed('bad_target', 'the request target is not of the form its method needs (RFC 9112 section 3.2)'),
  badPath: malformed('bad_path', 'the path holds an escape or segment that the mesh refuses to interpret'),
  ambiguousLength: malformed('ambiguous_length', 'Content-Length and Transfer-Encoding leave the body length in doubt'),
  badChunk: malformed('bad_chunk', 'a chunk line or chunk end breaks RFC 9112 section 7.1'),
  upgradeRefused: malformed('upgrade_refused', 'the Upgrade token is not allowed here (TrafficPolicy httpUpgrade)'),
  unsupportedVersion: row(
    'unsupported_version',
    'downstream',
    'never',
    505,
    'http_request_error',
    'DPE',
    'weft speaks HTTP/1.0, HTTP/1.1 and HTTP/2',
  ),
  unsupportedExpectation: row(
    'unsupported_expectation',
    'downstream',
    'never',
    417,
    'http_request_error',
    'DPE',
    'only Expect: 100-continue is known',
  ),
  uriTooLong: row(
    'uri_too_long',
    'downstream',
    'never',
    414,
    'http_request_error',
    'DPE',
    'the request line is longer than the limit',
  ),
  headTooLarge: row(
    'head_too_large',
    'downstream',
    'never',
    431,
    'http_request_error',
    'DPE',
    'the header section has more bytes or fields than the limit',
  ),
  bodyTooLarge: row(
    'body_too_large',
    'downstream',
    'never',
    413,
    'http_request_error',
    'DPE',
    'the request body is larger than the limit',
  ),
  headTimeout: row(
    'head_timeout',
    'downstream',
    'never',
    408,
    'http_request_error',
    'DPE',
    'the caller did not finish its header section in time',
  ),
  bodyTimeout: row(
    'body_timeout',
    'downstream',
    'never',
    408,
    'http_request_error',
    'DPE',
    'the caller stopped sending its body',
  ),
  clientGone: row(
    'client_gone',
    'downstream',
    'never',
    0,
    'http_request_error',
    'DC',
    'the caller closed its connection before the answer was complete',
  ),
  h2ConnectionError: row(
    'h2_connection_error',
    'downstream',
    'never',
    0,
    'http_protocol_error',
    'DPE',
    'the caller broke HTTP/2, or asked more of a connection than its limits; GOAWAY told it why',
  ),
  writeStalled: row(
    'write_stalled',
    'downstream',
    'never',
    0,
    'connection_write_timeout',
    'DC',
    'the caller stopped reading the answer',
  ),
  unknownProtocol: row(
    'unknown_protocol',
    'downstream',
    'never',
    0,
    'http_request_error',
    'DPE',
    'the first bytes are no protocol that can be routed here without a redirect',
  ),
  proxyProtocolRefused: row(
    'proxy_protocol_refused',
    'downstream',
    'never',
    0,
    'http_request_error',
    'DPE',
    'the caller began with a PROXY protocol header and is not listed in Mesh trustedForwarders',
  ),
  proxyProtocolMalformed: row(
    'proxy_protocol_malformed',
    'downstream',
    'never',
    0,
    'http_request_error',
    'DPE',
    'a trusted forwarder sent a PROXY protocol header that breaks its specification (versions 1 and 2)',
  ),

  // Who the caller is
  plaintextRefused: row(
    'plaintext_refused',
    'downstream',
    'never',
    0,
    'tls_protocol_error',
    '-',
    'the port is STRICT and the caller sent no TLS: is it without a sidecar?',
  ),
  peerNoCertificate: badPeer('peer_no_certificate', 'the caller sent no certificate'),
  peerUntrusted: badPeer('peer_untrusted_ca', 'the caller certificate is signed by no CA of our trust bundle'),
  peerRevoked: badPeer(
    'peer_certificate_revoked',
    'the revocation lists (ca.crl) name the caller certificate, or cannot clear it: is there a current one of its CA?',
  ),
  peerExpired: badPeer(
    'peer_certificate_expired',
    'the caller certificate is expired: does its rotation work, do the clocks agree?',
  ),
  peerNotYetValid: badPeer(
    'peer_certificate_not_yet_valid',
    'the caller certificate is not valid yet: do the clocks agree?',
  ),
  peerBadIdentity: badPeer(
    'peer_identity_malformed',
    'the caller certificate needs exactly one URI SAN with a SPIFFE ID',
  ),
  peerNotAllowed: badPeer(
    'peer_identity_not_allowed',
    'the caller SPIFFE ID is of another trust domain (Mesh trustDomainAliases)',
  ),
  peerBadCertificate: badPeer(
    'peer_certificate_unusable',
    'the caller certificate has the wrong key usage, a weak key or a bad chain',
  ),
  tlsHandshakeTimeout: row(
    'tls_handshake_timeout',
    'downstream',
    'never',
    0,
    'tls_protocol_error',
    '-',
    'the caller did not finish the TLS handshake in time',
  ),
  tlsHandshakeFailed: row(
    'tls_handshake_failed',
    'downstream',
    'never',
    0,
    'tls_protocol_error',
    '-',
    'the TLS handshake failed: version, cipher or ALPN do not meet',
  ),

  // Where it should go
  noRoute: row(
    'no_route',
    'local',
    'never',
    404,
    'destination_not_found',
    'NR',
    'no rule of the routes for this Service matches the request',
  ),
  noServicePort: row(
    'no_service_port',
    'local',
    'never',
    404,
    'destination_not_found',
    'NR',
    'the Service is known but has no such port',
  ),
  unknownDestination: row(
    'unknown_destination',
    'local',
    'never',
    502,
    'destination_not_found',
    'NR',
    'the host is no known Service and outboundTrafficPolicy is REGISTRY_ONLY',
  ),
  noApplication: row(
    'no_application',
    'local',
    'never',
    503,
    'destination_unavailable',
    'NC',
    'traffic was sent to the listener itself and no --app is set',
  ),
  notLocal: row(
    'not_local',
    'local',
    'never',
    502,
    'destination_not_found',
    'NR',
    'a connection to another host was redirected to the inbound listener: check what redirects it',
  ),
  invalidBackend: row(
    'invalid_backend',
    'local',
    'never',
    500,
    'proxy_configuration_error',
    'NC',
    'the rule names no backend, or one that does not exist, or all its weights are zero',
  ),
  denied: row(
    'access_denied',
    'downstream',
    'never',
    403,
    'http_request_denied',
    'UAEX',
    'an AuthorizationPolicy denies this caller',
  ),
  loopDetected: row(
    'loop_detected',
    'local',
    'never',
    502,
    'proxy_loop_detected',
    '-',
    'the destination is this sidecar itself',
  ),
  protocolMismatch: row(
    'protocol_mismatch',
    'local',
    'never',
    502,
    'proxy_configuration_error',
    'UPE',
    'the endpoint speaks a protocol that this request cannot be carried over',
  ),

  // Limits of this sidecar
  noReadyEndpoint: row(
    'no_ready_endpoint',
    'upstream',
    'always',
    503,
    'destination_unavailable',
    'UH',
    'the Service has no ready endpoint',
  ),
  breakerOpen: row(
    'breaker_open',
    'local',
    'never',
    503,
    'destination_unavailable',
    'UO',
    'the circuit breaker of the Service port is open: /clusters shows the numbers',
  ),
  connectionLimit: row(
    'connection_limit',
    'local',
    'never',
    503,
    'connection_limit_reached',
    'UO',
    'circuitBreaker.maxConnections and maxPendingRequests are reached',
  ),
  requestLimit: row(
    'request_limit',
    'local',
    'never',
    503,
    'connection_limit_reached',
    'UO',
    'circuitBreaker.maxParallelRequests is reached',
  ),
  pendingLimit: row(
    'pending_limit',
    'local',
    'never',
    503,
    'connection_limit_reached',
    'UO',
    'circuitBreaker.maxPendingRequests is reached',
  ),
  concurrencyLimit: row(
    'concurrency_limit',
    'local',
    'never',
    503,
    'connection_limit_reached',
    'UO',
    'circuitBreaker.adaptiveConcurrency admits no more while answers are this slow: /clusters shows the limit',
  ),
  hedged: row(
    'hedged',
    'local',
    'never',
    503,
    'proxy_internal_error',
    '-',
    'an attempt beside this one was answered first (TrafficPolicy hedge); no request ends by it',
  ),
  // Envoy's response code details. The status is the one that policy names.
  faultAbort: row(
    'fault_filter_abort',
    'local',
    'never',
    503,
    'proxy_internal_response',
    'FI',
    'TrafficPolicy faultInjection answers a share of the requests itself',
  ),
  overloaded: row(
    'overloaded',
    'local',
    'never',
    503,
    'proxy_internal_error',
    'OM',
    'the sidecar sheds load: connections, memory or event-loop delay',
  ),
  draining: row('draining', 'local', 'unsent', 503, 'destination_unavailable', 'UO', 'the sidecar is going down'),
  drainTimeout: row(
    'drain_timeout',
    'local',
    'unsent',
    503,
    'connection_terminated',
    'LR',
    'the sidecar ended before this did: is --drain long enough?',
  ),
  notReady: row(
    'not_ready',
    'local',
    'unsent',
    503,
    'destination_unavailable',
    'UH',
    'no valid policy or certificate is in force yet: see /ready',
  ),

  // The far side
  dnsError: row('dns_error', 'upstream', 'unsent', 502, 'dns_error', 'DF', 'the name does not resolve'),
  connectRefused: row(
    'connect_refused',
    'upstream',
    'unsent',
    502,
    'connection_refused',
    'UF',
    'nothing listens on the endpoint',
  ),
  connectTimeout: row(
    'connect_timeout',
    'upstream',
    'unsent',
    504,
    'connection_timeout',
    'UF',
    'the endpoint did not accept the connection in time',
  ),
  connectFailed: row(
    'connect_failed',
    'upstream',
    'unsent',
    502,
    'destination_ip_unroutable',
    'UF',
    'the endpoint cannot be reached',
  ),
  upstreamReset: row(
    'upstream_reset',
    'upstream',
    'unsent',
    502,
    'connection_terminated',
    'UC',
    'the endpoint closed the connection before it answered',
  ),
  upstreamCut: row(
    'upstream_cut',
    'upstream',
    'never',
    502,
    'http_response_incomplete',
    'UC',
    'the endpoint closed the connection in the middle of its answer',
  ),
  upstreamRefusedStream: row(
    'upstream_refused_stream',
    'upstream',
    'always',
    502,
    'connection_terminated',
    'UR',
    'the endpoint refused the stream before acting on it',
  ),
  upstreamStreamReset: row(
    'upstream_stream_reset',
    'upstream',
    'unsent',
    502,
    'connection_terminated',
    'UR',
    'the endpoint reset the stream',
  ),
  upstreamTls: row(
    'upstream_tls_failed',
    'upstream',
    'unsent',
    502,
    'tls_protocol_error',
    'UF',
    'the TLS handshake with the endpoint failed: has it a sidecar?',
  ),
  upstreamUntrusted: badServer(
    'upstream_untrusted_ca',
    'the endpoint certificate is signed by no CA of our trust bundle',
  ),
  upstreamRevoked: badServer(
    'upstream_certificate_revoked',
    'the revocation lists (ca.crl) name the endpoint certificate, or cannot clear it: is there a current one of its CA?',
  ),
  upstreamExpired: badServer('upstream_certificate_expired', 'the endpoint certificate is expired or not yet valid'),
  upstreamBadIdentity: badServer(
    'upstream_identity_malformed',
    'the endpoint certificate needs exactly one URI SAN with a SPIFFE ID',
  ),
  upstreamNotAllowed: badServer(
    'upstream_identity_not_allowed',
    'the endpoint SPIFFE ID may not serve this Service (weft.dev/identities)',
  ),
  upstreamBadCertificate: badServer(
    'upstream_certificate_unusable',
    'the endpoint certificate has the wrong key usage, a weak key or a bad chain',
  ),
  upstreamWrongName: badServer(
    'upstream_certificate_wrong_name',
    'the endpoint certificate has none of the names that the BackendTLSPolicy asks for',
  ),
  clientCertificate: row(
    'client_certificate_unusable',
    'local',
    'never',
    502,
    'proxy_configuration_error',
    'UF',
    'the files of TrafficPolicy tls.clientCertificate and privateKey cannot be used: do they exist, do they fit?',
  ),
  upstreamH2Error: row(
    'upstream_h2_connection_error',
    'upstream',
    'unsent',
    502,
    'http_protocol_error',
    'UPE',
    'the endpoint broke HTTP/2, or asked more of a connection than its limits; GOAWAY told it why',
  ),
  upstreamMalformed: badAnswer('upstream_malformed', 'the answer breaks HTTP; the connection was closed'),
  upstreamAmbiguous: badAnswer('upstream_ambiguous_length', 'the answer leaves its body length in doubt'),
  upstreamHeadTooLarge: row(
    'upstream_head_too_large',
    'upstream',
    'never',
    502,
    'http_response_header_section_size',
    'UPE',
    'the answer header section is larger than the limit',
  ),
  upstreamBadUpgrade: row(
    'upstream_bad_upgrade',
    'upstream',
    'never',
    502,
    'http_upgrade_failed',
    'UPE',
    'the endpoint switched protocols without being asked',
  ),
  interimFlood: badAnswer('interim_flood', 'the endpoint sent more interim (1xx) answers than the limit'),

  // Time
  requestTimeout: row(
    'request_timeout',
    'upstream',
    'never',
    504,
    'http_response_timeout',
    'UT',
    'the route timeout for the whole request has passed',
  ),
  attemptTimeout: row(
    'attempt_timeout',
    'upstream',
    'unsent',
    504,
    'http_response_timeout',
    'UT',
    'the per-attempt timeout has passed',
  ),
  streamIdle: row(
    'stream_idle',
    'upstream',
    'never',
    504,
    'http_response_timeout',
    'SI',
    'neither side moved a byte for the stream idle timeout',
  ),

  internal: row('internal', 'local', 'never', 500, 'proxy_internal_error', '-', 'a bug in weft: the log has the stack'),
};

const byWord = new Map<string, Failure>(Object.values(FAILURES).map((failure) => [failure.word, failure]));

/** The row of a word, as a peer sidecar's `Proxy-Status` names it. */
export function failureOfWord(word: string): Failure | undefined {
  return byWord.get(word);
}
