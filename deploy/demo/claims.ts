/** What the demo claims to show, each claim with the figure that was observed. Pure: judges what others collected. */
import type { AccessLine } from './access-lines.ts';
import type { Span } from './otlp.ts';

export interface Claim {
  readonly text: string;
  readonly holds: boolean;
  readonly observed: string;
}

/** What the client of the load saw. */
export interface Answers {
  readonly sent: number;
  readonly failures: ReadonlyMap<string, number>;
  /** Pod name of the catalog instance to how many answers came from it. */
  readonly byInstance: ReadonlyMap<string, number>;
}

/** The split is random per request: four standard deviations of 900 draws at one in ten, in percent. */
const SPLIT_TOLERANCE = 4;

/** `lines`: what the sidecars of every caller logged outbound; their words say why something failed. */
export function noneFailed({ sent, failures }: Answers, lines: readonly AccessLine[]): Claim {
  const failed = [...failures.values()].reduce((sum, count) => sum + count, 0);
  const kinds = [...failures].map(([kind, count]) => `${count} × ${kind}`).join(', ');
  const words = [...Map.groupBy(lines, (line) => line.word)].filter(([word]) => word !== '');
  const why = words.map(([word, { length }]) => `${length} × ${word}`).join(', ');
  return {
    text: 'no request of the load failed',
    holds: failed === 0 && sent > 0,
    observed: `${sent - failed} of ${sent} answered with 200${kinds && `; ${kinds}`}${why && ` (${why})`}`,
  };
}

export function splitIs(answers: Answers, canary: string, percent: number): Claim {
  let all = 0;
  let canaries = 0;
  for (const [instance, count] of answers.byInstance) {
    all += count;
    if (instance.startsWith(canary)) canaries += count;
  }
  const share = (100 * canaries) / Math.max(1, all);
  return {
    text: `the canary gets ${percent} % of the requests`,
    holds: Math.abs(share - percent) <= SPLIT_TOLERANCE,
    observed: `${canaries} of ${all} (${share.toFixed(1)} %)`,
  };
}

/** `lines`: what the caller's sidecar logged outbound during the load. */
export function routedAround(answers: Answers, victim: string, lines: readonly AccessLine[]): Claim {
  const before = answers.byInstance.get(victim) ?? 0;
  const retried = lines.filter((line) => line.attempts > 1);
  const saved = retried.filter((line) => line.status === 200);
  return {
    text: `${victim}, killed under load, is routed around`,
    holds: before > 0 && saved.length > 0 && saved.length === retried.length,
    observed: `${before} answers before it died; ${saved.length} of ${retried.length} retried requests answered by another instance`,
  };
}

/** `lines`: what the sidecars of one service logged inbound. */
export function calledBy(service: string, caller: string, lines: readonly AccessLine[]): Claim {
  const verified = lines.filter((line) => line.downstream_principal === caller);
  return {
    text: `${service} is called over mutual TLS, by ${caller} only`,
    holds: lines.length > 0 && verified.length === lines.length,
    observed: `${verified.length} of ${lines.length} requests`,
  };
}

/** `bytes`: how many came back before the connection ended; `refusals`: what the sidecar counted under that word. */
export function plaintextRefused(bytes: number, refusals: number): Claim {
  return {
    text: 'plain text to a STRICT port is refused',
    holds: bytes === 0 && refusals > 0,
    observed: `connection ended after ${bytes} bytes; ${refusals} counted as plaintext_refused`,
  };
}

export function metricsAgree(counted: number, lines: readonly AccessLine[]): Claim {
  return {
    text: 'metrics and access log tell the same',
    holds: counted === lines.length && counted > 0,
    observed: `istio_requests_total ${counted}, log lines ${lines.length}`,
  };
}

/** One request, from the way in to the last service: one root, each other span under one of the trace, none twice. */
export function traceIsWhole(spans: readonly Span[], services: readonly string[]): Claim {
  const ids = new Set(spans.map((span) => span.spanId));
  const roots = spans.filter((span) => !ids.has(span.parentSpanId));
  const seen = new Set(spans.map((span) => span.service));
  const entered = services.every((service) => spans.some((span) => span.service === service && span.kind === 'SERVER'));
  return {
    text: `one trace spans ${services.join(', ')}`,
    holds: roots.length === 1 && entered && ids.size === spans.length,
    observed: `${spans.length} spans with ${ids.size} IDs, of ${[...seen].join(', ') || 'nobody'}, under ${roots.length} root`,
  };
}

export function drained(pods: number, bad: readonly string[]): Claim {
  return {
    text: 'every sidecar drains and exits with 0 at SIGTERM',
    holds: bad.length === 0,
    observed: bad.length === 0 ? `${pods} of ${pods}` : `not ${bad.join(', ')}`,
  };
}
