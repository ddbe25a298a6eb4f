/** A renewed certificate of another trust domain: whose word counts, and when. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { OwnCertificate } from '../../proxy/own-certificate.ts';
import { Metrics } from '../../proxy/telemetry/metrics.ts';
import { systemClock } from '../../shared/clock.ts';
import { TestCa, writeIdentity } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

const ca = new TestCa();
const HOME = { trustDomain: 'cluster.local', aliases: [] };
const BOTH = { trustDomain: 'cluster.local', aliases: ['new.example'] };

let dir: string;
let used: string[];
let complaints: string[];
let own: OwnCertificate;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-own-'));
  used = [];
  complaints = [];
  const logger: Logger = pino({}, { write: (line) => note(JSON.parse(line) as { level: number; message: string }) });
  own = new OwnCertificate(systemClock, logger, new Metrics(), ({ spiffeId }) => used.push(spiffeId));
});
afterEach(() => {
  own.close();
  rmSync(dir, { recursive: true, force: true });
});

function note({ level, message }: { readonly level: number; readonly message: string }): void {
  // While files are replaced one by one the key may not fit.
  if (level >= 50 && message.includes('trust domain')) complaints.push(message);
}

function of(trustDomain: string): Identity {
  return ca.identity(`spiffe://${trustDomain}/ns/shop/sa/cart`);
}

async function startWith(identity: Identity): Promise<void> {
  writeIdentity(dir, identity);
  await own.start({ workloadApi: '', ca: null, caToken: null, certs: dir });
  await eventually('the first one is used', () => used.length === 1 || undefined);
}

async function refused(identity: Identity): Promise<void> {
  const before = complaints.length;
  writeIdentity(dir, identity);
  await eventually('it is refused', () => complaints.length > before || undefined);
}

async function taken(identity: Identity): Promise<void> {
  const before = used.length;
  writeIdentity(dir, identity);
  await eventually('it is used', () => used.length > before || undefined);
}

test('one that neither the certificate in use nor the policy names leaves the good one in use, and is complained of', async () => {
  own.useTrust(HOME);
  const good = of('cluster.local');
  await startWith(good);
  await refused(of('other.example'));
  expect(own.identity?.serialNumber).toBe(good.serialNumber);
  expect(used.length).toBe(1);
  expect(own.failedAt).toBeGreaterThan(0);
  expect(complaints[0]).toContain('other.example');
  expect(own.unready()).toBeNull();
});

test('the next good one ends that', async () => {
  own.useTrust(HOME);
  await startWith(of('cluster.local'));
  await refused(of('other.example'));
  await taken(of('cluster.local'));
  own.useTrust({ trustDomain: 'cluster.local', aliases: ['other.example'] });
  expect(used.length).toBe(2);
});

test('one of an alias is used: domains can be changed', async () => {
  own.useTrust(BOTH);
  await startWith(of('cluster.local'));
  await taken(of('new.example'));
  expect(used.at(-1)).toContain('new.example');
});

test('one that came before the policy which names it is used with it', async () => {
  own.useTrust(HOME);
  await startWith(of('cluster.local'));
  await refused(of('new.example'));
  own.useTrust(HOME);
  own.useTrust(BOTH);
  expect(complaints.length).toBe(1);
  expect(used.map((id) => id.slice('spiffe://'.length).split('/')[0])).toEqual(['cluster.local', 'new.example']);
});

test('one of the domain in use is used, whatever policy says by then', async () => {
  await startWith(of('cluster.local'));
  own.useTrust({ trustDomain: 'new.example', aliases: [] });
  await taken(of('cluster.local'));
  expect(complaints).toEqual([]);
});

test('the first one is believed, though policy names another domain', async () => {
  own.useTrust(HOME);
  await startWith(of('other.example'));
  expect(used[0]).toContain('other.example');
});
