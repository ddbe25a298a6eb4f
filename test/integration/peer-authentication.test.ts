/** PeerAuthentication against a real sidecar: which mode is in force, and what each of three callers meets under it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestCa } from '../support/certificates.ts';
import { openClient, openTlsClient, type RawClient } from '../support/client.ts';
import { document, service } from '../support/policy.ts';
import { startShim } from '../support/shim.ts';
import { startTwoFaced, type TwoFaced } from '../support/two-faced.ts';
import type { Weft } from '../support/weft.ts';
import { get, TinyMesh } from './mesh.ts';
import { asPeer } from './rotating.ts';

type Mode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';
type Met = 'plain' | 'tls' | 'mesh' | 'refused';

/** What answers a caller in plain text, one with TLS for the application, and one with the mesh's TLS. */
const MET: Readonly<Record<Mode, readonly [Met, Met, Met]>> = {
  STRICT: ['refused', 'refused', 'mesh'],
  PERMISSIVE: ['plain', 'tls', 'mesh'],
  DISABLE: ['plain', 'tls', 'tls'],
};

const mesh = new TinyMesh();
const friend = mesh.ca.identity('default/friend');
let app: TwoFaced;
let callee: Weft;

beforeAll(async () => {
  app = mesh.own(await startTwoFaced(new TestCa('of the application').identity('app/own')));
  const labels = mesh.folder.write('labels', 'app="callee"\nversion="v1"\n');
  callee = await mesh.start({ account: 'callee', app: app.port, flags: ['--labels', labels] });
});
afterAll(() => mesh[Symbol.asyncDispose]());

async function answerOf(opening: Promise<RawClient>): Promise<Met> {
  try {
    using client = await opening;
    const answer = await client.exchange(get('callee'));
    return answer.body.toString() as Met;
  } catch {
    return 'refused';
  }
}

const OWN_TLS = { rejectUnauthorized: false, checkServerIdentity: () => undefined, ALPNProtocols: ['http/1.1'] };
const MESH_TLS = { ...asPeer(friend), rejectUnauthorized: false };

async function met(port: number): Promise<Met[]> {
  return [
    await answerOf(openClient(port)),
    await answerOf(openTlsClient(port, OWN_TLS)),
    await answerOf(openTlsClient(port, MESH_TLS)),
  ];
}

interface Scope {
  readonly name?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ports?: Readonly<Record<number, string>>;
}

function peers(mode: string, { name = 'default', namespace, labels, ports = {} }: Scope = {}): string {
  const portLevelMtls = Object.fromEntries(Object.entries(ports).map(([port, own]) => [port, { mode: own }]));
  return document({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name, namespace },
    spec: {
      mtls: { mode },
      ...(labels === undefined ? {} : { selector: { matchLabels: labels } }),
      ...(Object.keys(ports).length === 0 ? {} : { portLevelMtls }),
    },
  });
}

const ROOT = { namespace: 'istio-system' };
const OURS = { name: 'ours', labels: { app: 'callee' } };

