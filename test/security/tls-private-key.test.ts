/** The private key stays where it is: whatever goes wrong, nothing that weft prints or answers holds a line of it. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { ask, countLines, get, meshed, TinyMesh } from '../integration/mesh.ts';
import { asPeer, inUse, rotate } from '../integration/rotating.ts';
import { startBackend, text } from '../support/backend.ts';
import { badPeers } from '../support/certificates.ts';
import { openTlsClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Program, startProgram } from '../support/process.ts';
import { ROOT, type Weft } from '../support/weft.ts';
import { WorkloadApi } from '../support/workload-api.ts';

// Each starts programs, one after the other.
vi.setConfig({ testTimeout: 60_000 });

const mesh = new TinyMesh();
afterAll(() => mesh[Symbol.asyncDispose]());

/** Everything that would give the key away: its PEM lines, and the secret number in the usual spellings. */
function traces(key: string): string[] {
  const lines = key.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  const scalar = Buffer.from(createPrivateKey(key).export({ format: 'jwk' }).d ?? '', 'base64url');
  const der = createPrivateKey(key).export({ type: 'pkcs8', format: 'der' });
  return [
    ...lines,
    scalar.toString('hex'),
    scalar.toString('base64'),
    scalar.toString('base64url'),
    der.toString('hex'),
  ];
}

function expectNothingOf(keys: readonly string[], output: string): void {
  expect(keys.length).toBeGreaterThan(0);
  for (const trace of keys.flatMap(traces)) {
    expect(trace.length).toBeGreaterThan(16);
    expect(output.includes(trace), `the output holds ${trace}`).toBe(false);
  }
  expect(output).not.toMatch(/PRIVATE KEY-----/);
}

const PAGES = [
  '/',
  '/ready',
  '/config_dump',
  '/clusters',
  '/clusters?format=json',
  '/certs',
  '/stats/prometheus',
  '/none',
];

/** Every page of the three servers. */
async function told(weft: Weft): Promise<string> {
  const answers = [
    ...PAGES.map((path) => weft.ask('admin', path)),
    weft.ask('metrics', '/metrics'),
    weft.ask('ready', '/healthz/ready'),
  ];
  return (await Promise.all(answers.map(async (answer) => (await answer).text()))).join('\n');
}

test('of an identity from files, with every error that files can have', async () => {
  const app = mesh.own(await startBackend(text('served')));
  const weft = await mesh.start({ account: 'cart', app: app.port, flags: ['--access-log', 'json'] });
  await weft.ask('admin', '/logging?level=trace', { method: 'POST' });
  await mesh.apply(weft, 'cart', meshed({ name: 'cart', endpoints: [weft.ports.inbound] }));
  const own = mesh.ca.identity('default/cart');
  const other = mesh.ca.identity('default/cart');
  await rotate(mesh, weft, 'cart', own);
  const pages: string[] = [await told(weft)];
  const wrong = async (name: string, content: string): Promise<void> => {
    const before = countLines(weft, 'certificate problem');
    mesh.folder.write(`cart-certs/${name}`, content);
    await eventually(`${name} is refused`, () => countLines(weft, 'certificate problem') > before || undefined);
    pages.push(await told(weft));
    await rotate(mesh, weft, 'cart', mesh.ca.identity('default/cart'));
  };
  await wrong('tls.key', other.privateKey);
  await wrong('tls.key', own.privateKey.slice(0, 150));
  await wrong('tls.key', `${own.privateKey.slice(0, 80)}!!!${own.privateKey.slice(80)}`);
  await wrong('tls.crt', own.privateKey);
  await wrong('ca.crt', own.privateKey);
  // A key beside the certificates in their file is passed over, and goes no further.
  await rotate(mesh, weft, 'cart', { ...own, trustBundle: own.trustBundle + own.privateKey });
  await rotate(mesh, weft, 'cart', { ...other, certificateChain: other.privateKey + other.certificateChain });
  for (const { credentials } of badPeers(mesh.ca).slice(0, 5)) {
    const { ca, ALPNProtocols, checkServerIdentity } = asPeer(own);
    const shown = credentials === null ? {} : { cert: credentials.certificate, key: credentials.key };
    using client = await openTlsClient(weft.ports.inbound, { ca, ALPNProtocols, checkServerIdentity, ...shown });
    await client.ended;
  }
  expect((await ask(weft.ports.outbound, get('cart'))).status).toBe(200);
  pages.push(await told(weft));
  await weft.stop();
  expectNothingOf([own.privateKey, other.privateKey], `${pages.join('\n')}\n${weft.program.output}`);
});

test('of an identity from the Workload API, with every error that its messages can have', async () => {
  const api = new WorkloadApi(join(mesh.folder.path, 'agent.sock'));
  await api.listen();
  const own = mesh.ca.identity('default/pay');
  const other = mesh.ca.identity('default/pay');
  api.push(own);
  const weft = await mesh.start({ account: 'pay', env: { SPIFFE_ENDPOINT_SOCKET: api.endpoint } });
  await inUse(weft, own);
  const wrong = async (identity: Identity): Promise<void> => {
    const before = countLines(weft, 'certificate problem');
    api.push(identity);
    await eventually('it is refused', () => countLines(weft, 'certificate problem') > before || undefined);
  };
  await wrong({ ...own, privateKey: other.privateKey });
  await wrong({ ...own, certificateChain: '' });
  await wrong({ ...own, trustBundle: '' });
  await wrong({ ...own, spiffeId: 'spiffe://cluster.local/ns/default/sa/else' });
  const pages = await told(weft);
  await weft.stop();
  await api.close();
  expectNothingOf([own.privateKey, other.privateKey], `${pages}\n${weft.program.output}`);
});

test('of a CA and of what it issues, on the command line', async () => {
  const folder = join(mesh.folder.path, 'ca');
  const weft = async (...args: string[]): Promise<Program> => {
    const program = startProgram({ command: process.execPath, args: [join(ROOT, 'proxy/main.ts'), 'ca', ...args] });
    await program.exit;
    return program;
  };
  const id = ['--spiffe-id', 'spiffe://cluster.local/ns/default/sa/cart'];
  const out = join(mesh.folder.path, 'out');
  const runs = [
    await weft('init', folder),
    await weft('init', folder),
    await weft('issue', folder, ...id, '--out', out),
    await weft('issue', folder, ...id, '--out', join(out, 'tls.key')),
    await weft('issue', out, ...id, '--out', out),
  ];
  expect(runs.map(({ exited }) => exited?.code)).toEqual([0, 1, 0, 1, 1]);
  const keys = [join(folder, 'ca.key'), join(out, 'tls.key')].map((path) => readFileSync(path, 'utf8'));
  expectNothingOf(keys, runs.map(({ output }) => output).join('\n'));
});
