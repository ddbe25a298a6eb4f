/** A certificate that is not renewed: the warning before, the end, and what log, metrics and readiness say of each. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchWeft, type Weft } from '../support/weft.ts';
import { countLines, logLine, TinyMesh } from './mesh.ts';
import { inUse, rotate } from './rotating.ts';

const HOUR_MS = 3_600_000;
const WARNING = 'the own certificate is about to expire';
const END = 'the own certificate has expired: unready';
const mesh = new TinyMesh();
let weft: Weft;

beforeAll(async () => {
  weft = await mesh.start({ account: 'cart' });
});
afterAll(() => mesh[Symbol.asyncDispose]());

test('a certificate of four days with less than a day left is warned of, one with more is not', async () => {
  const issued = (hoursAgo: number): object => ({ now: Date.now() - hoursAgo * HOUR_MS, lifetimeMs: 96 * HOUR_MS });
  await rotate(mesh, weft, 'cart', mesh.ca.identity('default/cart', issued(70)));
  expect(countLines(weft, WARNING)).toBe(0);
  const late = mesh.ca.identity('default/cart', issued(76));
  await rotate(mesh, weft, 'cart', late);
  const line = await logLine(weft, ({ msg }) => msg === WARNING);
  expect(Number(line['left_ms']) / HOUR_MS).toBeCloseTo(20, 1);
  expect(line['level']).toBe(40);
  expect(await weft.isReady()).toBe(true);
});

test('the metrics tell the end of the certificate in use, the last rotation and the last error', async () => {
  const startedAt = Date.now() / 1000;
  const next = mesh.ca.identity('default/cart');
  await rotate(mesh, weft, 'cart', next);
  expect(await weft.metric('weft_certificate_expiry_seconds')).toBe(next.notAfter / 1000);
  const rotatedAt = await weft.metric('weft_certificate_last_rotation_seconds');
  expect(rotatedAt).toBeGreaterThanOrEqual(startedAt);
  expect(rotatedAt).toBeLessThanOrEqual(Date.now() / 1000);
  mesh.folder.write('cart-certs/tls.key', 'no key');
  const problem = await logLine(weft, (line) => line['part'] === 'key' && String(line['message']).includes('PEM'));
  expect(problem).toMatchObject({ level: 50, msg: 'certificate problem: the last good certificate stays in use' });
  expect(await weft.metric('weft_certificate_last_error_seconds')).toBeGreaterThanOrEqual(startedAt);
  expect(await weft.metric('weft_certificate_expiry_seconds')).toBe(next.notAfter / 1000);
  expect(await weft.isReady()).toBe(true);
});

test('when the certificate in use expires the sidecar says so, is unready, and recovers with the next one', async () => {
  const warned = countLines(weft, WARNING);
  const short = mesh.ca.identity('default/cart', { lifetimeMs: 7_000 });
  await rotate(mesh, weft, 'cart', short);
  expect(await logLine(weft, ({ msg }) => msg === END)).toMatchObject({ level: 50 });
  expect(Date.now()).toBeGreaterThanOrEqual(short.notAfter);
  expect(countLines(weft, WARNING)).toBe(warned + 1);
  const answer = await weft.ask('ready', '/healthz/ready');
  expect([answer.status, await answer.text()]).toEqual([503, 'not ready\nthe certificate has expired\n']);
  expect(await weft.metric('weft_ready')).toBe(0);
  await rotate(mesh, weft, 'cart', mesh.ca.identity('default/cart'));
  expect(await weft.isReady()).toBe(true);
});

test('a certificate that has expired before the start keeps the sidecar unready, and is told of', async () => {
  const old = mesh.ca.identity('default/late', { now: Date.now() - 48 * HOUR_MS });
  const policy = mesh.write('late', []);
  const late = mesh.own(await launchWeft({ policy, certs: mesh.certify('late', old) }));
  const problem = await logLine(late, (line) => line['part'] === 'certificate');
  expect(problem).toMatchObject({ level: 50, msg: 'certificate problem: no certificate is in use' });
  expect(problem['message']).toContain('the certificate expired at');
  const answer = await late.ask('ready', '/healthz/ready');
  expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining('the certificate expired at')]);
  const fresh = mesh.ca.identity('default/late');
  mesh.certify('late', fresh);
  await inUse(late, fresh);
  await late.ready();
});
