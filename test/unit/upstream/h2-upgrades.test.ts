/** Upgrades towards endpoints of HTTP/2: extended CONNECT goes to those that have announced it (RFC 8441 section 3). */
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { ENABLE_CONNECT_PROTOCOL } from '../../../proxy/http/h2-settings.ts';
import { get, wordOf } from '../../integration/mesh.ts';
import type { RawClient } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { frame, framesIn, headers, OK, settings } from '../../support/h2.ts';
import type { Heard } from '../../support/heard.ts';
import { RoomStage } from '../session/room-stage.ts';

const UPGRADE = get('app', '/ws', 'Connection: Upgrade', 'Upgrade: websocket');
const ANNOUNCED = settings([ENABLE_CONNECT_PROTOCOL, 1]);
const ACK = frame(f.SETTINGS, f.ACK, 0);

/** An upgrade on its way to an endpoint of HTTP/2 that has said nothing yet. */
async function ask(stage: RoomStage): Promise<{ client: RawClient; endpoint: Heard }> {
  const client = await stage.connect();
  await client.write(UPGRADE);
  const endpoint = await stage.connection(0);
  await eventually('the link has begun', () => endpoint.length > f.PREFACE.length || undefined);
  await stage.pass(0);
  return { client, endpoint };
}

function heads(endpoint: Heard): string[] {
  return framesIn(endpoint.bytes).filter((line) => line.startsWith('HEADERS'));
}

test('an upgrade waits for the SETTINGS of a fresh connection, and goes where they announce extended CONNECT', async () => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  const { client, endpoint } = await ask(stage);
  expect(heads(endpoint)).toEqual([]);
  endpoint.socket.write(Buffer.concat([ANNOUNCED, ACK]));
  await eventually('the upgrade is asked for', () => heads(endpoint).length > 0 || undefined);
  endpoint.socket.write(headers(1, OK, f.END_HEADERS));
  expect((await client.answer()).status).toBe(101);
  client[Symbol.dispose]();
});

test('an upgrade is answered with 502 where the endpoint announces none, and nothing of it is sent', async () => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  const { client, endpoint } = await ask(stage);
  endpoint.socket.write(Buffer.concat([settings(), ACK]));
  const answer = await client.answer();
  expect([answer.status, wordOf(answer)]).toEqual([502, 'protocol_mismatch']);
  // Now it is known, and the answer comes at once.
  await client.write(UPGRADE);
  expect((await client.answer()).status).toBe(502);
  expect(heads(endpoint)).toEqual([]);
  expect(stage.requests.map(({ detail }) => detail)).toEqual(Array(2).fill(expect.stringContaining('RFC 8441')));
  client[Symbol.dispose]();
});

test.each<[string, (socket: Socket) => void]>([
  ['closes the connection', (socket) => void socket.end()],
  ['says nothing for long', () => undefined],
])('an upgrade ends with an endpoint that %s before its SETTINGS', async (_what, act) => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  stage.serve = act;
  using client = await stage.connect();
  await client.write(UPGRADE);
  await stage.connection(0);
  // Each attempt is given up after a PING that nobody answers.
  const passes = async (): Promise<true | undefined> => {
    await stage.pass(5_000);
    return client.text.length > 0 || undefined;
  };
  await eventually('an answer', passes);
  expect((await client.answer()).status).toBe(502);
  expect(stage.room.openRequests).toBe(0);
});

test('a caller that leaves while its upgrade waits for SETTINGS leaves nothing behind', async () => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  const { client, endpoint } = await ask(stage);
  client[Symbol.dispose]();
  await eventually('the request is over', () => stage.room.openRequests === 0 || undefined);
  endpoint.socket.write(Buffer.concat([ANNOUNCED, ACK]));
  using next = await stage.connect();
  await next.write(get('app', '/'));
  await eventually('the next one is sent', () => heads(endpoint).length > 0 || undefined);
  expect(heads(endpoint)).toEqual(['HEADERS 1 END']);
  endpoint.socket.write(headers(1, [...OK, ['content-length', '0']]));
  expect((await next.answer()).status).toBe(200);
  const links = [...stage.cluster.endpoints.values()].flatMap(({ links: some }) => some);
  expect(links.map(({ load }) => load)).toEqual([0]);
});
