/** Tunnels: nothing goes through before both ends agreed, and a connection that was one is never a request's again. */
import type { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ask, get, wordOf } from '../integration/mesh.ts';
import { eventually } from '../support/eventually.ts';
import { answerWith, echoTarget, Stage, targetOf } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => stage.begin());

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n';
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
const upgrade = (...fields: string[]): string =>
  get('app', '/ws', 'Connection: Upgrade', 'Upgrade: websocket', ...fields);

test('bytes sent along with an upgrade wait for the 101', async () => {
  let used: Socket | null = null;
  stage.app.respond = (_seen, socket) => {
    used = socket;
  };
  using client = await stage.outbound();
  await client.write(upgrade() + SMUGGLED);
  await eventually('the request is there', () => used ?? undefined);
  expect(await answerOfAnother()).toBe('');
  expect(stage.bytes).not.toContain('smuggled');
  (used as unknown as Socket).write(`${SWITCH}hello`);
  await client.until(() => (client.text.endsWith('hello') ? true : undefined));
  await eventually('the bytes follow the 101', () => stage.bytes.includes('smuggled') || undefined);
});

/** Something that takes the sidecar a turn or two, with no answer awaited from the application. */
async function answerOfAnother(): Promise<string> {
  return (await ask(stage.weft.ports.outbound, get('unknown.invalid', '/'))).status === 0 ? 'impossible' : '';
}

test('a 200 is no upgrade: what follows is the next request', async () => {
  stage.app.respond = echoTarget;
  using client = await stage.outbound();
  await client.write(upgrade() + get('app', '/second'));
  expect((await client.answer()).body.toString()).toBe('/ws');
  expect((await client.answer()).body.toString()).toBe('/second');
  expect(stage.app.seen.map(({ head }) => targetOf(head))).toEqual(['/ws', '/second']);
});

test('a refused upgrade reaches the application as nothing, and what follows it is judged as a request', async () => {
  using client = await stage.outbound();
  const answer = await client.exchange(
    get('app', '/ws', 'Connection: Upgrade', 'Upgrade: quic') + get('app', '/second'),
  );
  expect(answer.status).toBe(400);
  expect(wordOf(answer)).toBe('upgrade_refused');
  expect(stage.app.seen.map(({ head }) => targetOf(head))).not.toContain('/ws');
});

test('h2c is never offered to the application', async () => {
  using client = await stage.outbound();
  const fields = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'];
  expect((await client.exchange(get('app', '/x', ...fields))).status).toBe(200);
  expect(stage.bytes.toLowerCase()).not.toContain('upgrade');
  expect(stage.bytes.toLowerCase()).not.toContain('http2-settings');
});

test('an upgrade that comes with a body is not offered, so that no body is taken for the new protocol', async () => {
  stage.app.respond = echoTarget;
  using client = await stage.outbound();
  expect((await client.exchange(`${upgrade('Content-Length: 5')}01234`)).body.toString()).toBe('/ws');
  expect((await client.exchange(`${upgrade('Transfer-Encoding: chunked')}0\r\n\r\n`)).body.toString()).toBe('/ws');
  expect(stage.bytes.toLowerCase()).not.toContain('upgrade');
});

test('an upgraded connection never carries another request', async () => {
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
  for (let i = 0; i < 20; i++) {
    using client = await stage.outbound();
    await client.exchange(upgrade());
    if (i % 2 === 0) upgraded[i]?.end('bye');
    else client.finish();
    await client.ended;
    expect((await stage.victim(`/victim-${i}`)).body.toString()).toBe(`/victim-${i}`);
  }
  expect(new Set(upgraded).size).toBe(20);
});

test('when the application ends an upgraded connection, weft gives up its side of it too', async () => {
  let used: Socket | null = null;
  let ended = false;
  stage.app.respond = (_seen, socket) => {
    used = socket;
    socket.once('end', () => {
      ended = true;
    });
    socket.write(SWITCH);
  };
  using client = await stage.outbound();
  await client.exchange(upgrade());
  (used as unknown as Socket).end('bye');
  await client.until(() => (client.text.endsWith('bye') ? true : undefined));
  client.close();
  await eventually('the application sees the end of the connection', () => ended || undefined, 4_000);
});

test('bytes sent along with a CONNECT wait for the upstream, and none are lost', async () => {
  using client = await stage.outbound();
  await client.write(`CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\n\r\n${get('app', '/through')}`);
  expect((await client.answer('CONNECT')).status).toBe(200);
  expect((await client.answer()).body.toString()).toBe('/through');
});

test('bytes sent along with a CONNECT that is refused go nowhere', async () => {
  using client = await stage.outbound();
  await client.write(`CONNECT app:81 HTTP/1.1\r\nHost: app:81\r\n\r\n${SMUGGLED}`);
  expect((await client.answer('CONNECT')).status).toBe(404);
  await client.ended;
  expect(stage.bytes).toBe('');
});

test('nobody opens a tunnel through inbound', async () => {
  for (const target of ['app:80', '127.0.0.1:22', `127.0.0.1:${stage.weft.ports.admin}`]) {
    using client = await stage.inbound();
    await client.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n${SMUGGLED}`);
    expect((await client.answer('CONNECT')).status).toBe(404);
    await client.ended;
  }
  expect(stage.bytes).toBe('');
});

test('an answer to a CONNECT of another caller cannot be forged by a pooled connection', async () => {
  stage.app.respond = (_seen, socket) => void socket.write(answerWith('x'));
  await stage.victim('/warm-up');
  using client = await stage.outbound();
  await client.write('CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\n\r\n');
  expect((await client.answer('CONNECT')).headers.size).toBe(0);
});

test('a caller that stays when the application has ended the new protocol is let go', async () => {
  stage.app.respond = (_seen, socket) => {
    socket.write(SWITCH);
    socket.end('bye');
  };
  using client = await stage.outbound();
  await client.write(upgrade());
  expect(await client.ended).toBe('fin');
  expect(client.text.endsWith('bye')).toBe(true);
  // It neither ends its side nor stops to speak, until nobody takes it.
  await eventually('it is told to', () => {
    void client.write('still here');
    return client.socket.destroyed || undefined;
  });
});
