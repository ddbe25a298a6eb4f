/**
 * The control side of metrics: reports of all data threads and of control itself, added up and rendered in Prometheus
 * text format 0.0.4 (prometheus.io, "Exposition formats").
 */
import { label } from './labels.ts';
import {
  BUCKET_BOUNDS,
  BUCKETS,
  HISTOGRAM_CELLS,
  type MetricsReport,
  REQUEST_CELLS,
  type Rows,
  type Sample,
  TCP_CELLS,
} from './metrics.ts';

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * The last report of every thread, and the sum of what ended threads had counted, so that no counter ever goes down.
 * What a thread counted after its last report is lost with it.
 */
export class ThreadReports {
  private readonly living = new Map<number, MetricsReport>();
  private readonly ended = new Totals();

  /** Replaces the thread's report before. */
  update(thread: number, report: MetricsReport): void {
    this.living.set(thread, report);
  }

  /** The thread is gone: its counters stay, its gauges go. Its number may be used again. */
  retire(thread: number): void {
    const report = this.living.get(thread);
    if (report === undefined) return;
    this.living.delete(thread);
    this.ended.addCounts(report);
  }

  /** Everything as Prometheus text; `own` are the control thread's metrics. */
  text(own: MetricsReport): string {
    const totals = new Totals();
    totals.addTotals(this.ended);
    for (const report of [...this.living.values(), own]) {
      totals.addCounts(report);
      totals.addGauges(report);
    }
    return totals.text();
  }
}

type Cells = Map<string, Float64Array>;

/** Samples of one name, by label text. */
interface Family {
  readonly help: string;
  readonly values: Map<string, number>;
}

class Totals {
  private readonly requests: Cells = new Map();
  private readonly tcp: Cells = new Map();
  private readonly counters = new Map<string, Family>();
  private readonly gauges = new Map<string, Family>();

  addCounts(report: MetricsReport): void {
    addRows(this.requests, report.requests, REQUEST_CELLS);
    addRows(this.tcp, report.tcp, TCP_CELLS);
    for (const sample of report.counters) addSample(this.counters, sample);
  }

  addGauges(report: MetricsReport): void {
    for (const sample of report.gauges) addSample(this.gauges, sample);
  }

  addTotals(other: Totals): void {
    for (const [labels, cells] of other.requests) addCells(this.requests, labels, cells);
    for (const [labels, cells] of other.tcp) addCells(this.tcp, labels, cells);
    for (const [name, { help, values }] of other.counters) {
      for (const [labels, value] of values) addSample(this.counters, { name, help, labels, value });
    }
  }

  /** Families in a fixed order, their series in order of their labels. */
  text(): string {
    const out: string[] = [];
    writeIstio(out, sorted(this.requests), sorted(this.tcp));
    for (const [name, family] of sorted(this.counters)) writeFamily(out, name, 'counter', family);
    for (const [name, family] of sorted(this.gauges)) writeFamily(out, name, 'gauge', family);
    return out.join('');
  }
}

function addRows(into: Cells, rows: Rows, width: number): void {
  for (const [at, labels] of rows.labels.entries()) {
    addCells(into, labels, rows.cells.subarray(at * width, (at + 1) * width));
  }
}

function addCells(into: Cells, labels: string, cells: Float64Array): void {
  const sum = into.get(labels);
  if (sum === undefined) into.set(labels, cells.slice());
  else for (const [at, value] of cells.entries()) sum[at] = (sum[at] as number) + value;
}

function addSample(into: Map<string, Family>, sample: Sample): void {
  let family = into.get(sample.name);
  if (family === undefined) {
    family = { help: sample.help, values: new Map() };
    into.set(sample.name, family);
  }
  family.values.set(sample.labels, (family.values.get(sample.labels) ?? 0) + sample.value);
}

type Series = readonly (readonly [string, Float64Array])[];

const HISTOGRAMS: readonly (readonly [string, string])[] = [
  ['istio_request_duration_milliseconds', 'Duration of requests, in milliseconds.'],
  ['istio_request_bytes', 'Size of request bodies, in bytes.'],
  ['istio_response_bytes', 'Size of response bodies, in bytes.'],
];

/** In the order of the TCP cells. */
const TCP_COUNTERS: readonly (readonly [string, string])[] = [
  ['istio_tcp_connections_opened_total', 'Opaque connections opened.'],
  ['istio_tcp_connections_closed_total', 'Opaque connections closed.'],
  ['istio_tcp_sent_bytes_total', 'Bytes sent to the callers of opaque connections.'],
  ['istio_tcp_received_bytes_total', 'Bytes received from the callers of opaque connections.'],
];

/** Bucket labels, `+Inf` last. */
const LE: readonly string[] = [...BUCKET_BOUNDS.map(String), '+Inf'].map((bound) => label('le', bound));

function writeIstio(out: string[], requests: Series, tcp: Series): void {
  writeCells(out, 'istio_requests_total', 'Requests handled.', requests, 0);
  for (const [at, [name, help]] of HISTOGRAMS.entries()) {
    writeHistogram(out, name, help, requests, 1 + at * HISTOGRAM_CELLS);
  }
  for (const [at, [name, help]] of TCP_COUNTERS.entries()) writeCells(out, name, help, tcp, at);
}

function writeCells(out: string[], name: string, help: string, series: Series, cell: number): void {
  if (series.length === 0) return;
  writeHead(out, name, 'counter', help);
  for (const [labels, cells] of series) writeSample(out, name, labels, cells[cell] as number);
}

/** `first` is the cell of the sum; the buckets follow, each holding its own values only: the format wants them added up. */
function writeHistogram(out: string[], name: string, help: string, series: Series, first: number): void {
  if (series.length === 0) return;
  writeHead(out, name, 'histogram', help);
  for (const [labels, cells] of series) {
    let count = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      count += cells[first + 1 + bucket] as number;
      writeSample(out, `${name}_bucket`, `${labels},${LE[bucket]}`, count);
    }
    writeSample(out, `${name}_sum`, labels, cells[first] as number);
    writeSample(out, `${name}_count`, labels, count);
  }
}

function writeFamily(out: string[], name: string, type: 'counter' | 'gauge', family: Family): void {
  writeHead(out, name, type, family.help);
  for (const [labels, value] of sorted(family.values)) writeSample(out, name, labels, value);
}

function writeHead(out: string[], name: string, type: string, help: string): void {
  out.push(`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`);
}

function writeSample(out: string[], name: string, labels: string, value: number): void {
  out.push(labels === '' ? `${name} ${number(value)}\n` : `${name}{${labels}} ${number(value)}\n`);
}

/** As Go's ParseFloat reads it. */
function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}

/** By key, in the order of code units: the same on every machine. */
function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
