/** Flow control of HTTP/2 as the operator sets it (RFC 9113 section 5.2): bytes that may arrive before they are passed on. */
export interface Http2Windows {
  /** Of one stream; 64 KiB to 16 MiB. */
  readonly stream: number;
  /** Of all streams of a caller's connection together; 64 KiB to 16 MiB. */
  readonly connection: number;
}

export const DEFAULT_HTTP2_WINDOWS: Http2Windows = {
  stream: 262_144, // 256 KiB: 2 Gbit/s at 1 ms
  connection: 1_048_576, // 1 MiB: four stalled bodies do not stop the fifth
};
