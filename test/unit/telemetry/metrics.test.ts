import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BUCKET_BOUNDS,
  MAX_OUTCOMES,
  MAX_REQUEST_SERIES,
  MAX_TCP_SERIES,
  Metrics,
  REQUEST_CELLS,
} from '../../../proxy/telemetry/metrics.ts';
import { ThreadReports } from '../../../proxy/telemetry/prometheus.ts';
import { Refusals } from '../../../proxy/telemetry/weft-series.ts';
import { FAILURES } from '../../../shared/errors.ts';
import { type ExposedFamily, parseExposition } from './exposition.ts';
import { party, requestLabels, tcpLabels } from './fixtures.ts';

function expose(...metrics: Metrics[]): Map<string, ExposedFamily> {
  const threads = new ThreadReports();
  for (const [thread, one] of metrics.entries()) threads.update(thread, structuredClone(one.report()));
  return parseExposition(threads.text(new Metrics().report()));
}

function total(families: Map<string, ExposedFamily>, name: string): number {
  return families.get(name)?.samples.reduce((sum, sample) => sum + sample.value, 0) ?? 0;
}

describe('request series', () => {
  test('are the same object for equal labels and another for any other', () => {
    const metrics = new Metrics();
    const series = metrics.requestSeries(requestLabels);
    expect(metrics.requestSeries({ ...requestLabels, source: party('storefront') })).toBe(series);
    expect(metrics.requestSeries({ ...requestLabels, source: party('checkout') })).not.toBe(series);
    expect(metrics.requestSeries({ ...requestLabels, reporter: 'destination' })).not.toBe(series);
  });

  test('carry exactly the labels of Istio', () => {
    const metrics = new Metrics();
    metrics.requestSeries(requestLabels).record(503, 'UH', -1, 1, 0, 0);
    const sample = expose(metrics).get('istio_requests_total')?.samples[0];
    expect(Object.fromEntries(sample?.labels ?? [])).toEqual({
      reporter: 'source',
      source_workload: 'storefront-v1',
      source_canonical_service: 'storefront',
      source_canonical_revision: 'v1',
      source_workload_namespace: 'shop',
      source_principal: 'spiffe://cluster.local/ns/shop/sa/storefront',
      source_app: 'storefront',
      source_version: 'v1',
      source_cluster: 'Kubernetes',
      destination_workload: 'catalog-v1',
      destination_workload_namespace: 'shop',
      destination_principal: 'spiffe://cluster.local/ns/shop/sa/catalog',
      destination_app: 'catalog',
      destination_version: 'v1',
      destination_service: 'catalog.shop.svc.cluster.local',
      destination_canonical_service: 'catalog',
      destination_canonical_revision: 'v1',
      destination_service_name: 'catalog',
      destination_service_namespace: 'shop',
      destination_cluster: 'Kubernetes',
      request_protocol: 'http',
      response_code: '503',
      response_flags: 'UH',
      connection_security_policy: 'unknown',
    });
  });

  test('name the gRPC status of gRPC calls only', () => {
    const metrics = new Metrics();
    metrics.requestSeries({ ...requestLabels, protocol: 'grpc' }).record(200, '-', 14, 1, 0, 0);
    const labels = expose(metrics).get('istio_requests_total')?.samples[0]?.labels;
    expect(labels?.get('grpc_response_status')).toBe('14');
    expect(labels?.get('request_protocol')).toBe('grpc');
  });

  test('count every ending apart', () => {
    const metrics = new Metrics();
    const series = metrics.requestSeries(requestLabels);
    series.record(200, '-', -1, 1, 0, 0);
    series.record(503, 'UH', -1, 1, 0, 0);
    series.record(200, '-', -1, 1, 0, 0);
    series.record(503, 'UO', -1, 1, 0, 0);
    const counts = expose(metrics)
      .get('istio_requests_total')
      ?.samples.map((sample) => [
        sample.labels.get('response_code'),
        sample.labels.get('response_flags'),
        sample.value,
      ]);
    expect(counts).toEqual([
      ['200', '-', 2],
      ['503', 'UH', 1],
      ['503', 'UO', 1],
    ]);
  });

  test('fill the bucket whose bound is not below the value, for any value', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), fc.constantFrom(...BUCKET_BOUNDS), (any, bound) => {
        for (const value of [any, bound]) {
          const metrics = new Metrics();
          metrics.requestSeries(requestLabels).record(200, '-', -1, value, 0, 0);
          for (const { labels, value: count } of buckets(metrics)) {
            expect(count).toBe(value <= Number(labels.get('le')?.replace('+Inf', 'Infinity')) ? 1 : 0);
          }
        }
      }),
      { seed: 2, numRuns: 50 },
    );
  });

  test('sum what they saw in each histogram', () => {
    const metrics = new Metrics();
    const series = metrics.requestSeries(requestLabels);
    series.record(200, '-', -1, 1.5, 100, 2000);
    series.record(200, '-', -1, 2.25, 50, 30);
    const families = expose(metrics);
    const part = (name: string, suffix: string): number | undefined =>
      families.get(name)?.samples.find((sample) => sample.name === name + suffix)?.value;
    expect(part('istio_request_duration_milliseconds', '_sum')).toBe(3.75);
    expect(part('istio_request_bytes', '_sum')).toBe(150);
    expect(part('istio_response_bytes', '_sum')).toBe(2030);
    expect(part('istio_response_bytes', '_count')).toBe(2);
  });

  test('lose no request to a flood of status codes, and stay few', () => {
    const metrics = new Metrics();
    const series = metrics.requestSeries(requestLabels);
    for (let status = 100; status < 1000; status++) series.record(status, '-', -1, 1, 0, 0);
    const families = expose(metrics);
    expect(total(families, 'istio_requests_total')).toBe(900);
    const codes = families.get('istio_requests_total')?.samples.map((sample) => sample.labels.get('response_code'));
    expect(codes).toContain('5xx');
    expect(codes?.length).toBe(MAX_OUTCOMES + 9);
  });

  test('lose no request to a flood of identities, and stay few', () => {
    const metrics = new Metrics();
    for (let peer = 0; peer < MAX_REQUEST_SERIES + 500; peer++) {
      metrics.requestSeries({ ...requestLabels, source: party(`p${peer}`) }).record(200, '-', -1, 1, 0, 0);
      metrics.tcpSeries({ ...tcpLabels, source: party(`p${peer}`) }).opened();
    }
    const report = metrics.report();
    expect(report.requests.labels.length).toBe(MAX_REQUEST_SERIES + 1);
    expect(report.tcp.labels.length).toBe(MAX_TCP_SERIES + 1);
    const counts = report.requests.labels.map((_, at) => report.requests.cells[at * REQUEST_CELLS]);
    expect(counts.reduce((sum: number, count) => sum + (count ?? 0), 0)).toBe(MAX_REQUEST_SERIES + 500);
  });
});

