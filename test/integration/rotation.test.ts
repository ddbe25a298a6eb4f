/** Certificates change under load: leaves a hundred times, then the root, and torn files on the way. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { startBackend, text } from '../support/backend.ts';
import { TestCa } from '../support/certificates.ts';
import { openTlsClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { countLines, get, logLines, meshed, TinyMesh } from './mesh.ts';
import { asPeer, rotate, type TrafficReport, underLoad } from './rotating.ts';

const RATE = 2_050;
const mesh = new TinyMesh();
let caller: Weft;
let callee: Weft;
let friend = mesh.ca.identity('default/friend');
/** Who called the callee last. */
let presented = friend;

beforeAll(async () => {
  const app = mesh.own(await startBackend(text('served')));
  callee = await mesh.start({ account: 'callee', app: app.port });
  const endpoints = [callee.ports.inbound];
  const documents = [
    ...meshed({ name: 'callee', endpoints }),
    ...meshed({ name: 'raw', endpoints, appProtocol: 'tcp' }),
  ];
  caller = await mesh.start({ account: 'caller', documents });
});
afterAll(() => mesh[Symbol.asyncDispose]());

const sidecars = (): [string, Weft][] => [
  ['caller', caller],
  ['callee', callee],
];

function load(work: () => Promise<void>): Promise<TrafficReport> {
  return underLoad({ rate: RATE, caller, callee, friend: () => (presented = friend) }, work);
}

function expectNoneFailed({ kept, tunnels, handshakes, seconds }: TrafficReport): void {
  expect(Object.fromEntries(kept.failures)).toEqual({});
  expect(kept.succeeded).toBe(kept.sent);
  expect(kept.sent / seconds).toBeGreaterThanOrEqual(2_000);
  expect(tunnels).toBeGreaterThan(seconds);
  expect(handshakes).toBeGreaterThan(seconds);
}

/** Puts a file of another generation, or half of one, in the place of the right one; resolves when it was refused. */
async function tear(account: string, weft: Weft, name: string, content: string): Promise<void> {
  const before = countLines(weft, 'certificate problem: the last good certificate stays in use');
  writeFileSync(join(mesh.folder.path, `${account}-certs`, name), content);
  await eventually('the torn file is refused', () => {
    return countLines(weft, 'certificate problem: the last good certificate stays in use') > before || undefined;
  });
}

test('a hundred rotations of each leaf, with torn files between them, fail no request', {
  timeout: 180_000,
}, async () => {
  const issued = new Map<string, Set<string>>(sidecars().map(([account]) => [account, new Set()]));
  const first = new Map(sidecars().map(([account, weft]) => [account, serialsUsed(weft)]));
  const rotateOnce = async (round: number, account: string, weft: Weft): Promise<void> => {
    const next = mesh.ca.identity(`default/${account}`);
    const stray = mesh.ca.identity(`default/${account}`);
    const half = (text: string): string => text.slice(0, text.length / 2);
    if (round % 20 === 0) await tear(account, weft, 'tls.key', stray.privateKey);
    if (round % 20 === 5) await tear(account, weft, 'tls.crt', half(stray.certificateChain));
    if (round % 20 === 10) await tear(account, weft, 'ca.crt', half(stray.trustBundle));
    if (round % 20 === 15) await tear(account, weft, 'tls.key', half(stray.privateKey));
    issued.get(account)?.add(next.serialNumber);
    await rotate(mesh, weft, account, next);
  };
  const report = await load(async () => {
    for (let round = 0; round < 100; round++) {
      await Promise.all(sidecars().map(([account, weft]) => rotateOnce(round, account, weft)));
    }
  });
  expectNoneFailed(report);
  for (const [account, weft] of sidecars()) {
    const used = serialsUsed(weft).slice(first.get(account)?.length);
    expect(used).toEqual([...(issued.get(account) ?? [])]);
    expect(used.length).toBe(100);
    expect(await weft.metric('weft_certificate_rotations_total', 'result="applied"')).toBe(101);
    expect(await weft.metric('weft_thread_restarts_total')).toBe(0);
  }
});

test('a change of the root, by a bundle of both, fails no request, and then the old root is worth nothing', {
  timeout: 60_000,
}, async () => {
  const next = new TestCa('next root');
  const both = mesh.ca.trustBundle + next.trustBundle;
  const last = mesh.ca.identity('default/friend', { trustBundle: both });
  const everywhere = async (ca: TestCa, trustBundle: string): Promise<void> => {
    for (const [account, weft] of sidecars()) {
      await rotate(mesh, weft, account, ca.identity(`default/${account}`, { trustBundle }));
    }
  };
  using old = await openTlsClient(callee.ports.inbound, asPeer(mesh.ca.identity('default/friend')));
  expect((await old.exchange(get('callee'))).status).toBe(200);
  const report = await load(async () => {
    await everywhere(mesh.ca, both);
    friend = last;
    await everywhere(next, both);
    friend = next.identity('default/friend');
    // One after the other: nobody shakes hands by the old root any more.
    await eventually('the friend of the next root calls', () => presented === friend || undefined);
    expect((await old.exchange(get('callee'))).status).toBe(200);
    await everywhere(next, next.trustBundle);
    // What came by the old root is ended, after the time it has to finish: the load goes on beyond that.
    await old.ended;
  });
  expectNoneFailed(report);
  using late = await openTlsClient(callee.ports.inbound, asPeer(last));
  expect(await late.ended).toBeDefined();
  expect(await callee.metric('weft_refusals_total', 'word="peer_untrusted_ca"')).toBe(1);
  expect(await caller.metric('weft_thread_restarts_total')).toBe(0);
});

function serialsUsed(weft: Weft): string[] {
  return logLines(weft)
    .filter((line) => line.msg === 'certificate in use')
    .map((line) => String((line as { serial?: Identity['serialNumber'] }).serial));
}
