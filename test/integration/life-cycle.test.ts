import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { slow, startBackend, text } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { isInstalled, type Program, startProgram } from '../support/process.ts';
import { skip } from '../support/skips.ts';
import { ROOT } from '../support/weft.ts';
import { ask, get, plain, STALL_MS, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend());
afterAll(() => mesh[Symbol.asyncDispose]());
const MAIN = join(ROOT, 'proxy/main.ts');

function command(...args: string[]): Program {
  return startProgram({ command: process.execPath, args: [MAIN, ...args] });
}

describe('the hooks of the container', () => {
  test('weft wait ends when the sidecar is ready, and not before', async () => {
    const documents = plain({ name: 'app', endpoints: [app.port] });
    const weft = await mesh.launch({ account: 'held', documents: ['kind: nonsense'] });
    const wait = command('wait', '--ready', `127.0.0.1:${weft.ports.ready}`);
    await weft.program.waitForLine((line) => line.includes('policy problem') || undefined);
    expect(wait.exited).toBeNull();
    mesh.write('held', documents);
    expect((await wait.exit).code).toBe(0);
    expect(await weft.isReady()).toBe(true);
  });

  test('weft drain makes the sidecar unready, and outbound stays open for the application', async () => {
    const weft = await mesh.start({ account: 'drained', documents: plain({ name: 'app', endpoints: [app.port] }) });
    expect((await command('drain', '--admin', `127.0.0.1:${weft.ports.admin}`).exit).code).toBe(0);
    expect(await weft.isReady()).toBe(false);
    expect((await ask(weft.ports.outbound, get('app'))).status).toBe(200);
    expect(await weft.stop()).toEqual({ code: 0, signal: null });
  });
});

test('the patience of --drain counts from weft drain on, not from SIGTERM', async () => {
  const hanging = mesh.own(await startBackend(() => {}));
  const seconds = mesh.own(await startBackend(slow(4_000, text('late'))));
  const documents = [
    ...plain({ name: 'never', endpoints: [hanging.port] }),
    ...plain({ name: 'late', endpoints: [seconds.port] }),
  ];
  const weft = await mesh.start({ account: 'counted', documents, flags: ['--drain', '6'] });
  using client = await openClient(weft.ports.outbound);
  await client.write(get('never'));
  await eventually('the request is under way', () => hanging.requests.length > 0 || undefined);
  expect((await weft.ask('admin', '/drain', { method: 'POST' })).status).toBe(202);
  expect((await ask(weft.ports.outbound, get('late'))).status).toBe(200);
  const asked = performance.now();
  expect((await weft.stop()).code).toBe(0);
  // Two seconds are left of the six.
  expect(performance.now() - asked).toBeLessThan(2_000 + STALL_MS);
});

/** One process namespace for weft and an application of another user, as in a pod with shareProcessNamespace. */
describe('a classic sidecar of a Job', () => {
  const alive = join(mesh.folder.path, 'the-application-lives');

  function pod(): Program {
    if (process.getuid?.() !== 0) skip('needs root: a process namespace of its own');
    if (!isInstalled('unshare') || !isInstalled('setpriv')) skip('unshare or setpriv is not installed');
    const policy = mesh.write('job', []);
    const flags = ['admin', 'metrics', 'ready', 'inbound', 'outbound'].map((name) => `--${name} 127.0.0.1:0`).join(' ');
    // The application is another user.
    chmodSync(mesh.folder.path, 0o755);
    writeFileSync(alive, '');
    const script = `
      (${process.execPath} ${MAIN} proxy --policy ${policy} --certs ${mesh.certify('job')} ${flags} --exit-with-app on; echo "weft: $?") &
      setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'while [ -e ${alive} ]; do sleep 0.1; done'
      echo 'application: ended'
      wait`;
    return startProgram({
      command: 'unshare',
      args: ['--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c', script],
    });
  }

  test('ends within two seconds of the application, with 0, and not before', async () => {
    await using program = pod();
    await program.waitForLine((line) => /"listening".*"outbound"|"outbound".*"listening"/.test(line) || undefined);
    expect(program.lines.filter((line) => /^(?:weft|application):/.test(line))).toEqual([]);
    rmSync(alive);
    await program.waitForLine((line) => line.startsWith('application:') || undefined);
    const ended = performance.now();
    expect(await program.waitForLine((line) => /^weft: (\d+)$/.exec(line)?.[1])).toBe('0');
    expect(performance.now() - ended).toBeLessThan(2_000 + STALL_MS);
    await eventually('the namespace is gone', () => program.exited ?? undefined);
  });
});
