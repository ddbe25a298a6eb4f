/** The end of a room: what is open when the sidecar ends, on a stage with real sockets. */
import { afterEach, expect, test } from 'vitest';
import type { AccessLog } from '../../../proxy/telemetry/access-log.ts';
import { eventually } from '../../support/eventually.ts';
import { RoomStage } from './room-stage.ts';

let stage: RoomStage;
afterEach(() => stage[Symbol.asyncDispose]());

const REQUEST = 'GET /x HTTP/1.1\r\nHost: app\r\n\r\n';
const HALF = 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf';

async function refusals(): Promise<string[]> {
  await eventually('nothing is open', () => stage.room.open === 0 || undefined);
  const counters = stage.metrics
    .report()
    .counters.filter(({ name, value }) => name === 'weft_refusals_total' && value > 0);
  return counters.map(({ labels, value }) => `${labels} ${value}`);
}

test('a request that waits is answered, counted and logged once', async () => {
  stage = await RoomStage.open();
  using client = await stage.connect();
  await client.write(REQUEST);
  const server = await stage.connection(0);
  await eventually('the request is there', () => server.length > 0 || undefined);
  stage.room.destroyAll();
  const { status, headers } = await client.answer();
  expect([status, headers.get('connection')]).toEqual([503, ['close']]);
  expect(await refusals()).toEqual(['word="drain_timeout" 1']);
  expect(stage.requests.map(({ status: told, failure }) => [told, failure?.word])).toEqual([[503, 'drain_timeout']]);
  expect(stage.room.openRequests).toBe(0);
});

test('an answer that only the end of the connection ends is cut by RST', async () => {
  stage = await RoomStage.open();
  stage.serve = (socket) => socket.once('data', () => socket.write(HALF));
  using client = await stage.connect();
  await client.write('GET /x HTTP/1.0\r\nHost: app\r\n\r\n');
  await client.until(() => client.text.endsWith('half') || undefined);
  stage.room.destroyAll();
  expect(await client.ended).toBe('reset');
  expect(stage.requests.map(({ status, failure }) => [status, failure?.word])).toEqual([[200, 'drain_timeout']]);
});

test('a connection between two requests ends without a word, and in order', async () => {
  stage = await RoomStage.open();
  stage.serve = (socket) => socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  using client = await stage.connect();
  await client.exchange(REQUEST);
  stage.room.destroyAll();
  expect(await client.ended).toBe('fin');
  expect(await refusals()).toEqual([]);
  expect(stage.requests.length).toBe(1);
});

test('an answer that was about to leave when the sidecar ends is sent', async () => {
  stage = await RoomStage.open();
  stage.serve = (socket) => socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const { outbox } = stage.room.io;
  const { log } = stage.room.story;
  stage.room.story.log = {
    ...(log as AccessLog),
    // The answer stays in the outbox, as while many sockets are ready.
    request(record) {
      log?.request(record);
      outbox.begin();
    },
  };
  using client = await stage.connect();
  await client.write(REQUEST);
  await eventually('it is answered', () => stage.requests[0]);
  stage.room.destroyAll();
  outbox.end();
  expect((await client.answer()).status).toBe(200);
  expect(await client.ended).toBe('fin');
});

test('a tunnel is cut by RST to both sides, counted and logged with its bytes', async () => {
  stage = await RoomStage.open({ protocol: 'tcp' });
  using client = await stage.connect();
  await client.write('abc');
  const server = await stage.connection(0);
  await server.until('abc');
  stage.room.destroyAll();
  expect(await client.ended).toBe('reset');
  expect(await server.untilEnd()).toBe('reset');
  expect(await refusals()).toEqual(['word="drain_timeout" 1']);
  expect(stage.records).toMatchObject([{ failure: { word: 'drain_timeout' }, receivedBytes: 3 }]);
});
