import { afterAll, expect, test } from 'vitest';
import { writeIdentity } from '../support/certificates.ts';
import { document } from '../support/policy.ts';
import { logLine, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
afterAll(() => mesh[Symbol.asyncDispose]());

const REFUSED = 'certificate problem: the last good certificate stays in use';

test('a renewed certificate of another trust domain is used only when the policy names that, then without a restart', async () => {
  const weft = await mesh.start({ account: 'moving' });
  const moved = mesh.ca.identity('spiffe://new.example/ns/default/sa/moving');
  writeIdentity(`${mesh.folder.path}/moving-certs`, moved);
  const line = await logLine(weft, (each) => each.msg === REFUSED && String(each['message']).includes('new.example'));
  expect(line['advice']).toContain('trustDomainAliases');
  expect(await (await weft.ask('admin', '/certs')).text()).toContain('spiffe://cluster.local/');
  expect(await weft.isReady()).toBe(true);
  const spec = { trustDomain: 'cluster.local', trustDomainAliases: ['new.example'] };
  await mesh.apply(weft, 'moving', [
    document({ apiVersion: 'weft.dev/v1', kind: 'Mesh', metadata: { name: 'mesh' }, spec }),
  ]);
  await logLine(weft, (each) => each.msg === 'certificate in use' && each['spiffe_id'] === moved.spiffeId);
});