describe('a report', () => {
  test('does not change with what is counted after it', () => {
    const metrics = new Metrics();
    const series = metrics.requestSeries(requestLabels);
    series.record(200, '-', -1, 1, 0, 0);
    const report = metrics.report();
    series.record(200, '-', -1, 1, 0, 0);
    expect(report.requests.cells[0]).toBe(1);
  });

  test('crosses a thread boundary whole', () => {
    const metrics = new Metrics();
    metrics.requestSeries(requestLabels).record(200, '-', -1, 1, 2, 3);
    metrics.counter('weft_x_total', 'x', { a: 'b' }).inc(4);
    metrics.gauge('weft_y', 'y', {}, () => 5);
    expect(structuredClone(metrics.report())).toEqual(metrics.report());
  });

  test('adds up the threads', () => {
    const threads = [new Metrics(), new Metrics()];
    for (const metrics of threads) {
      metrics.requestSeries(requestLabels).record(200, '-', -1, 2, 3, 4);
      const tcp = metrics.tcpSeries(tcpLabels);
      tcp.opened();
      tcp.sent(10);
      tcp.received(7);
      tcp.closed();
      new Refusals(metrics).count(FAILURES.noRoute);
      metrics.gauge('weft_active_requests', 'now', {}, () => 3);
    }
    const families = expose(...threads);
    expect(total(families, 'istio_requests_total')).toBe(2);
    expect(total(families, 'istio_tcp_connections_opened_total')).toBe(2);
    expect(total(families, 'istio_tcp_connections_closed_total')).toBe(2);
    expect(total(families, 'istio_tcp_sent_bytes_total')).toBe(20);
    expect(total(families, 'istio_tcp_received_bytes_total')).toBe(14);
    expect(total(families, 'weft_active_requests')).toBe(6);
    const refusal = families
      .get('weft_refusals_total')
      ?.samples.find((sample) => sample.labels.get('word') === 'no_route');
    expect(refusal?.value).toBe(2);
  });

  test('of a thread that died keeps its counters and drops its gauges', () => {
    const metrics = new Metrics();
    metrics.requestSeries(requestLabels).record(200, '-', -1, 2, 3, 4);
    metrics.counter('weft_x_total', 'x', {}).inc(5);
    metrics.gauge('weft_y', 'y', {}, () => 3);
    const threads = new ThreadReports();
    threads.update(0, metrics.report());
    threads.retire(0);
    threads.retire(0);
    const successor = new Metrics();
    successor.counter('weft_x_total', 'x', {}).inc(1);
    threads.update(0, successor.report());
    for (let scrape = 0; scrape < 2; scrape++) {
      const families = parseExposition(threads.text(new Metrics().report()));
      expect(total(families, 'istio_requests_total')).toBe(1);
      expect(total(families, 'weft_x_total')).toBe(6);
      expect(families.has('weft_y')).toBe(false);
    }
  });
});

