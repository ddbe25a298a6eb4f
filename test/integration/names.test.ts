/** Services that policy knows by a name of DNS alone. */
import { afterAll, expect, test } from 'vitest';
import { startBackend, text } from '../support/backend.ts';
import { document } from '../support/policy.ts';
import { ask, get, logLine, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const backend = mesh.own(await startBackend(text('from outside')));
afterAll(() => mesh[Symbol.asyncDispose]());

test('an ExternalName Service is called at the addresses of its name, which are endpoints', async () => {
  const spec = { type: 'ExternalName', externalName: 'localhost', ports: [{ port: backend.port, name: 'http' }] };
  const external = document({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'outside' }, spec });
  const weft = await mesh.start({ account: 'caller', documents: [external] });
  const answer = await ask(weft.ports.outbound, get(`outside:${backend.port}`));
  expect([answer.status, answer.body.toString()]).toEqual([200, 'from outside']);
  await logLine(weft, ({ msg }) => msg === 'addresses applied');
  const again = await ask(weft.ports.outbound, get(`outside:${backend.port}`));
  expect([again.status, again.body.toString()]).toEqual([200, 'from outside']);
  const clusters = await (await weft.ask('admin', '/clusters')).text();
  expect(clusters).toContain(`127.0.0.1:${backend.port}`);
  // Addresses are no policy: nothing was reloaded.
  expect(await weft.metric('weft_policy_reloads_total', 'result="applied"')).toBe(1);
}, 20_000);
