/** Bounds of one HTTP/1 message, each in one place with its reason. What is over a bound is refused, never cut. */
export interface HeadLimits {
  /** Bytes of the request line without its CRLF; more is 414. */
  readonly requestLineBytes: number;
  /** Bytes of a whole head, start line and final CRLF included; more is 431, or 502 from an upstream. */
  readonly headBytes: number;
  /** Field lines of a head; more is 431, or 502 from an upstream. */
  readonly fields: number;
  /** Bytes of a trailer section, final CRLF included. */
  readonly trailerBytes: number;
  /** Field lines of a trailer section. */
  readonly trailerFields: number;
  /** Bytes of chunk extensions in one body, all chunks together. */
  readonly chunkExtensionBytes: number;
  /** Interim (1xx) responses before one final response. */
  readonly interimResponses: number;
}

export const DEFAULT_LIMITS: HeadLimits = Object.freeze({
  // RFC 9112 section 3 asks for at least 8000; nginx and Apache stop at 8 KiB, so longer targets work nowhere else.
  requestLineBytes: 8192,
  // Envoy's max_request_headers_kb: an application behind Istio today gets as much.
  headBytes: 60 * 1024,
  // Envoy's and Apache's default.
  fields: 100,
  // Trailers are sums and statuses; gRPC's longest (grpc-status-details-bin) stays below 8 KiB.
  trailerBytes: 8192,
  trailerFields: 32,
  // Nobody sends any; Node allows 16 KiB since its flood of 2024, which is room for every signature scheme seen.
  chunkExtensionBytes: 16 * 1024,
  // 100, 102 and a few 103 are real; a server that sends more is broken or hostile.
  interimResponses: 16,
});
