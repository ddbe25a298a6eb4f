/** A pod that vanishes: its packets are dropped, nobody says so. Found in time, and other callers do not wait. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { quantile } from '../support/load.ts';
import { mayHavePods, type Pod, PodNetwork, requirePods } from '../support/pods.ts';
import { trafficPolicy } from '../support/policy.ts';
import { serviceOf } from './documents.ts';

const START_MS = 120_000;
const TEST_MS = 120_000;
const ALONE = { host: '10.96.0.10', port: 80 };
const PAIR = { host: '10.96.0.20', port: 80 };
const OTHER = { host: '10.96.0.30', port: 80 };
const CONNECT_MS = 500;
/** Not so short that the good one misses it where the machine stands still for a moment. */
const ATTEMPT_MS = 1_000;
/** What a busy machine adds to a timer; far below what a caller would wait without one. */
const SLACK_MS = 3_000;
const LEAST_ROUNDS = 3;
const MOST_ROUNDS = 12;
const ROUND_REQUESTS = 400;

let network: PodNetwork;
let caller: Pod;
let good: Pod;
let hole: Pod;

beforeEach(requirePods);

beforeAll(async () => {
  if (!(await mayHavePods())) return;
  network = await PodNetwork.create();
  caller = await network.pod('caller');
  good = await network.pod('good');
  hole = await network.pod('hole');
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
  network.write([
    ...serviceOf({ name: 'alone', clusterIPs: [ALONE.host], ports, pods: [hole], ipv4Only: true }),
    ...serviceOf({ name: 'pair', clusterIPs: [PAIR.host], ports, pods: [good, hole], ipv4Only: true }),
    ...serviceOf({ name: 'other', clusterIPs: [OTHER.host], ports, pods: [good], ipv4Only: true }),
    trafficPolicy('alone', { timeout: { tcp: { connectTimeout: `${CONNECT_MS}ms` } }, retry: { numRetries: 0 } }),
    trafficPolicy('pair', {
      timeout: { tcp: { connectTimeout: `${CONNECT_MS}ms` } },
      retry: { numRetries: 2, perRetry: { timeout: `${ATTEMPT_MS}ms` } },
      circuitBreaker: { retryBudget: { percent: 100, minRetriesPerSecond: 1000 } },
    }),
  ]);
  await Promise.all(network.pods.map((pod) => pod.redirect()));
  await Promise.all(network.pods.map((pod) => pod.startWeft()));
  await Promise.all([good, hole].map((pod) => pod.do('serve', { kind: 'http', port: 8080 })));
}, START_MS);

afterAll(() => network?.[Symbol.asyncDispose]());

/** Nothing that comes by the wire arrives. */
async function vanish(): Promise<void> {
  await hole.shell(
    'nft "add table inet hole; add chain inet hole in { type filter hook input priority 0; }; add rule inet hole in iifname eth0 drop"',
  );
}

afterEach(async () => {
  await hole?.shell('nft delete table inet hole 2>/dev/null || true');
});

test('a pod that cannot be reached is found within the connect timeout', async () => {
  await vanish();
  const started = performance.now();
  const answer = await caller.do('get', ALONE);
  const ms = performance.now() - started;
  expect([answer.status, answer.headers['proxy-status']]).toEqual([504, expect.stringContaining('connect_timeout')]);
  expect(ms).toBeGreaterThan(CONNECT_MS - 50);
  expect(ms).toBeLessThan(CONNECT_MS + SLACK_MS);
});

test('one of two that vanishes with its connections open costs no request', { timeout: TEST_MS }, async () => {
  expect((await caller.do('load', { ...PAIR, connections: 8, requests: 200 })).failures).toEqual([]);
  await vanish();
  const { failures, latencies } = await caller.do('load', { ...PAIR, connections: 8, requests: 400 });
  expect(failures).toEqual([]);
  expect(latencies.at(-1)).toBeLessThan(2 * ATTEMPT_MS + CONNECT_MS + SLACK_MS);
  // It is ejected: most requests do not meet it.
  expect(quantile(latencies, 0.5)).toBeLessThan(ATTEMPT_MS / 2);
});

test('other routes do not wait: their p99 stays below 1.5 times what it was', { timeout: TEST_MS }, async () => {
  const p99 = async (): Promise<number> => {
    const { failures, latencies } = await caller.do('load', { ...OTHER, connections: 2, requests: ROUND_REQUESTS });
    expect(failures).toEqual([]);
    return quantile(latencies, 0.99);
  };
  await p99();
  // In turn, and the best of each, for the machine has other things to do as well: a wait for the hole would be in all.
  const calm: number[] = [];
  const troubled: number[] = [];
  const holds = (): boolean => Math.min(...troubled) < 1.5 * Math.min(...calm);
  while (calm.length < LEAST_ROUNDS || (calm.length < MOST_ROUNDS && !holds())) {
    calm.push(await p99());
    await vanish();
    const lost = Array.from({ length: 16 }, () => caller.do('get', ALONE));
    troubled.push(await p99());
    for (const { status } of await Promise.all(lost)) expect([503, 504]).toContain(status);
    await hole.shell('nft delete table inet hole');
  }
  expect(Math.min(...troubled)).toBeLessThan(1.5 * Math.min(...calm));
});
