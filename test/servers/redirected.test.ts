/** A server that speaks first, in pods whose traffic is redirected: neither side knows of a proxy, and no port is declared. */
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { serviceOf } from '../netns/documents.ts';
import { lacking } from '../support/debian.ts';
import { mayHavePods, type Pod, PodNetwork, requirePods } from '../support/pods.ts';
import { skip } from '../support/skips.ts';
import { DELAY_TEST_MS, expectDelay } from './delay.ts';
import { mariaDbClient, PASSWORD, startMariaDb } from './mariadb.ts';

const ADDRESS = '10.96.0.50';
const DATABASE = 3306;
const BANNER = 2525;
/** Not redirected on either side: the way without sidecars. */
const BARE = 2526;
const START_MS = 300_000;
/** Each sidecar waits 2 ms for the caller to speak. */
const DELAY_MS = 8;
vi.setConfig({ testTimeout: DELAY_TEST_MS });

const owned = new AsyncDisposableStack();
let network: PodNetwork;
let app: Pod;
let database: Pod;
let lack: string | null = null;

beforeEach(async () => {
  await requirePods();
  if (lack !== null) skip(lack);
});

beforeAll(async () => {
  if (!(await mayHavePods())) return;
  lack = await lacking('mariadb-server-core', 'mariadb-client-core');
  if (lack !== null) return;
  network = owned.use(await PodNetwork.create());
  app = await network.pod('app');
  database = await network.pod('database');
  const ports = [DATABASE, BANNER].map((port) => ({ name: `p${port}`, port, targetPort: port }));
  network.write(serviceOf({ name: 'database', clusterIPs: [ADDRESS], ports, pods: [database], ipv4Only: true }));
  await Promise.all([
    app.redirect('--exclude-outbound-ports', `${BARE}`),
    database.redirect('--exclude-inbound-ports', `${BARE}`),
  ]);
  await Promise.all([app.startWeft(), database.startWeft()]);
  await startMariaDb(owned, { address: '0.0.0.0', port: DATABASE, namespace: database.namespace });
  for (const port of [BANNER, BARE]) await database.do('serve', { kind: 'banner', port });
}, START_MS);

afterAll(() => owned.disposeAsync());

const sql = (host: string, statements: string): Promise<string> =>
  app.shell(`MYSQL_PWD='${PASSWORD}' ${mariaDbClient(host, DATABASE)} -e "${statements}"`);

test('MariaDB is found by its Service address and by its pod address, and both calls carry an identity', async () => {
  for (const host of [ADDRESS, database.ipv4]) {
    expect(await sql(host, 'SELECT CURRENT_USER(), 6 * 7')).toBe('weft@%\t42');
  }
  const who = 'source_principal="spiffe://cluster.local/ns/default/sa/app"';
  expect(await database.metric('istio_tcp_connections_opened_total', 'reporter="destination"', who)).toBe(2);
});

test('a greeting between pods whose sidecars have talked before comes at most 8 ms later', async () => {
  const greet = async (host: string, port: number): Promise<number> => {
    const from = performance.now();
    expect(await app.do('listenFirst', { host, port })).toBe(`220 database ${port}\r\n`);
    return performance.now() - from;
  };
  await greet(ADDRESS, BANNER);
  await expectDelay(
    DELAY_MS,
    () => greet(database.ipv4, BARE),
    () => greet(ADDRESS, BANNER),
  );
});
