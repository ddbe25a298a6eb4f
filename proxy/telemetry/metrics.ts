/**
 * Counting on the data side: series are prepared at link time (or once per peer identity) and then only added to. A
 * report is a flat copy that crosses to the control thread, which merges and renders it (prometheus.ts).
 */
import { label, outcomeText, type RequestLabels, requestText, type TcpLabels, tcpText } from './labels.ts';
import { UNKNOWN_PARTY, UNKNOWN_SERVICE } from './record.ts';

export type { RequestLabels, TcpLabels } from './labels.ts';

/**
 * Request series per thread. Labels come from policy and from verified identities, so this is far above any real mesh
 * neighbourhood; beyond it requests are counted in one series of `unknown` parties per reporter and protocol.
 */
export const MAX_REQUEST_SERIES = 2000;
export const MAX_TCP_SERIES = 2000;

/** Distinct endings (code, flags, gRPC status) per series; beyond it a request counts under its class, as `5xx`. */
export const MAX_OUTCOMES = 24;

/**
 * Upper bounds of every histogram's buckets, those Envoy has unless told otherwise, in milliseconds or bytes:
 * Istio uses them for durations and sizes alike. `+Inf` is the bucket after the last.
 */
export const BUCKET_BOUNDS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];
export const BUCKETS: number = BUCKET_BOUNDS.length + 1;

/** One row of request cells: the count, then for each histogram its sum and its buckets (each alone, not cumulated). */
export const HISTOGRAM_CELLS: number = 1 + BUCKETS;
export const REQUEST_CELLS: number = 1 + 3 * HISTOGRAM_CELLS;
const DURATION = 1;
const REQUEST_SIZE: number = DURATION + HISTOGRAM_CELLS;
const RESPONSE_SIZE: number = REQUEST_SIZE + HISTOGRAM_CELLS;

/** One row of TCP cells, in this order. */
export const TCP_CELLS = 4;
const OPENED = 0;
const CLOSED = 1;
const SENT = 2;
const RECEIVED = 3;

/** Rows of equal width: `labels[i]` (Prometheus spelling, no braces) belongs to `cells[i * width]` and following. */
export interface Rows {
  readonly labels: readonly string[];
  readonly cells: Float64Array;
}

export interface Sample {
  readonly name: string;
  readonly help: string;
  readonly labels: string;
  readonly value: number;
}

/** Everything counted so far, plain data for postMessage; detached from what goes on being counted. */
export interface MetricsReport {
  readonly requests: Rows;
  readonly tcp: Rows;
  readonly counters: readonly Sample[];
  readonly gauges: readonly Sample[];
}

/** The series of one thread. */
export class Metrics {
  private readonly requests = new Map<string, RequestSeries>();
  private readonly tcp = new Map<string, TcpSeries>();
  private readonly counters = new Map<string, Counter>();
  private readonly gauges = new Map<string, Gauge>();
  /** Of the next report. */
  private samples: Sample[] = [];

  /** The same object for equal labels. Costs microseconds: call it ahead, not per request. */
  requestSeries(labels: RequestLabels): RequestSeries {
    const known = this.requests.get(requestText(labels));
    if (known !== undefined) return known;
    const text = requestText(this.requests.size < MAX_REQUEST_SERIES ? labels : stranger(labels));
    let series = this.requests.get(text);
    if (series === undefined) {
      series = new RequestSeries(text);
      this.requests.set(text, series);
    }
    return series;
  }

  /** The same object for equal labels. Costs microseconds: call it ahead. */
  tcpSeries(labels: TcpLabels): TcpSeries {
    const known = this.tcp.get(tcpText(labels));
    if (known !== undefined) return known;
    const text = tcpText(this.tcp.size < MAX_TCP_SERIES ? labels : stranger(labels));
    let series = this.tcp.get(text);
    if (series === undefined) {
      series = new TcpSeries(text);
      this.tcp.set(text, series);
    }
    return series;
  }

  /**
   * A counter of weft's own, the same object for equal name and labels. `name` ends in `_total`. Label values must come
   * from a closed set (the error table, an enumeration), since there is no bound here.
   */
  counter(name: string, help: string, labels: Readonly<Record<string, string>>): Counter {
    const text = sortedText(labels);
    const key = `${name}{${text}}`;
    let counter = this.counters.get(key);
    if (counter === undefined) {
      counter = new Counter(name, help, text);
      this.counters.set(key, counter);
    }
    return counter;
  }

  /** A value read at each report; registering name and labels again replaces `read`. Threads' gauges add up. */
  gauge(name: string, help: string, labels: Readonly<Record<string, string>>, read: () => number): void {
    const text = sortedText(labels);
    this.gauges.set(`${name}{${text}}`, { name, help, labels: text, read });
  }

  /** A gauge's value in the next report only: of what may be gone by the one after it. Threads' values add up. */
  sample(name: string, help: string, labels: Readonly<Record<string, string>>, value: number): void {
    this.samples.push({ name, help, labels: sortedText(labels), value });
  }

  report(): MetricsReport {
    const { samples } = this;
    this.samples = [];
    const outcomes: Outcome[] = [];
    for (const series of this.requests.values()) outcomes.push(...series.outcomes);
    return {
      requests: rows(outcomes, REQUEST_CELLS),
      tcp: rows([...this.tcp.values()], TCP_CELLS),
      counters: [...this.counters.values()].map(({ name, help, labels, value }) => ({ name, help, labels, value })),
      gauges: [
        ...[...this.gauges.values()].map(({ name, help, labels, read }) => ({ name, help, labels, value: read() })),
        ...samples,
      ],
    };
  }
}

