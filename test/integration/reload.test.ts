import { afterAll, expect, test } from 'vitest';
import { type Backend, startBackend, text } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { closedLoop } from '../support/load.ts';
import { httpRoute } from '../support/policy.ts';
import { ask, countLines, get, logLine, meshed, plain, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const backends: Backend[] = [mesh.own(await startBackend(text('blue'))), mesh.own(await startBackend(text('green')))];
afterAll(() => mesh[Symbol.asyncDispose]());

const RELOADS = 200;

/** Policy number `turn`: endpoints and route change from one to the next, and each has a hash of its own. */
function policy(turn: number): string[] {
  const ports = backends.map(({ port }) => port);
  const rules = [
    { matches: [{ path: { type: 'Exact', value: `/turn/${turn}` } }], backendRefs: [{ name: 'app', port: 80 }] },
    { backendRefs: [{ name: 'app', port: 80 }] },
  ];
  const endpoints = turn % 3 === 0 ? ports : [ports[turn % 2] as number];
  return [...plain({ name: 'app', endpoints }), httpRoute({ name: 'app', parent: 'app', rules })];
}

test(`${RELOADS} reloads under load fail no request`, { timeout: 120_000 }, async () => {
  const weft = await mesh.start({ account: 'caller', documents: policy(0), flags: ['--threads', '2'] });
  const stop = new AbortController();
  const load = closedLoop({
    port: weft.ports.outbound,
    headers: { host: 'app' },
    method: 'POST',
    body: 'x',
    connections: 8,
    signal: stop.signal,
  });
  const started = performance.now();
  for (let turn = 1; turn <= RELOADS; turn++) await mesh.apply(weft, 'caller', policy(turn));
  const ms = performance.now() - started;
  stop.abort();
  const report = await load;
  console.log(`${RELOADS} reloads in ${Math.round(ms)} ms under ${Math.round((report.sent * 1000) / ms)} requests/s`);
  expect([...report.failures]).toEqual([]);
  expect(report.sent).toBeGreaterThan(RELOADS);
  expect(await weft.metric('weft_policy_reloads_total', 'result="applied"')).toBe(RELOADS + 1);
});

test('a change of routes closes no connection, and the next request is judged by the new ones', async () => {
  const [blue, green] = [
    plain({ name: 'blue', endpoints: [backends[0]?.port ?? 0] }),
    plain({ name: 'green', endpoints: [backends[1]?.port ?? 0] }),
  ];
  const documents = (to: string): string[] => [
    ...blue,
    ...green,
    ...plain({ name: 'app', endpoints: [] }),
    httpRoute({ name: 'app', parent: 'app', rules: [{ backendRefs: [{ name: to, port: 80 }] }] }),
  ];
  const weft = await mesh.start({ account: 'routes', documents: documents('blue') });
  using client = await openClient(weft.ports.outbound);
  expect((await client.exchange(get('app'))).body.toString()).toBe('blue');
  await mesh.apply(weft, 'routes', documents('green'));
  expect((await client.exchange(get('app'))).body.toString()).toBe('green');
});

test('a broken policy changes nothing, is counted, and is said once', async () => {
  const weft = await mesh.start({
    account: 'broken',
    documents: plain({ name: 'app', endpoints: [backends[0]?.port ?? 0] }),
  });
  mesh.folder.write('broken-policy/extra.yaml', 'kind: Service\n');
  const line = await logLine(weft, ({ msg }) => msg === 'policy problem: the last good policy stays in force');
  expect(line['problem']).toContain('extra.yaml:1');
  expect((await ask(weft.ports.outbound, get('app'))).status).toBe(200);
  expect(await weft.metric('weft_policy_reloads_total', 'result="refused"')).toBeGreaterThan(0);
  const dump = (await (await weft.ask('admin', '/config_dump')).json()) as { policy: { problems: string[] } };
  expect(dump.policy.problems).toHaveLength(countLines(weft, 'policy problem'));
});

test('a certificate that changes under load fails no request', async () => {
  const callee = await mesh.start({ account: 'callee', app: backends[0]?.port ?? 0 });
  const caller = await mesh.start({
    account: 'rotating',
    documents: meshed({ name: 'callee', endpoints: [callee.ports.inbound] }),
  });
  const stop = new AbortController();
  const load = closedLoop({
    port: caller.ports.outbound,
    headers: { host: 'callee', connection: 'close' },
    method: 'POST',
    body: 'x',
    connections: 4,
    signal: stop.signal,
  });
  for (let turn = 1; turn <= 5; turn++) {
    for (const [account, weft] of [
      ['callee', callee],
      ['rotating', caller],
    ] as const) {
      const before = countLines(weft, 'certificate in use');
      mesh.certify(account);
      await eventually('the certificate is in use', () => countLines(weft, 'certificate in use') > before || undefined);
    }
  }
  stop.abort();
  const report = await load;
  expect([...report.failures]).toEqual([]);
  expect(report.sent).toBeGreaterThan(10);
});
