/** `weft ca serve` as the source of real sidecars: how they prove themselves, renewal, and a CA that is away. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { writeAuthority } from '../../certs/ca-folder.ts';
import { JoinTokens } from '../../certs/ca-proof.ts';
import { type CaLogLine, CaServer, type TokenJudge } from '../../certs/ca-server.ts';
import { systemClock } from '../../shared/clock.ts';
import { ok } from '../../shared/result.ts';
import { type Backend, startBackend, text } from '../support/backend.ts';
import { spiffeIdOf } from '../support/certificates.ts';
import { openTlsClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { type Program, startProgram } from '../support/process.ts';
import { ROOT, type Weft } from '../support/weft.ts';
import { get, type LogLine, logLine, logLines, TinyMesh } from './mesh.ts';
import { asPeer } from './rotating.ts';

// Each test starts several programs from the source.
vi.setConfig({ testTimeout: 60_000 });

const mesh = new TinyMesh();
const folder = join(mesh.folder.path, 'ca');
const friend = mesh.ca.identity('default/friend');
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
let app: Backend;

beforeAll(async () => {
  app = mesh.own(await startBackend(text('served')));
  expect(await writeAuthority(folder, mesh.ca.authority)).toMatchObject({ ok: true });
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** `weft ca serve` from the source; answers it and its URL. */
async function serve(...flags: string[]): Promise<[Program, string]> {
  const args = [join(ROOT, 'proxy/main.ts'), 'ca', 'serve', folder, '--listen', '127.0.0.1:0', '--dns', 'localhost'];
  const ca = mesh.own(startProgram({ command: process.execPath, args: [...args, ...flags] }));
  const port = await ca.waitForLine((line) => /^weft ca: serving on https:.*:([0-9]+)$/.exec(line)?.[1]);
  return [ca, `https://localhost:${port}`];
}

/** A sidecar that gets its certificate from there. */
async function workload(account: string, url: string, token: string): Promise<Weft> {
  const tokenFile = mesh.folder.write(`${account}-token`, token);
  return mesh.start({ account, app: app.port, flags: ['--ca', url, '--ca-token', tokenFile] });
}

/** The log may lag behind readiness: waits for so many. */
function certificates(weft: Weft, atLeast = 1): Promise<LogLine[]> {
  return eventually(`${atLeast} certificates in use`, () => {
    const lines = logLines(weft).filter((line) => line.msg === 'certificate in use');
    return lines.length >= atLeast ? lines : undefined;
  });
}

async function expectServes(weft: Weft): Promise<void> {
  using client = await openTlsClient(weft.ports.inbound, asPeer(friend));
  expect((await client.exchange(get('any'))).status).toBe(200);
}

/** What the CA logged of certificates, `atLeast` so many times: its log is another one than the sidecar's. */
function issuances(ca: Program, atLeast: number): Promise<CaLogLine[]> {
  return eventually(`${atLeast} lines of the CA`, () => {
    const lines = ca.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as CaLogLine);
    return lines.length >= atLeast ? lines : undefined;
  });
}

