/**
 * What one HTTP/2 connection may ask of us. A peer that goes beyond is told so (RFC 9113 section 10.5) and, where going
 * on would cost more than it is worth, its connection ends with ENHANCE_YOUR_CALM.
 */
import { DEFAULT_HTTP2_WINDOWS, type Http2Windows } from '../../shared/http2-windows.ts';

export interface H2Limits {
  /** Streams a peer may have open at once. */
  readonly concurrentStreams: number;
  /** Bytes of a header block as sent: HEADERS and its CONTINUATION frames, judged before END_HEADERS. */
  readonly blockBytes: number;
  /** Bytes of a header section once decoded, each field counted with FIELD_OVERHEAD more. */
  readonly listBytes: number;
  /** Fields of a header section, cookie crumbs counted singly. */
  readonly fields: number;
  /** CONTINUATION frames of one header block. */
  readonly continuations: number;
  /** Interim (1xx) responses before the final one. */
  readonly interimResponses: number;
  /** Streams ended by RST_STREAM, ours because of a peer's mistake included: at once, and per second. */
  readonly resetBurst: number;
  readonly resetsPerSecond: number;
  /** SETTINGS frames: at once, and per second. */
  readonly settingsBurst: number;
  readonly settingsPerSecond: number;
  /** PING, PRIORITY and unknown frames: at once, and per second. */
  readonly pingBurst: number;
  readonly pingsPerSecond: number;
  /** DATA, HEADERS and CONTINUATION frames that carry nothing and end nothing: at once, and per second. */
  readonly emptyBurst: number;
  readonly emptyPerSecond: number;
  /** Answers (acknowledgements, resets, window updates) that wait because the peer does not read. */
  readonly queuedControls: number;
  /** Bytes of output above which DATA waits for `flushed()`. */
  readonly outputBytes: number;
  /** Bytes of output, heads too, above which new streams of a peer that does not read are refused. */
  readonly unreadBytes: number;
  /** Bytes a stream may receive before the caller has passed them on. */
  readonly streamWindow: number;
  /** The same for all streams of the connection together. */
  readonly connectionWindow: number;
  /** Runs of fields that the decoder remembers where there is no table, at most 4 KB each as sent. */
  readonly runs: number;
  /** SETTINGS_HEADER_TABLE_SIZE that we announce. */
  readonly tableBytes: number;
}

/** What a field counts beyond its name and value (RFC 9113 section 6.5.2, RFC 7541 section 4.1). */
export const FIELD_OVERHEAD = 32;

export const DEFAULT_H2_LIMITS: H2Limits = {
  concurrentStreams: 100, // the least RFC 9113 section 6.5.2 recommends; Envoy under Istio: 100
  blockBytes: 65_536, // as the decoded list: a block that is honest is never longer than what it decodes to
  listBytes: 65_536, // Envoy's 60 KiB, and some
  fields: 200, // with 32 bytes each, 6.4 KB of objects; browsers send 20
  continuations: 8, // 64 KB fits in 4 full frames
  interimResponses: 16, // a handful of 103; more is a flood
  resetBurst: 1000, // nghttp2's; all calls of a gRPC client may meet their deadline at once
  resetsPerSecond: 100, // every stream given up each second
  settingsBurst: 20, // real peers send one or two in a lifetime
  settingsPerSecond: 2,
  pingBurst: 1000, // gRPC probes the bandwidth with one PING per round trip
  pingsPerSecond: 1000,
  emptyBurst: 100, // some peers end a body with an empty frame, none sends many that do not
  emptyPerSecond: 10,
  queuedControls: 1000, // Envoy's max_outbound_control_frames is 10000, at 10 times the memory
  outputBytes: 131_072, // what a loopback socket takes at once; a small response waits behind at most this much
  unreadBytes: 1_048_576, // heads of 100 answers, 10 KB each, beside the DATA
  streamWindow: DEFAULT_HTTP2_WINDOWS.stream,
  connectionWindow: DEFAULT_HTTP2_WINDOWS.connection,
  runs: 0, // what repeats is in the table
  tableBytes: 4096, // the least that clients count on; their gRPC heads cost a third to a half of those without one
};

/**
 * Between sidecars, whose peers are verified: one connection carries the requests of all clients, so a burst of clients
 * that give up is no attack of the sidecar that forwards it.
 */
export const MESH_H2_LIMITS: H2Limits = {
  ...DEFAULT_H2_LIMITS,
  concurrentStreams: 1000,
  resetBurst: 20_000,
  resetsPerSecond: 5_000,
  emptyBurst: 1000,
  emptyPerSecond: 1000,
  unreadBytes: 10_485_760, // for 1000 streams
  connectionWindow: 67_108_864, // 64 MB: 256 callers who do not read on do not stop the next one
  runs: 256, // all clients of a sidecar
  tableBytes: 0, // equal heads have equal bytes, so decoded ones can be kept
};

/** Towards an endpoint that is no sidecar: policy chose it, and its answers to all callers share the connection. */
export const UPSTREAM_H2_LIMITS: H2Limits = {
  ...DEFAULT_H2_LIMITS,
  connectionWindow: MESH_H2_LIMITS.connectionWindow,
};

/** These limits with the operator's windows; what all callers share keeps its proportion to one caller's connection. */
export function withWindows(limits: H2Limits, { stream, connection }: Http2Windows): H2Limits {
  const share = limits.connectionWindow / DEFAULT_H2_LIMITS.connectionWindow;
  return { ...limits, streamWindow: stream, connectionWindow: share * connection };
}

/** So many at once, then so many per second. */
export class TokenBucket {
  private tokens: number;
  private updatedAt: number;
  private readonly burst: number;
  private readonly perMs: number;

  /** `now`: monotonic milliseconds. */
  constructor(burst: number, perSecond: number, now: number) {
    this.tokens = burst;
    this.updatedAt = now;
    this.burst = burst;
    this.perMs = perSecond / 1000;
  }

  /** Takes one; false if there is none. */
  take(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + (now - this.updatedAt) * this.perMs);
    this.updatedAt = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}
