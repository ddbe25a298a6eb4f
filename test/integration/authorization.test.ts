/** AuthorizationPolicy between two sidecars: who is let in, what others see, and what a change of policy ends. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Explanation } from '../../proxy/answers/explanation.ts';
import { startBackend, text } from '../support/backend.ts';
import { openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { document } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, header, logLine, meshed, post, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
const bytes = createServer((socket: Socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
let web: Weft;
let database: Weft;
let friend: Weft;
let stranger: Weft;
let webPort = 0;
let services: string[] = [];
let inForce = '';

function policy(name: string, spec: object, namespace = 'default'): string {
  return document({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace },
    spec,
  });
}

const ONLY_FRIENDS = policy('friends', {
  rules: [{ from: [{ source: { principals: ['cluster.local/ns/default/sa/friend'] } }] }],
});

beforeAll(async () => {
  await once(bytes.listen(0, '127.0.0.1'), 'listening');
  const app = mesh.own(await startBackend(text('served')));
  webPort = app.port;
  const flags = ['--access-log', 'json'];
  [web, database] = await Promise.all([
    mesh.start({ account: 'web', app: app.port, flags }),
    mesh.start({ account: 'database', app: (bytes.address() as AddressInfo).port, flags }),
  ]);
  services = [
    ...meshed({ name: 'web', endpoints: [web.ports.inbound] }),
    ...meshed({ name: 'database', port: 5432, appProtocol: 'tcp', endpoints: [database.ports.inbound] }),
  ];
  [friend, stranger] = await Promise.all([
    mesh.start({ account: 'friend', documents: services }),
    mesh.start({ account: 'stranger', documents: services }),
  ]);
}, 60_000);

/** The web sidecar's policy; a folder that stays as it is would not be applied again. */
async function rule(...policies: readonly string[]): Promise<void> {
  if (policies.join() === inForce) return;
  inForce = policies.join();
  await mesh.apply(web, 'web', policies);
}

afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  bytes.close();
});

describe('an HTTP request', () => {
  test('of a caller that an ALLOW names is served, of another one refused as Envoy does', async () => {
    await rule(ONLY_FRIENDS);
    expect((await ask(friend.ports.outbound, get('web'))).status).toBe(200);
    const answer = await ask(stranger.ports.outbound, get('web'));
    expect([answer.status, answer.body.toString()]).toEqual([403, 'RBAC: access denied']);
    expect(wordOf(answer)).toBe('access_denied');
    expect(header(answer, 'proxy-status')).toContain('AuthorizationPolicy default/friends');
    const line = await logLine(web, (entry) => entry['status'] === 403);
    expect(line['downstream_principal'] ?? line['downstreamPrincipal'] ?? '').toContain('sa/stranger');
    expect(await web.metric('weft_refusals_total', 'word="access_denied"')).toBeGreaterThan(0);
  });

  test('fares as explain says, asked of the sidecar that sends it', async () => {
    await rule(ONLY_FRIENDS);
    for (const [weft, account] of [
      [friend, 'friend'],
      [stranger, 'stranger'],
    ] as const) {
      await mesh.apply(weft, account, [...services, ONLY_FRIENDS]);
      const answer = await ask(weft.ports.outbound, get('web'));
      const told = (await (await weft.ask('admin', '/explain?url=http://web/')).json()) as Explanation;
      expect(told.verdict.word).toBe(wordOf(answer) ?? '');
      expect(told.backends[0]?.authorization).toMatchObject([
        { policy: 'default/friends', fits: answer.status === 200 },
      ]);
    }
  });

  test('of gRPC is told PERMISSION_DENIED', async () => {
    await rule(ONLY_FRIENDS);
    const fields = ['content-type: application/grpc', 'te: trailers'];
    const answer = await ask(stranger.ports.outbound, post('web', '', '/shop.Catalog/Get', ...fields));
    expect([answer.status, header(answer, 'grpc-status')]).toEqual([200, '7']);
    expect(header(answer, 'grpc-message')).toBe('RBAC: access denied');
  });

  test('on a connection that stays is judged by the policy of its own time', async () => {
    await rule(ONLY_FRIENDS);
    using client = await openClient(stranger.ports.outbound);
    expect((await client.exchange(get('web'))).status).toBe(403);
    await rule();
    expect((await client.exchange(get('web'))).status).toBe(200);
    await rule(policy('nobody', {}));
    expect((await client.exchange(get('web'))).status).toBe(403);
  });

  test('is refused by a DENY on its port, whatever an ALLOW says', async () => {
    const port = [{ operation: { ports: [String(webPort)] } }];
    await rule(ONLY_FRIENDS, policy('closed', { action: 'DENY', rules: [{ to: port }] }));
    const answer = await ask(friend.ports.outbound, get('web'));
    expect(header(answer, 'proxy-status')).toContain('AuthorizationPolicy default/closed rule 0 denies');
    const other = [{ operation: { ports: ['1'] } }];
    await rule(ONLY_FRIENDS, policy('closed', { action: 'DENY', rules: [{ to: other }] }));
    expect((await ask(friend.ports.outbound, get('web'))).status).toBe(200);
  });
});

describe('opaque bytes', () => {
  async function open(from: Weft): Promise<RawClient> {
    const client = await openClient(from.ports.outbound);
    await client.exchange('CONNECT database:5432 HTTP/1.1\r\nHost: database:5432\r\n\r\n', 'CONNECT');
    return client;
  }

  async function talks(client: RawClient): Promise<void> {
    const before = client.text.length;
    await client.write('ping\r\n');
    await client.until(() => client.text.length === before + 6 || undefined);
  }

  test('of a caller that may not are never given to the application, and of one that may no more are cut', async () => {
    using kept = await open(friend);
    using lost = await open(stranger);
    await talks(kept);
    await talks(lost);
    await mesh.apply(database, 'database', [ONLY_FRIENDS]);
    expect(await lost.ended).toBe('reset');
    await talks(kept);
    using refused = await open(stranger);
    await refused.write('ping\r\n');
    await refused.ended;
    expect(refused.text).not.toContain('ping');
    const denials = (): Promise<number> => database.metric('weft_refusals_total', 'word="access_denied"');
    expect(await eventually('both are counted', async () => ((await denials()) >= 2 ? denials() : undefined))).toBe(2);
    const line = await logLine(database, (entry) => JSON.stringify(entry).includes('access_denied'));
    expect(JSON.stringify(line)).toContain('default/friends');
  });
});
