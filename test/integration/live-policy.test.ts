/** What was let in under one policy and is still open when another one comes: nothing outlives what now forbids it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TestCa } from '../support/certificates.ts';
import { openClient, openTlsClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { document } from '../support/policy.ts';
import { startTwoFaced } from '../support/two-faced.ts';
import type { Weft } from '../support/weft.ts';
import { get, logLine, meshed, TinyMesh } from './mesh.ts';
import { asPeer } from './rotating.ts';

const WEBSOCKET = get('web', '/ws', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: a2V5');
const OWN_TLS = { rejectUnauthorized: false, checkServerIdentity: () => undefined, ALPNProtocols: ['http/1.1'] };
const mesh = new TinyMesh();
const friend = mesh.ca.identity('default/friend');
let web: Weft;
let caller: Weft;

beforeAll(async () => {
  const app = mesh.own(await startTwoFaced(new TestCa('of the application').identity('app/own')));
  web = await mesh.start({ account: 'web', app: app.port, flags: ['--access-log', 'json'] });
  const documents = meshed({ name: 'web', endpoints: [web.ports.inbound] });
  caller = await mesh.start({ account: 'caller', documents });
}, 60_000);
beforeEach(() => mesh.apply(web, 'web', [PERMISSIVE]));
afterAll(() => mesh[Symbol.asyncDispose]());

function security(kind: string, name: string, spec: object): string {
  return document({ apiVersion: 'security.istio.io/v1', kind, metadata: { name, namespace: 'default' }, spec });
}

const PERMISSIVE = security('PeerAuthentication', 'default', { mtls: { mode: 'PERMISSIVE' } });
const STRICT = security('PeerAuthentication', 'default', { mtls: { mode: 'STRICT' } });
const ONLY_FRIENDS = security('AuthorizationPolicy', 'friends', {
  rules: [{ from: [{ source: { principals: ['cluster.local/ns/default/sa/friend'] } }] }],
});

async function echoes(client: RawClient, text: string): Promise<void> {
  const before = client.text.length;
  await client.write(text);
  await client.until(() => client.text.slice(before).includes(text) || undefined);
}

async function upgraded(opening: Promise<RawClient>): Promise<RawClient> {
  const client = await opening;
  await client.write(WEBSOCKET);
  await client.until(() => client.text.includes('\r\n\r\n') || undefined);
  expect(client.text).toContain('101 Switching Protocols');
  await echoes(client, 'ping');
  return client;
}

describe('a port that becomes STRICT', () => {
  test('refuses the next request of a connection in plain text, and tells why', async () => {
    using client = await openClient(web.ports.inbound);
    expect((await client.exchange(get('web'))).status).toBe(200);
    await mesh.apply(web, 'web', [STRICT]);
    await client.write(get('web'));
    await client.ended;
    expect(client.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(await web.metric('weft_refusals_total', 'word="plaintext_refused"')).toBeGreaterThan(0);
    await logLine(web, (line) => JSON.stringify(line).includes('plaintext_refused'));
  });

  test('cuts the WebSocket of a connection in plain text', async () => {
    using client = await upgraded(openClient(web.ports.inbound));
    await mesh.apply(web, 'web', [STRICT]);
    expect(await client.ended).toBe('reset');
  });

  test('cuts TLS of the application itself, which passed through', async () => {
    using client = await openTlsClient(web.ports.inbound, OWN_TLS);
    expect((await client.exchange(get('web'))).body.toString()).toBe('tls');
    await mesh.apply(web, 'web', [STRICT]);
    await client.ended;
  });

  test('leaves connections and WebSockets of the mesh alone', async () => {
    const MESH_TLS = { ...asPeer(friend), rejectUnauthorized: false, ALPNProtocols: ['istio-http/1.1'] };
    using requests = await openTlsClient(web.ports.inbound, MESH_TLS);
    expect((await requests.exchange(get('web'))).status).toBe(200);
    using socket = await upgraded(openTlsClient(web.ports.inbound, MESH_TLS));
    await mesh.apply(web, 'web', [STRICT]);
    expect((await requests.exchange(get('web'))).status).toBe(200);
    await echoes(socket, 'pong');
  });
});

describe('an AuthorizationPolicy that comes', () => {
  test('cuts the WebSocket of a caller that it does not let in, whichever way it came', async () => {
    const STRANGER_TLS = { ...asPeer(mesh.ca.identity('default/stranger')), rejectUnauthorized: false };
    using throughSidecar = await upgraded(openClient(caller.ports.outbound));
    using direct = await upgraded(openTlsClient(web.ports.inbound, STRANGER_TLS));
    using kept = await upgraded(openTlsClient(web.ports.inbound, { ...asPeer(friend), rejectUnauthorized: false }));
    const before = await web.metric('weft_refusals_total', 'word="access_denied"');
    await mesh.apply(web, 'web', [PERMISSIVE, ONLY_FRIENDS]);
    await Promise.all([throughSidecar.ended, direct.ended]);
    await echoes(kept, 'pong');
    const counted = (): Promise<number> => web.metric('weft_refusals_total', 'word="access_denied"');
    await eventually('both are counted', async () => (await counted()) === before + 2 || undefined);
  });
});