const SCOPES: readonly (readonly [string, Mode, () => string[]])[] = [
  ['without any, by default', 'STRICT', () => []],
  ['of the mesh', 'PERMISSIVE', () => [peers('PERMISSIVE', ROOT)]],
  ['of a namespace over that of the mesh', 'STRICT', () => [peers('PERMISSIVE', ROOT), peers('STRICT')]],
  ['of another namespace says nothing', 'DISABLE', () => [peers('DISABLE', ROOT), peers('STRICT', { namespace: 'x' })]],
  ['of a namespace that is UNSET inherits', 'DISABLE', () => [peers('DISABLE', ROOT), peers('UNSET')]],
  ['of the workload over that of the namespace', 'DISABLE', () => [peers('STRICT'), peers('DISABLE', OURS)]],
  [
    'of the workload that is UNSET inherits twice',
    'PERMISSIVE',
    () => [peers('PERMISSIVE', ROOT), peers('UNSET'), peers('UNSET', OURS)],
  ],
  [
    'of a workload with other labels says nothing',
    'PERMISSIVE',
    () => [peers('PERMISSIVE'), peers('STRICT', { name: 'theirs', labels: { app: 'callee', version: 'v2' } })],
  ],
  ['of labels in the root namespace says nothing elsewhere', 'STRICT', () => [peers('DISABLE', { ...ROOT, ...OURS })]],
  [
    'of the port over that of the workload',
    'PERMISSIVE',
    () => [peers('STRICT', { ...OURS, ports: { [app.port]: 'PERMISSIVE' } })],
  ],
  ['of the port can be DISABLE', 'DISABLE', () => [peers('UNSET', { ...OURS, ports: { [app.port]: 'DISABLE' } })]],
  [
    'of the port that is UNSET inherits',
    'PERMISSIVE',
    () => [peers('PERMISSIVE', { ...OURS, ports: { [app.port]: 'UNSET' } })],
  ],
  ['of another port says nothing', 'STRICT', () => [peers('STRICT', { ...OURS, ports: { 1: 'DISABLE' } })]],
  [
    'of the mesh stands in the root namespace that Mesh names',
    'PERMISSIVE',
    () => [
      document({
        apiVersion: 'weft.dev/v1',
        kind: 'Mesh',
        metadata: { name: 'mesh' },
        spec: { rootNamespace: 'root' },
      }),
      peers('PERMISSIVE', { namespace: 'root' }),
      peers('DISABLE', ROOT),
    ],
  ],
];

let round = 0;
test.each(SCOPES)('the PeerAuthentication %s: %s', async (_scope, mode, documents) => {
  // A Service of another name each time, so that every round is a change that is applied.
  await mesh.apply(callee, 'callee', [...documents(), service({ name: `round-${round++}`, ports: [{ port: 80 }] })]);
  expect(await met(callee.ports.inbound)).toEqual(MET[mode]);
});

describe('on a PERMISSIVE port', () => {
  beforeAll(() => mesh.apply(callee, 'callee', [peers('PERMISSIVE')]));

  test('the three are told apart though every byte comes alone', async () => {
    const shim = mesh.own(await startShim({ targetPort: callee.ports.inbound, slicing: 'byte' }));
    expect(await met(shim.port)).toEqual(MET.PERMISSIVE);
  });

  test('the three are told apart though the bytes come cut at any place', async () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const shim = mesh.own(await startShim({ targetPort: callee.ports.inbound, slicing: 'random', random }));
    for (let turn = 0; turn < 5; turn++) expect(await met(shim.port)).toEqual(MET.PERMISSIVE);
  });

  test('none of them waits for a timeout to be told apart', async () => {
    const callers = [
      () => openClient(callee.ports.inbound),
      () => openTlsClient(callee.ports.inbound, OWN_TLS),
      () => openTlsClient(callee.ports.inbound, MESH_TLS),
    ];
    for (const [i, open] of callers.entries()) {
      const times: number[] = [];
      for (let turn = 0; turn < 20; turn++) {
        const startedAt = performance.now();
        expect(await answerOf(open())).toBe(MET.PERMISSIVE[i]);
        times.push(performance.now() - startedAt);
      }
      // The shortest timeout there is (200 ms) would hold up each of them, a slow machine only some.
      expect(Math.min(...times)).toBeLessThan(200);
    }
  });

  test('a mesh peer is verified as on a STRICT one: a certificate of another CA is refused, not passed on', async () => {
    const stranger = new TestCa('another').identity('default/friend');
    const before = await callee.metric('weft_refusals_total', 'word="peer_untrusted_ca"');
    expect(
      await answerOf(openTlsClient(callee.ports.inbound, { ...asPeer(stranger), rejectUnauthorized: false })),
    ).toBe('refused');
    expect(await callee.metric('weft_refusals_total', 'word="peer_untrusted_ca"')).toBe(before + 1);
  });
});