describe('the Prometheus text', () => {
  test('is well formed, with a type and a help line for each family', () => {
    const metrics = new Metrics();
    metrics.requestSeries(requestLabels).record(200, '-', -1, 0.123, 1e9, 1e12);
    metrics.tcpSeries(tcpLabels).opened();
    metrics.gauge('weft_odd', 'odd', {}, () => Number.POSITIVE_INFINITY);
    const families = expose(metrics);
    expect([...families].map(([name, family]) => `${name} ${family.type}`)).toEqual([
      'istio_requests_total counter',
      'istio_request_duration_milliseconds histogram',
      'istio_request_bytes histogram',
      'istio_response_bytes histogram',
      'istio_tcp_connections_opened_total counter',
      'istio_tcp_connections_closed_total counter',
      'istio_tcp_sent_bytes_total counter',
      'istio_tcp_received_bytes_total counter',
      'weft_odd gauge',
    ]);
    expect(families.get('weft_odd')?.samples[0]?.value).toBe(Number.POSITIVE_INFINITY);
  });

  test('gives back any label value that went in, and any help text stays one line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (value, other) => {
        const metrics = new Metrics();
        metrics
          .counter('weft_x_total', `first\nsecond \\ ${other.replaceAll(/[\r\n]/g, '')}`, { b: value, a: other })
          .inc();
        metrics
          .requestSeries({ ...requestLabels, source: { ...party('a'), app: value } })
          .record(200, '-', -1, 1, 1, 1);
        const families = expose(metrics);
        const labels = families.get('weft_x_total')?.samples[0]?.labels;
        expect(labels?.get('b')).toBe(value);
        expect(labels?.get('a')).toBe(other);
        expect(families.get('istio_requests_total')?.samples[0]?.labels.get('source_app')).toBe(value);
      }),
      { seed: 3, numRuns: 60 },
    );
  }, 60_000);

  test.each([
    ['a sample without its family', 'a 1\n'],
    ['a type without help', '# TYPE a counter\na 1\n'],
    ['a family in two places', '# HELP a x\n# TYPE a counter\na 1\n# HELP a x\n# TYPE a counter\na{b="c"} 1\n'],
    ['a series twice', '# HELP a x\n# TYPE a counter\na{b="c"} 1\na{b="c"} 2\n'],
    ['an escape that is none', '# HELP a x\n# TYPE a counter\na{b="\\x"} 1\n'],
    ['a quote inside a value', '# HELP a x\n# TYPE a counter\na{b="c"d"} 1\n'],
    ['no last line feed', '# HELP a x\n# TYPE a counter\na 1'],
    ['a value that is no number', '# HELP a x\n# TYPE a counter\na undefined\n'],
  ])('would be refused by these tests with %s', (_, text) => {
    expect(() => parseExposition(text)).toThrow();
  });

  test('has the same order whatever the order of counting', () => {
    const text = (peers: readonly string[]): string => {
      const metrics = new Metrics();
      for (const peer of peers) {
        metrics.requestSeries({ ...requestLabels, source: party(peer) }).record(200, '-', -1, 1, 1, 1);
        metrics.counter('weft_x_total', 'x', { peer }).inc();
      }
      return new ThreadReports().text(metrics.report());
    };
    expect(text(['a', 'b', 'c'])).toBe(text(['c', 'a', 'b']));
  });

  test('has buckets that never fall and end at the count', () => {
    const metrics = new Metrics();
    const series = metrics.requestSeries(requestLabels);
    for (let i = 0; i < 200; i++) series.record(200, '-', -1, i * i, 0, 0);
    const counts = buckets(metrics).map((sample) => sample.value);
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect(counts.at(-1)).toBe(200);
    expect(counts.length).toBe(BUCKET_BOUNDS.length + 1);
  });
});

function buckets(metrics: Metrics): ExposedFamily['samples'] {
  const name = 'istio_request_duration_milliseconds';
  return (
    expose(metrics)
      .get(name)
      ?.samples.filter((sample) => sample.name === `${name}_bucket`) ?? []
  );
}

describe('counters', () => {
  test('are the same object for equal name and labels in any order', () => {
    const metrics = new Metrics();
    const counter = metrics.counter('weft_x_total', 'x', { a: '1', b: '2' });
    expect(metrics.counter('weft_x_total', 'x', { b: '2', a: '1' })).toBe(counter);
    expect(metrics.counter('weft_x_total', 'x', { b: '2', a: '2' })).not.toBe(counter);
  });

  test('exist for every word of the error table before anything was refused', () => {
    const metrics = new Metrics();
    const refusals = new Refusals(metrics);
    const words = new Set(Object.values(FAILURES).map((failure) => failure.word));
    expect(expose(metrics).get('weft_refusals_total')?.samples.length).toBe(words.size);
    for (const failure of Object.values(FAILURES)) refusals.count(failure);
    expect(total(expose(metrics), 'weft_refusals_total')).toBe(Object.values(FAILURES).length);
  });
});
