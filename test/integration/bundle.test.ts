import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildBundle } from '../../deploy/build.ts';
import { TraceReceiver } from '../../deploy/demo/otlp.ts';
import { startBackend } from '../support/backend.ts';
import { TestCa, writeIdentity } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { closedLoop } from '../support/load.ts';
import { olderNodes } from '../support/nodes.ts';
import { endpointSlice, Folder, policyText, service } from '../support/policy.ts';
import { skip } from '../support/skips.ts';
import { startWeft, type Weft } from '../support/weft.ts';

// Outside of the tree, so that nothing of it, node_modules least of all, can be found from there.
const folder = mkdtempSync(join(tmpdir(), 'weft-bundle-'));
const bundle = join(folder, 'weft.js');

// Compressing what is rarely needed takes seconds, and more on a busy machine.
beforeAll(() => buildBundle(folder), 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

function run(node: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(node, [bundle, ...args], { cwd: folder, env: { PATH: '/usr/bin:/bin' } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

test('the bundle is one program, with its addon and what few need beside it', () => {
  const packed = ['node-forge.br', 'opentelemetry-sdk-node.br', 're2js.br', 'undici.br', 'yaml.br'];
  expect(readdirSync(folder).sort()).toEqual(['koffi.node', 'package.json', 'weft.js', ...packed].sort());
});

test('the bundle prints the help of the proxy', async () => {
  const { code, stdout, stderr } = await run(process.execPath, 'proxy', '--help');
  expect(stdout).toContain('--policy-tests');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

test('the bundle tells an older Node in one sentence that it is too old', async () => {
  const [old] = olderNodes();
  if (old === undefined) skip('no older Node on PATH');
  const { code, stdout, stderr } = await run(old.path, 'proxy', '--help');
  expect(stderr).toMatch(/^weft needs Node 26\.10 or later, this is [0-9.]+: [^\n]+\n$/);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
});

test('two bundled sidecars carry a request over mutual TLS, log it, and send its spans', async () => {
  const receiver = await TraceReceiver.start();
  await using backend = await startBackend();
  using files = new Folder('weft-bundle-test-');
  const ca = new TestCa();
  for (const name of ['shop', 'stock']) writeIdentity(join(files.path, name), ca.identity(`default/${name}`));
  const start = (name: string): Promise<Weft> =>
    startWeft({
      main: bundle,
      policy: join(files.path, 'policy'),
      certs: join(files.path, name),
      app: `127.0.0.1:${backend.port}`,
      flags: ['--access-log', 'json', '--service-account', name],
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_TRACES_SAMPLER: 'always_on',
        OTEL_BSP_SCHEDULE_DELAY: '50',
      },
    });
  mkdirSync(join(files.path, 'policy'));
  await using stock = await start('stock');
  const ports = [{ name: 'http', port: stock.ports.inbound }];
  const documents = [
    service({ name: 'stock', ports: [{ port: 80, name: 'http' }] }),
    endpointSlice({ service: 'stock', ports, endpoints: ['127.0.0.1'] }),
  ];
  files.write('policy/stock.yaml', policyText(documents));
  await using shop = await start('shop');

  const load = await closedLoop({ port: shop.ports.outbound, headers: { host: 'stock' }, connections: 1, requests: 1 });

  expect(load.failures).toEqual(new Map());
  const line = await stock.program.waitForLine((text) => (text.includes('"direction":"inbound"') ? text : undefined));
  expect(JSON.parse(line)).toMatchObject({
    status: 200,
    downstream_principal: 'spiffe://cluster.local/ns/default/sa/shop',
  });
  const kinds = await eventually('both spans arrived', () =>
    receiver.spans.length === 2 ? new Set(receiver.spans.map((span) => span.kind)) : undefined,
  );
  expect(kinds).toEqual(new Set(['CLIENT', 'SERVER']));
  receiver.close();
});
