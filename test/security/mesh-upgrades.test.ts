/** Upgrades through two sidecars, where the hop between them is another protocol: the same caution at every step. */
import { once } from 'node:events';
import { connect as connectH2 } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { get, meshed, wordOf } from '../integration/mesh.ts';
import { openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { echoTarget, Stage, targetOf } from './stage.ts';

let stage: Stage;
let caller: Weft;
beforeAll(async () => {
  stage = await Stage.open();
  const documents = meshed({ name: 'app', endpoints: [stage.weft.ports.inbound] });
  caller = await stage.mesh.start({ account: 'caller', documents });
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => stage.begin());

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n';
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
const UPGRADE = get('app', '/ws', 'Connection: Upgrade', 'Upgrade: websocket');
const open = (): Promise<RawClient> => openClient(caller.ports.outbound);

async function expectGoodVictims(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    using client = await open();
    expect((await client.exchange(get('app', `/victim-${i}`))).body.toString()).toBe(`/victim-${i}`);
  }
}

test('bytes sent along with an upgrade wait for the 101', async () => {
  let used: Socket | undefined;
  stage.app.respond = (seen, socket) => {
    if (targetOf(seen.head) === '/ws') used = socket.once('end', () => socket.end());
    else echoTarget(seen, socket);
  };
  using client = await open();
  await client.write(UPGRADE + SMUGGLED);
  const socket = await eventually('the request is there', () => used);
  await expectGoodVictims(3);
  expect(stage.bytes).not.toContain('smuggled');
  socket.write(`${SWITCH}hello`);
  await client.until(() => (client.text.endsWith('hello') ? true : undefined));
  await eventually('the bytes follow the 101', () => stage.bytes.includes('smuggled') || undefined);
});

test('a 200 is no upgrade: what follows is the next request', async () => {
  using client = await open();
  await client.write(UPGRADE + get('app', '/second'));
  const first = await client.answer();
  // Over HTTP/2 a 200 would say that the protocol was switched.
  expect(first.status).toBe(502);
  expect(wordOf(first)).toBe('upstream_bad_upgrade');
  expect((await client.answer()).body.toString()).toBe('/second');
  expect(stage.app.seen.map(({ head }) => targetOf(head))).toEqual(['/ws', '/second']);
});

test('a peer that sends bytes before its extended CONNECT is answered smuggles nothing', async () => {
  const { certificateChain, privateKey, trustBundle } = stage.mesh.ca.identity('default/peer');
  const socket = connectTls({
    port: stage.weft.ports.inbound,
    host: '127.0.0.1',
    cert: certificateChain,
    key: privateKey,
    ca: trustBundle,
    ALPNProtocols: ['istio-h2'],
    rejectUnauthorized: false,
  });
  await once(socket, 'secureConnect');
  const session = connectH2('http://app', { createConnection: () => socket });
  session.on('error', () => undefined);
  await once(session, 'remoteSettings');
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':scheme': 'http',
    ':authority': 'app',
    ':path': '/ws',
    'weft-origin': 'http/1.1',
  });
  stream.on('error', () => undefined);
  stream.write(SMUGGLED);
  const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
  expect(head[':status']).toBe(502);
  session.destroy();
  await expectGoodVictims(3);
  expect(stage.bytes).not.toContain('smuggled');
});

test('a 101 that nobody asked for is a 502', async () => {
  stage.app.respond = (_seen, socket) =>
    void socket.write(`${SWITCH}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`);
  using client = await open();
  expect((await client.exchange(get('app', '/x'))).status).toBe(502);
  stage.app.respond = echoTarget;
  await expectGoodVictims(10);
});

test('an upgraded connection ends with either side and never carries another request', async () => {
  const upgraded: Socket[] = [];
  stage.app.respond = (seen, socket) => {
    if (targetOf(seen.head) !== '/ws') {
      echoTarget(seen, socket);
      return;
    }
    upgraded.push(socket);
    socket.once('end', () => socket.end());
    socket.write(SWITCH);
  };
  for (let i = 0; i < 10; i++) {
    using client = await open();
    await client.exchange(UPGRADE);
    if (i % 2 === 0) upgraded[i]?.end('bye');
    else client.finish();
    await client.ended;
    await expectGoodVictims(2);
  }
  expect(new Set(upgraded).size).toBe(10);
  const isOver = (socket: Socket): boolean => socket.readableEnded || socket.destroyed;
  for (const client of upgraded) await eventually('weft gave it up', () => isOver(client) || undefined);
  const gone = async (): Promise<true | undefined> => (await caller.metric('weft_active_requests')) === 0 || undefined;
  await eventually('nothing is under way any more', gone);
});

test('a caller that resets an upgraded connection takes the application’s with it', async () => {
  let used: Socket | undefined;
  stage.app.respond = (_seen, socket) => {
    used = socket;
    socket.write(SWITCH);
  };
  using client = await open();
  await client.exchange(UPGRADE);
  client.reset();
  await eventually('the application sees the end', () => used?.readableEnded || used?.destroyed || undefined);
});
