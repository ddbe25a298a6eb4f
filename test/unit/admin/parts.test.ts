import { describe, expect, test } from 'vitest';
import { type ClusterStatus, clustersText, mergeClusters } from '../../../proxy/admin/clusters.ts';
import { isLoopback, isOwnHost, isOwnOrigin } from '../../../proxy/admin/origin.ts';

function cluster(key: string, breaker: string, state: string): ClusterStatus {
  return {
    key,
    activeRequests: 1,
    connections: 2,
    concurrencyLimit: 20,
    concurrencyRefused: 7,
    breaker,
    breakerFailures: 1,
    breakerRequests: 5,
    retries: 2,
    endpoints: [
      {
        address: '10.0.0.7:80',
        state,
        ready: true,
        weight: 5,
        activeRequests: 1,
        connections: 2,
        requests: 3,
        failures: 4,
      },
    ],
  };
}

describe('clusters of several threads', () => {
  test('add up, in order of name, and show states that differ side by side', () => {
    const merged = mergeClusters([
      [cluster('b', 'admitting', 'admitting'), cluster('a', 'admitting', 'admitting')],
      [cluster('b', 'ejected', 'admitting')],
    ]);
    expect(merged.map(({ key, breaker, connections }) => [key, breaker, connections])).toEqual([
      ['a', 'admitting', 2],
      ['b', 'admitting/ejected', 4],
    ]);
    expect(merged[1]?.endpoints).toEqual([
      { ...cluster('b', '', 'admitting').endpoints[0], activeRequests: 2, connections: 4, requests: 6, failures: 8 },
    ]);
  });

  test('are one fact a line as text', () => {
    const lines = clustersText([cluster('a', 'admitting', 'probing')])
      .trimEnd()
      .split('\n');
    expect(lines).toContain('a::10.0.0.7:80::state::probing');
    expect(lines).toContain('a::10.0.0.7:80::rq_error::4');
    expect(lines).toContain('a::concurrency_limit::20');
    expect(lines).toContain('a::concurrency_refused::7');
    expect(lines.every((line) => line.startsWith('a::'))).toBe(true);
  });
});

describe('the machine itself', () => {
  test('is known by its loopback addresses', () => {
    for (const own of ['127.0.0.1', '127.255.0.1', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1'])
      expect(isLoopback(own)).toBe(true);
    for (const other of ['', '128.0.0.1', '127.evil.example', '::2', '::ffff:10.0.0.1', 'localhost']) {
      expect(isLoopback(other)).toBe(false);
    }
  });

  test('is known by the address the connection came to, however it is written, and by no name for it', () => {
    expect(isOwnHost('10.0.0.5:15000', '::ffff:10.0.0.5')).toBe(true);
    expect(isOwnHost('[fd00::5]:15000', 'fd00::5')).toBe(true);
    expect(isOwnHost('[FD00::5]', 'fd00::5')).toBe(true);
    expect(isOwnHost('10.0.0.6:15000', '10.0.0.5')).toBe(false);
    expect(isOwnHost('pod.shop', '10.0.0.5')).toBe(false);
    expect(isOwnHost('', '')).toBe(false);
  });

  test('is the origin of its own pages only', () => {
    expect(isOwnOrigin('http://127.0.0.1:15000', '127.0.0.1')).toBe(true);
    expect(isOwnOrigin('http://[::1]:15000', '127.0.0.1')).toBe(true);
    for (const origin of ['null', '', 'http://evil.example', 'http://localhost.evil.example', 'file://']) {
      expect(isOwnOrigin(origin, '127.0.0.1')).toBe(false);
    }
  });
});
