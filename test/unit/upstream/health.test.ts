import { expect, test } from 'vitest';
import { HealthChecks, type UnhealthyEndpoints } from '../../../proxy/upstream/health.ts';
import type { ClusterSpec } from '../../../proxy/upstream/spec.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { cluster, document, service, slice, snapshotOf } from '../../support/policy-documents.ts';

const KEY = 'shop/web:80';
const ENDPOINT = '10.0.0.1:80';

/** Service web with this endpoint, or with none, its policy's checks at this interval, or without any. */
function web({ ready = true, interval = '10s' }: { ready?: boolean; interval?: string | null } = {}): ClusterSpec[] {
  const endpoint = `{addresses: [10.0.0.1], conditions: {ready: ${ready}}}`;
  const slices = slice('web', `addressType: IPv4\nports: [{name: http, port: 80}]\nendpoints: [${endpoint}]\n`);
  const check = `healthCheck: {active: {type: TCP, interval: ${interval}, unhealthyThreshold: 1, healthyThreshold: 1}}`;
  const policy = document('TrafficPolicy', 'web', `{targetRefs: [{group: "", kind: Service, name: web}], ${check}}`);
  return [cluster(snapshotOf(service('web') + slices + (interval === null ? '' : policy)), KEY)];
}

class Fixture {
  readonly clock = new ManualClock();
  /** What is wrong with the endpoint; null: nothing. */
  problem: string | null = null;
  asked = 0;
  readonly changes: boolean[] = [];
  /** What the data threads were told last. */
  told: UnhealthyEndpoints = {};
  readonly checks = new HealthChecks(
    this.clock,
    new Random(1),
    async () => {
      this.asked++;
      return this.problem;
    },
    {
      onChange: ({ healthy }) => this.changes.push(healthy),
      onUnhealthy: (unhealthy) => {
        this.told = unhealthy;
      },
    },
  );

  /** Time passes, and the answers of the checks that were made come in. */
  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('an endpoint that fails its check is unhealthy until it passes one', async () => {
  const fixture = new Fixture();
  fixture.checks.update(web());
  fixture.problem = 'refused';
  await fixture.pass(10_000);
  expect([fixture.changes, fixture.told]).toEqual([[false], { [KEY]: [ENDPOINT] }]);
  fixture.problem = null;
  await fixture.pass(11_000);
  expect([fixture.changes, fixture.told]).toEqual([[false, true], {}]);
});

test.each([
  ['is not ready any more', web({ ready: false })],
  ['is checked no longer', web({ interval: null })],
  ['is gone with its Service', []],
])('an unhealthy endpoint that %s is not unhealthy when it comes back', async (_what, without) => {
  const fixture = new Fixture();
  fixture.checks.update(web());
  fixture.problem = 'refused';
  await fixture.pass(10_000);
  fixture.checks.update(without);
  expect(fixture.told).toEqual({});
  fixture.problem = null;
  fixture.checks.update(web());
  await fixture.pass(10_000);
  expect([fixture.changes, fixture.told]).toEqual([[false], {}]);
});

test('a shorter interval counts from the moment it is policy', async () => {
  const fixture = new Fixture();
  fixture.checks.update(web({ interval: '1h' }));
  await fixture.pass(3_600_000);
  expect(fixture.asked).toBe(1);
  fixture.checks.update(web({ interval: '1s' }));
  await fixture.pass(1_000);
  expect(fixture.asked).toBe(2);
  fixture.checks.close();
  await fixture.pass(3_600_000);
  expect(fixture.asked).toBe(2);
});