function serviceAccountToken(account: string): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 600;
  const claims = { aud: ['weft-ca'], exp, sub: `system:serviceaccount:default:${account}` };
  const signed = `${encode({ alg: 'ES256', kid: 'k' })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: keys.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

test('a join token gives the identity that stands beside it, once', async () => {
  const tokens = mesh.folder.write('tokens', `secret-of-cart ${spiffeIdOf('default/cart')}\n`);
  const [ca, url] = await serve('--join-tokens', tokens);
  const cart = await workload('cart', url, 'secret-of-cart');
  expect(await certificates(cart)).toMatchObject([{ spiffe_id: spiffeIdOf('default/cart') }]);
  await expectServes(cart);
  const thief = await mesh.launch({
    account: 'thief',
    flags: ['--ca', url, '--ca-token', mesh.folder.write('thief-token', 'secret-of-cart')],
  });
  const line = await logLine(thief, (each) => each['part'] === 'source');
  expect(line['message']).toContain('refuses with status 401: the token is unknown or was used before');
  expect(await thief.isReady()).toBe(false);
  // A thief that is refused tries again.
  const [issued, ...refused] = (await issuances(ca, 2)).map(({ message, proof }) => `${message} ${proof}`);
  expect([issued, ...new Set(refused)]).toEqual(['issued token', 'refused token']);
  expect(ca.output + cart.program.output + thief.program.output).not.toContain('secret-of-cart');
});

test('a service-account token gives the identity of that account', async () => {
  const jwks = mesh.folder.write(
    'jwks',
    JSON.stringify({ keys: [{ ...keys.publicKey.export({ format: 'jwk' }), kid: 'k' }] }),
  );
  const [ca, url] = await serve('--jwks', jwks, '--audience', 'weft-ca');
  const token = serviceAccountToken('orders');
  const orders = await workload('orders', url, token);
  expect(await certificates(orders)).toMatchObject([{ spiffe_id: spiffeIdOf('default/orders') }]);
  await expectServes(orders);
  expect(await issuances(ca, 1)).toMatchObject([
    { message: 'issued', proof: 'token', spiffeId: spiffeIdOf('default/orders') },
  ]);
  expect(ca.output + orders.program.output).not.toContain(token.split('.')[2]);
});

/** A CA in this process, since `weft ca serve` issues nothing that lives less than a minute. */
async function shortLived(judgeToken: TokenJudge, log: CaLogLine[], lifetimeMs: number, port = 0) {
  const server = new CaServer({
    authority: mesh.ca.authority,
    trustDomain: 'cluster.local',
    dnsNames: ['localhost'],
    lifetimeMs,
    judgeToken,
    clock: systemClock,
    log: (line) => log.push(line),
  });
  return { server, port: await server.listen('127.0.0.1', port) };
}

test('a certificate is renewed at half of its life, after a join token by the certificate before', async () => {
  const lifetimeMs = 6_000;
  const tokens = mesh.folder.write('short-tokens', `once ${spiffeIdOf('default/short')}\n`);
  const log: CaLogLine[] = [];
  const { server, port } = await shortLived(new JoinTokens(tokens, 'cluster.local').judge, log, lifetimeMs);
  const short = await workload('short', `https://localhost:${port}`, 'once');
  await certificates(short, 2);
  const times = (await certificates(short, 3)).map((line) => Number(line['time']));
  for (const [i, time] of times.entries()) {
    const waited = time - (times[i - 1] ?? Number.NEGATIVE_INFINITY);
    // Half of six seconds less 10 %, the part of a second that certificates do not count, and a second's stall before the log.
    expect(waited).toBeGreaterThan(1_200);
  }
  expect(times[2] ?? 0).toBeLessThan((times[0] ?? 0) + 2 * lifetimeMs);
  expect(log.filter(({ message }) => message === 'issued').map(({ proof }) => proof)).toEqual([
    'token',
    'certificate',
    'certificate',
  ]);
  expect(logLines(short).filter(({ msg }) => msg === 'the own certificate is about to expire')).toEqual([]);
  await expectServes(short);
  await server.close();
});

test('a CA that is away until the certificate has expired makes the sidecar unready, and ready again when it is back', async () => {
  const judge: TokenJudge = () => Promise.resolve(ok(spiffeIdOf('default/orphan')));
  const { server, port } = await shortLived(judge, [], 3_000, await freePort());
  const orphan = await workload('orphan', `https://localhost:${port}`, 'any');
  await server.close();
  await logLine(orphan, (line) => String(line['message']).includes('cannot be reached (ECONNREFUSED)'));
  await logLine(orphan, (line) => line.msg === 'the own certificate has expired: unready');
  expect(await orphan.isReady()).toBe(false);
  const back = await shortLived(judge, [], 60_000, port);
  await orphan.ready(15_000);
  await expectServes(orphan);
  await back.server.close();
});
