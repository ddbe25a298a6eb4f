/** Requests that wait for a stream on an HTTP/2 connection. */
import { createServer } from 'node:http2';
import { expect, test } from 'vitest';
import { H2Caller } from '../../interop/http2-peers.ts';
import { RoomStage } from '../session/room-stage.ts';

test('each stream that ends makes room for the next request, where the endpoint takes one at a time', async () => {
  await using stage = await RoomStage.open({ protocol: 'http2', maxConnections: 1 });
  const app = createServer({ settings: { maxConcurrentStreams: 1 } }, (_request, response) => void response.end('ok'));
  stage.serve = (socket) => void app.emit('connection', socket);
  using caller = new H2Caller(stage.port);
  const ask = async (): Promise<string> => String((await caller.ask({ ':authority': 'app' })).body);
  // Tells how many streams there may be.
  expect(await ask()).toBe('ok');
  expect(await Promise.all([ask(), ask(), ask(), ask()])).toEqual(['ok', 'ok', 'ok', 'ok']);
});
