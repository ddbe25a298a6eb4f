import { expect, test } from 'vitest';
import { Application } from '../../../proxy/application.ts';
import type { LinkedSnapshot } from '../../../proxy/config/link.ts';
import type { AppProtocol } from '../../../proxy/config/snapshot.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { Clusters, MAX_DELIVERIES } from '../../../proxy/upstream/clusters.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

function clusters(): Clusters {
  const io = new IoThread(new ManualClock(), new Random(1));
  return new Clusters(io, { thread: 0, threads: 1 }, { onBreaker() {}, onEjection() {} });
}

const declaring = (protocol: AppProtocol): LinkedSnapshot =>
  ({ protocolAt: () => protocol }) as unknown as LinkedSnapshot;
const NOTHING = declaring('auto');

test.each([
  ['10.0.0.7', '127.0.0.6', 'app/10.0.0.7:8080'],
  ['fd00::7', '::6', 'app/[fd00::7]:8080'],
])('the application at %s is called there, from %s', (host, from, key) => {
  const { cluster } = new Application(clusters()).deliver({ host, port: 8080 }, NOTHING);
  expect([cluster.key, cluster.pool.settings.localAddress]).toEqual([key, from]);
  expect(cluster.pick(null)?.address).toBe(host);
});

test('a port is spoken to as policy declares it, also when that changes', () => {
  const application = new Application(clusters());
  const original = { host: '10.0.0.7', port: 8080 };
  const first = application.deliver(original, declaring('http2'));
  expect(first.cluster.pool.settings.protocol).toBe('http2');
  expect(application.deliver(original, NOTHING)).toBe(first);
  expect(first.cluster.pool.settings.protocol).toBe('auto');
});

test('--app stays, and of the ports that callers try only the last ones', () => {
  const all = clusters();
  const application = new Application(all);
  application.at({ host: '127.0.0.1', port: 1 });
  const deliver = (port: number): unknown => application.deliver({ host: '10.0.0.7', port }, NOTHING);
  const used = deliver(1);
  for (let port = 2; port <= MAX_DELIVERIES; port++) deliver(port);
  expect(deliver(1)).toBe(used);
  deliver(MAX_DELIVERIES + 1);
  const keys = [...all].map(({ key }) => key);
  expect(keys).toHaveLength(MAX_DELIVERIES + 1);
  expect(keys).toContain('app');
  expect(keys).toContain('app/10.0.0.7:1');
  expect(keys).not.toContain('app/10.0.0.7:2');
});
