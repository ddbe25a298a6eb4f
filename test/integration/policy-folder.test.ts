/** The policy folder of a running sidecar through everything that happens to mounted folders. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { service } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { countLines, logLine, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
afterAll(() => mesh[Symbol.asyncDispose]());

/** What `/config_dump` tells of policy. */
interface Dump {
  readonly policy: {
    readonly accepted: number;
    readonly refused: number;
    readonly lastGoodAt: number;
    readonly hash: string;
    readonly problems: readonly string[];
    readonly test_failures: readonly string[];
  };
  readonly snapshot: { readonly hash: string; readonly services: readonly { readonly name: string }[] } | null;
}

async function dump(weft: Weft): Promise<Dump> {
  return (await (await weft.ask('admin', '/config_dump')).json()) as Dump;
}

function names({ snapshot }: Dump): string[] {
  return snapshot?.services.map(({ name }) => name) ?? [];
}

/** Waits until exactly these Services are in force. */
function inForce(weft: Weft, ...wanted: string[]): Promise<Dump> {
  return eventually(`${wanted.join(', ')} in force`, async () => {
    const state = await dump(weft);
    return JSON.stringify(names(state)) === JSON.stringify(wanted) ? state : undefined;
  });
}

/** Waits until the folder as it is now is refused. */
function refused(weft: Weft): Promise<Dump> {
  return eventually('the folder is refused', async () => {
    const state = await dump(weft);
    return state.policy.problems.length > 0 ? state : undefined;
  });
}

function one(name: string): string {
  return service({ name, ports: [{ port: 80 }] });
}

async function start(account: string, ...flags: string[]): Promise<{ weft: Weft; folder: string }> {
  const weft = await mesh.start({ account, documents: [one('first')], flags });
  return { weft, folder: join(mesh.folder.path, `${account}-policy`) };
}

test('a burst of 50 writes is a few compilations, and the last of them is in force', async () => {
  const { weft, folder } = await start('burst');
  const before = (await dump(weft)).policy.accepted;
  for (let i = 1; i <= 50; i++) writeFileSync(join(folder, 'policy.yaml'), one(`write-${i}`));
  const { policy } = await inForce(weft, 'write-50');
  expect(policy.accepted - before).toBeLessThanOrEqual(5);
});

test('a file half written leaves the last good policy in force until its rest is there', async () => {
  const { weft, folder } = await start('half');
  const text = one('whole');
  writeFileSync(join(folder, 'policy.yaml'), text.slice(0, text.length / 2));
  const state = await refused(weft);
  expect(names(state)).toEqual(['first']);
  expect(state.policy.problems[0]).toMatch(/^policy\.yaml:\d+:\d+: is not YAML/);
  expect(await weft.isReady()).toBe(true);
  writeFileSync(join(folder, 'policy.yaml'), text);
  expect((await inForce(weft, 'whole')).policy.problems).toEqual([]);
});

test('the swap by which a ConfigMap changes is followed, time and again', async () => {
  const { weft, folder } = await start('swap');
  const swap = (version: string, name: string): void => {
    mkdirSync(join(folder, `..${version}`));
    writeFileSync(join(folder, `..${version}/mounted.yaml`), one(name));
    symlinkSync(`..${version}`, join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
  };
  swap('v1', 'mounted-1');
  symlinkSync('..data/mounted.yaml', join(folder, 'mounted.yaml'));
  await inForce(weft, 'first', 'mounted-1');
  swap('v2', 'mounted-2');
  rmSync(join(folder, '..v1'), { recursive: true });
  await inForce(weft, 'first', 'mounted-2');
  swap('v3', 'mounted-3');
  const { policy } = await inForce(weft, 'first', 'mounted-3');
  expect(policy.problems).toEqual([]);
});

test('a folder that is deleted leaves its policy in force, and is followed again when it is back', async () => {
  const { weft, folder } = await start('deleted');
  rmSync(folder, { recursive: true });
  expect(names(await refused(weft))).toEqual(['first']);
  expect(await weft.isReady()).toBe(true);
  mkdirSync(folder);
  writeFileSync(join(folder, 'policy.yaml'), one('back'));
  await inForce(weft, 'back');
  writeFileSync(join(folder, 'policy.yaml'), one('later'));
  await inForce(weft, 'later');
});

test('hash and time of the policy in force are on the metrics and on /config_dump', async () => {
  const { weft, folder } = await start('hash');
  const before = await dump(weft);
  const hash = await weft.metric('weft_policy_hash');
  expect(hash).toBe(Number.parseInt(before.policy.hash.slice(0, 12), 16));
  expect(before.snapshot?.hash).toBe(before.policy.hash);
  expect(await weft.metric('weft_policy_applied_seconds')).toBeCloseTo(before.policy.lastGoodAt / 1000, 3);
  writeFileSync(join(folder, 'policy.yaml'), one('second'));
  await inForce(weft, 'second');
  expect(await weft.metric('weft_policy_hash')).not.toBe(hash);
  writeFileSync(join(folder, 'policy.yaml'), one('first'));
  await inForce(weft, 'first');
  expect(await weft.metric('weft_policy_hash')).toBe(hash);
});

const TEST = `apiVersion: weft.dev/v1
kind: PolicyTest
metadata: {name: t}
spec:
  tests:
  - {name: first is there, request: {url: "http://first/"}, expect: {service: "default/first:80"}}
`;

test('a reload that fails its own tests is refused where they are enforced', async () => {
  const { weft, folder } = await start('enforced', '--policy-tests', 'enforce');
  writeFileSync(join(folder, 'a.test.yaml'), TEST);
  writeFileSync(join(folder, 'policy.yaml'), one('other'));
  const state = await refused(weft);
  expect(names(state)).toEqual(['first']);
  const line = 'a.test.yaml:6:79: spec.tests[0].expect.service: first is there: is none, not default/first:80';
  expect(state.policy.problems).toEqual([line]);
  writeFileSync(join(folder, 'policy.yaml'), one('first') + '---\n' + one('other'));
  expect((await inForce(weft, 'first', 'other')).policy.problems).toEqual([]);
});

test('it is only told of by default', async () => {
  const { weft, folder } = await start('warned');
  writeFileSync(join(folder, 'a.test.yaml'), TEST);
  writeFileSync(join(folder, 'policy.yaml'), one('other'));
  await logLine(weft, ({ msg, problem }) => msg === 'policy test fails' && String(problem).startsWith('a.test.yaml:6'));
  const { policy } = await inForce(weft, 'other');
  expect(policy.test_failures).toHaveLength(1);
  expect(countLines(weft, 'policy problem')).toBe(0);
});