/** Requests of one label set. */
export class RequestSeries {
  readonly outcomes: Outcome[];
  private readonly text: string;
  private last: Outcome | null;

  constructor(text: string) {
    this.outcomes = [];
    this.text = text;
    this.last = null;
  }

  /**
   * Counts one finished request: `status` as the caller saw it (0: none was sent), `flag` Envoy's (`-` for none),
   * `grpcStatus` -1 where it was no gRPC, sizes of the bodies in bytes.
   */
  record(
    status: number,
    flag: string,
    grpcStatus: number,
    durationMs: number,
    requestBytes: number,
    responseBytes: number,
  ): void {
    // Requests mostly end like the one before them, so the search is the exception.
    let outcome = this.last;
    if (outcome === null || outcome.status !== status || outcome.flag !== flag || outcome.grpcStatus !== grpcStatus) {
      outcome = this.find(status, flag, grpcStatus);
      this.last = outcome;
    }
    const { cells } = outcome;
    cells[0]! += 1;
    cells[DURATION]! += durationMs;
    cells[DURATION + 1 + bucketOf(durationMs)]! += 1;
    cells[REQUEST_SIZE]! += requestBytes;
    cells[REQUEST_SIZE + 1 + bucketOf(requestBytes)]! += 1;
    cells[RESPONSE_SIZE]! += responseBytes;
    cells[RESPONSE_SIZE + 1 + bucketOf(responseBytes)]! += 1;
  }

  private find(status: number, flag: string, grpcStatus: number): Outcome {
    const known = this.known(status, flag, grpcStatus);
    if (known !== undefined) return known;
    if (this.outcomes.length < MAX_OUTCOMES) {
      return this.add(status, flag, grpcStatus, String(status));
    }
    const hundred = Math.floor(status / 100);
    // The class is stored as a negative status, which no request has, so that it is never mistaken for a real one.
    return this.known(-hundred, '-', -1) ?? this.add(-hundred, '-', -1, `${hundred}xx`);
  }

  private known(status: number, flag: string, grpcStatus: number): Outcome | undefined {
    for (const outcome of this.outcomes) {
      if (outcome.status === status && outcome.flag === flag && outcome.grpcStatus === grpcStatus) return outcome;
    }
    return undefined;
  }

  private add(status: number, flag: string, grpcStatus: number, code: string): Outcome {
    const text = `${this.text},${outcomeText(code, flag, grpcStatus)}`;
    const outcome = new Outcome(text, status, flag, grpcStatus);
    this.outcomes.push(outcome);
    return outcome;
  }
}

/** Requests of one label set that ended the same way. */
class Outcome {
  readonly labels: string;
  readonly status: number;
  readonly flag: string;
  readonly grpcStatus: number;
  readonly cells: Float64Array;

  constructor(labels: string, status: number, flag: string, grpcStatus: number) {
    this.labels = labels;
    this.status = status;
    this.flag = flag;
    this.grpcStatus = grpcStatus;
    this.cells = new Float64Array(REQUEST_CELLS);
  }
}

/** Opaque connections of one label set. Directions as in Istio: received from downstream, sent back to it. */
export class TcpSeries {
  readonly labels: string;
  readonly cells: Float64Array;

  constructor(labels: string) {
    this.labels = labels;
    this.cells = new Float64Array(TCP_CELLS);
  }

  opened(): void {
    this.cells[OPENED]! += 1;
  }

  closed(): void {
    this.cells[CLOSED]! += 1;
  }

  sent(bytes: number): void {
    this.cells[SENT]! += bytes;
  }

  received(bytes: number): void {
    this.cells[RECEIVED]! += bytes;
  }
}

export class Counter {
  readonly name: string;
  readonly help: string;
  readonly labels: string;
  value: number;

  constructor(name: string, help: string, labels: string) {
    this.name = name;
    this.help = help;
    this.labels = labels;
    this.value = 0;
  }

  inc(n = 1): void {
    this.value += n;
  }
}

interface Gauge {
  readonly name: string;
  readonly help: string;
  readonly labels: string;
  readonly read: () => number;
}

/** Index of the first bucket whose bound is not below `value`. Linear: most requests are small and quick. */
function bucketOf(value: number): number {
  let at = 0;
  while (at < BUCKET_BOUNDS.length && value > BUCKET_BOUNDS[at]!) at++;
  return at;
}

function rows(source: readonly { readonly labels: string; readonly cells: Float64Array }[], width: number): Rows {
  const cells = new Float64Array(source.length * width);
  for (const [at, row] of source.entries()) cells.set(row.cells, at * width);
  return { labels: source.map((row) => row.labels), cells };
}

function stranger<T extends TcpLabels>(labels: T): T {
  return { ...labels, source: UNKNOWN_PARTY, destination: UNKNOWN_PARTY, service: UNKNOWN_SERVICE };
}

/** In order of name, so that equal labels are equal text. */
function sortedText(labels: Readonly<Record<string, string>>): string {
  return Object.keys(labels)
    .toSorted()
    .map((name) => label(name, labels[name] ?? ''))
    .join(',');
}
