/** A caller of HTTP/2 whose side of an upgraded stream ends before the protocol is switched. */
import { expect, test } from 'vitest';
import { END_HEADERS, END_STREAM, PREFACE } from '../../../proxy/http/h2-frames.ts';
import { eventually } from '../../support/eventually.ts';
import { frame, headers, type Pair, settings } from '../../support/h2.ts';
import { RoomStage } from './room-stage.ts';

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
const CONNECT: Pair[] = [
  [':method', 'CONNECT'],
  [':protocol', 'websocket'],
  [':scheme', 'http'],
  [':path', '/ws'],
  [':authority', 'app'],
];

test.each([
  ['after bytes of it', [headers(1, CONNECT, END_HEADERS), frame(0, END_STREAM, 1, Buffer.from('bye'))], 'bye'],
  ['with its request', [headers(1, CONNECT, END_HEADERS | END_STREAM)], ''],
])('the application hears that the caller has ended its side %s', async (_when, frames, said) => {
  await using stage = await RoomStage.open({ protocol: 'http' });
  using client = await stage.connect();
  await client.write(Buffer.concat([PREFACE, settings(), ...frames]));
  const server = await stage.connection(0);
  await eventually('the request', () => server.text.endsWith('\r\n\r\n') || undefined);
  server.socket.write(SWITCH);
  expect(await server.untilEnd()).toBe('fin');
  expect(server.text.split('\r\n\r\n')[1]).toBe(said);
  server.socket.end();
  await eventually('it is over', () => stage.room.openRequests === 0 || undefined);
});
