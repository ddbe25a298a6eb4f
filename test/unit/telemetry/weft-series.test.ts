import { describe, expect, test, vi } from 'vitest';
import { Metrics } from '../../../proxy/telemetry/metrics.ts';
import { ThreadReports } from '../../../proxy/telemetry/prometheus.ts';
import {
  type ControlState,
  certificateRotations,
  policyReloads,
  registerControlGauges,
  registerDataGauges,
  retries,
  threadRestarts,
} from '../../../proxy/telemetry/weft-series.ts';
import { FAILURES } from '../../../shared/errors.ts';
import { parseExposition } from './exposition.ts';

function values(metrics: Metrics): Map<string, number | undefined> {
  const families = parseExposition(new ThreadReports().text(metrics.report()));
  return new Map([...families].map(([name, family]) => [name, family.samples[0]?.value]));
}

const CONTROL: ControlState = {
  certificateNotAfter: () => 0,
  certificateRotatedAt: () => 0,
  certificateFailedAt: () => 0,
  policyAppliedAt: () => 0,
  policyHash: () => '',
  ready: () => true,
  dataThreads: () => 2,
  logWritesDropped: () => 3,
};

describe("weft's own metrics", () => {
  test('are there while the process has no file descriptor left to read its memory with', () => {
    const metrics = new Metrics();
    registerControlGauges(metrics, '0.1.0', CONTROL);
    const rss = vi.spyOn(process.memoryUsage, 'rss').mockImplementation(() => {
      throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
    });
    try {
      const read = values(metrics);
      expect(read.get('weft_ready')).toBe(1);
      expect(read.get('weft_resident_memory_bytes')).toBeNaN();
    } finally {
      rss.mockRestore();
    }
  });

  test('of the control thread are read when they are asked for, times in seconds', () => {
    const metrics = new Metrics();
    let ready = false;
    let hash = '';
    registerControlGauges(metrics, '0.1.0', {
      ...CONTROL,
      certificateNotAfter: () => 1_700_000_000_500,
      certificateRotatedAt: () => 1_600_000_000_000,
      policyHash: () => hash,
      ready: () => ready,
    });
    const before = values(metrics);
    expect(before.get('weft_certificate_expiry_seconds')).toBe(1_700_000_000.5);
    expect(before.get('weft_certificate_last_rotation_seconds')).toBe(1_600_000_000);
    expect(before.get('weft_certificate_last_error_seconds')).toBe(0);
    expect(before.get('weft_policy_applied_seconds')).toBe(0);
    expect(before.get('weft_policy_hash')).toBe(0);
    hash = 'fedcba987654ffff';
    expect(values(metrics).get('weft_policy_hash')).toBe(0xfedcba987654);
    expect(before.get('weft_data_threads')).toBe(2);
    expect(before.get('weft_log_writes_dropped')).toBe(3);
    expect(before.get('weft_build_info')).toBe(1);
    expect(before.get('weft_resident_memory_bytes')).toBeGreaterThan(1e6);
    expect(before.get('weft_ready')).toBe(0);
    ready = true;
    expect(values(metrics).get('weft_ready')).toBe(1);
  });

  test('of a data thread are read when they are asked for', () => {
    const metrics = new Metrics();
    registerDataGauges(metrics, {
      downstreamConnections: () => 1,
      upstreamConnections: () => 2,
      activeRequests: () => 3,
    });
    const read = values(metrics);
    expect(read.get('weft_downstream_connections')).toBe(1);
    expect(read.get('weft_upstream_connections')).toBe(2);
    expect(read.get('weft_active_requests')).toBe(3);
  });

  test('that count end in _total and carry the reason as a label', () => {
    const metrics = new Metrics();
    policyReloads(metrics, 'refused').inc();
    certificateRotations(metrics, 'applied').inc();
    threadRestarts(metrics, 'out_of_memory').inc();
    retries(metrics, FAILURES.connectRefused).inc();
    const text = new ThreadReports().text(metrics.report());
    expect(text).toContain('weft_policy_reloads_total{result="refused"} 1\n');
    expect(text).toContain('weft_certificate_rotations_total{result="applied"} 1\n');
    expect(text).toContain('weft_thread_restarts_total{reason="out_of_memory"} 1\n');
    expect(text).toContain('weft_retries_total{word="connect_refused"} 1\n');
  });
});
