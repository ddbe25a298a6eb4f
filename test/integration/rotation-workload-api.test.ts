/** The SPIFFE Workload API as the source of a real sidecar: its server restarts, hangs, and comes back, all under load. */
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { startBackend, text } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { type Program, startProgram } from '../support/process.ts';
import { logLine, meshed, TinyMesh } from './mesh.ts';
import { inUse, underLoad } from './rotating.ts';

const RATE = 500;
/** Left at the end of the load, so that no request is under way when the certificate expires. */
const MARGIN_MS = 3_000;
const mesh = new TinyMesh();
afterAll(() => mesh[Symbol.asyncDispose]());

const socket = join(mesh.folder.path, 'agent.sock');
const file = join(mesh.folder.path, 'identity.json');

function write(lifetimeMs: number): Identity {
  const identity = mesh.ca.identity('default/caller', { lifetimeMs });
  mesh.folder.write('identity.json', JSON.stringify(identity));
  return identity;
}

async function startAgent(): Promise<Program> {
  const args = [join(import.meta.dirname, '../support/workload-api-program.ts'), socket, file];
  const agent = mesh.own(startProgram({ command: process.execPath, args }));
  await agent.waitForLine((line) => line === 'listening' || undefined);
  return agent;
}

test('a Workload API that restarts and hangs fails no request until the certificate expires; it recovers', {
  timeout: 60_000,
}, async () => {
  const app = mesh.own(await startBackend(text('served')));
  const first = write(60_000);
  const agent = await startAgent();
  const callee = await mesh.start({ account: 'callee', app: app.port });
  const endpoints = [callee.ports.inbound];
  const caller = await mesh.start({
    account: 'caller',
    documents: [...meshed({ name: 'callee', endpoints }), ...meshed({ name: 'raw', endpoints, appProtocol: 'tcp' })],
    env: { SPIFFE_ENDPOINT_SOCKET: `unix://${socket}` },
  });
  await inUse(caller, first);
  const friend = mesh.ca.identity('default/friend');
  let second = first;
  let next = agent;
  const report = await underLoad({ rate: RATE, caller, callee, friend: () => friend }, async () => {
    await agent.kill();
    await logLine(caller, (line) => line['part'] === 'source');
    second = write(12_000);
    next = await startAgent();
    await inUse(caller, second);
    next.signal('SIGSTOP');
    await eventually(
      'the certificate is about to expire',
      () => Date.now() > second.notAfter - MARGIN_MS || undefined,
      15_000,
    );
    expect(await caller.isReady()).toBe(true);
  });
  expect(Object.fromEntries(report.kept.failures)).toEqual({});
  expect(report.kept.sent / report.seconds).toBeGreaterThan(RATE * 0.9);
  expect(report.tunnels).toBeGreaterThan(0);

  await logLine(caller, (line) => line.msg === 'the own certificate has expired: unready');
  const unready = await caller.ask('ready', '/healthz/ready');
  expect([unready.status, await unready.text()]).toEqual([503, expect.stringContaining('the certificate has expired')]);
  expect(await caller.metric('weft_certificate_expiry_seconds')).toBe(second.notAfter / 1000);

  const third = write(60_000);
  next.signal('SIGCONT');
  next.signal('SIGHUP');
  await inUse(caller, third);
  await caller.ready();
  const again = await underLoad({ rate: RATE, caller, callee, friend: () => friend }, async () => {
    await eventually('some requests', async () => (await callee.metric('istio_requests_total')) > 0 || undefined);
  });
  expect(Object.fromEntries(again.kept.failures)).toEqual({});
});
