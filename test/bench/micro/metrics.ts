/**
 * What telemetry costs per request on the data thread, in nanoseconds: counting, trace context, log lines, spans.
 * Run: `node test/bench/micro/metrics.ts`; about three seconds.
 */
import { Fields } from '../../../proxy/http/message.ts';
import { ExchangeTrace } from '../../../proxy/session/exchange-trace.ts';
import { openAccessLog } from '../../../proxy/telemetry/access-log.ts';
import { Metrics } from '../../../proxy/telemetry/metrics.ts';
import { ThreadReports } from '../../../proxy/telemetry/prometheus.ts';
import { startTrace } from '../../../proxy/telemetry/propagation.ts';
import type { RequestRecord } from '../../../proxy/telemetry/record.ts';
import { Sampler } from '../../../proxy/telemetry/sampling.ts';
import { serverSpan } from '../../../proxy/telemetry/span.ts';
import { systemClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { party, requestLabels, requestRecord, tcpLabels } from '../../unit/telemetry/fixtures.ts';

const ROUNDS = 5;

/** The best of five rounds: the machine's own noise only ever adds. */
function measure(name: string, goal: number, repeats: number, run: (at: number) => void): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    for (let at = 0; at < repeats; at++) run(at);
    best = Math.min(best, Number(process.hrtime.bigint() - start) / repeats);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(0).padStart(8)} ns   goal ${goal}`);
}

const metrics = new Metrics();
const series = metrics.requestSeries(requestLabels);
measure('request counted, all alike', 150, 1_000_000, (at) => series.record(200, '-', -1, (at & 15) / 2, 0, 1024));
measure('request counted, every eighth refused', 150, 1_000_000, (at) => {
  if ((at & 7) === 0) series.record(503, 'UH', -1, 1, 0, 19);
  else series.record(200, '-', -1, (at & 255) / 2, 300, 20_000);
});
const tcp = metrics.tcpSeries(tcpLabels);
measure('TCP bytes counted', 20, 1_000_000, (at) => tcp.sent(at));
measure('series looked up by its labels', 10_000, 50_000, () => metrics.requestSeries(requestLabels));

const random = new Random(1);
measure('trace ID made', 300, 200_000, () => random.hex(16));
measure('request ID made', 400, 200_000, () => random.uuid());
const names = 'Host User-Agent Accept Accept-Encoding X-Request-Id Content-Type traceparent'.split(' ');
const values = ['catalog', 'curl/8', '*/*', 'gzip', '1', 'text/plain', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`];
const sampler = new Sampler(1, true);
measure('trace context taken and passed on', 1000, 200_000, () => {
  const headers = new Fields(names.slice(), values.slice());
  new ExchangeTrace(headers, sampler, random).lines(headers, 1);
});
measure('trace begun without a caller', 1000, 200_000, () => {
  const headers = new Fields(names.slice(0, 6), values.slice(0, 6));
  new ExchangeTrace(headers, sampler, random).lines(headers, 1);
});

const context = startTrace(new Fields(), new Sampler(100, true), random);
measure('span record of a sampled request', 2000, 100_000, () => serverSpan(requestRecord, context));

const records = Array.from({ length: 16 }, (_, at) => ({ ...requestRecord, path: `/items/${at}`, responseBytes: at }));
let written = 0;
const count = (lines: Uint8Array): void => {
  written += lines.length;
};
for (const format of ['json', 'text'] as const) {
  const log = openAccessLog(format, systemClock, count);
  measure(`access log line, ${format}`, 3000, 100_000, (at) => {
    log.request(records[at & 15] as RequestRecord);
  });
  log.flush();
}
if (written === 0) throw new Error('nothing was written');

for (let peer = 0; peer < 100; peer++) {
  const one = metrics.requestSeries({ ...requestLabels, source: party(`peer${peer}`) });
  for (const status of [200, 404, 503]) one.record(status, '-', -1, 1, 1, 1);
}
measure('report of 300 outcomes, copied', 1_000_000, 200, () => structuredClone(metrics.report()));
const threads = new ThreadReports();
measure('Prometheus text of 300 outcomes', 50_000_000, 5, () => threads.text(metrics.report()));
