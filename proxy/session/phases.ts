/** What a caller's connection waits for, and for how long (milliseconds). */

/** From the first byte of a head to its last: a slow caller must not hold a connection (slowloris). */
export const HEAD_TIMEOUT_MS = 10_000;
/** Between two reads of a request body (nginx's client_body_timeout). */
export const BODY_IDLE_MS = 60_000;
/** Neither side moves a byte of an exchange, or of what is left of its answer (Envoy's stream_idle_timeout). */
export const STREAM_IDLE_MS = 300_000;
/** The caller takes no byte of an answer that waits for it (nginx's send_timeout). */
export const WRITE_STALL_MS = 60_000;
/** Between requests: an application's own pool must give up before we do (Envoy's idle_timeout). */
export const KEEP_ALIVE_MS = 3_600_000;

/** What is owed, and by whom, when the time is up. */
export type Phase = 'idle' | 'head' | 'body' | 'answer' | 'stalled' | 'tunnel';

export const PHASE_MS: Readonly<Record<Phase, number>> = {
  idle: KEEP_ALIVE_MS,
  head: HEAD_TIMEOUT_MS,
  body: BODY_IDLE_MS,
  answer: STREAM_IDLE_MS,
  stalled: WRITE_STALL_MS,
  tunnel: KEEP_ALIVE_MS,
};
