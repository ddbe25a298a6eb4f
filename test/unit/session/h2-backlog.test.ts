/** Memory in which bytes of an HTTP/2 stream wait for a window. */
import { expect, test, vi } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { INITIAL_WINDOW_SIZE } from '../../../proxy/http/h2-settings.ts';
import { eventually } from '../../support/eventually.ts';
import { frame, GET, headers, POST, settings, uint32 } from '../../support/h2.ts';
import { RoomStage } from './room-stage.ts';

const BACKLOG_BYTES = 65_536;
const ROUNDS = 20;
const RESET = uint32(f.CANCEL);
const greeting = (window: number): Buffer =>
  Buffer.concat([settings([INITIAL_WINDOW_SIZE, window]), frame(f.SETTINGS, f.ACK, 0)]);

/** Backlogs made, and not taken over from others, in as many rounds of `round`, each with a stream of its own. */
async function made(round: (id: number) => Promise<void>): Promise<number> {
  await round(1);
  const spy = vi.spyOn(Buffer, 'allocUnsafeSlow');
  for (let id = 3; id < 2 * ROUNDS; id += 2) await round(id);
  const count = spy.mock.calls.filter(([size]) => size === BACKLOG_BYTES).length;
  spy.mockRestore();
  return count;
}

test('what held an answer that its caller gave up serves the next one', async () => {
  await using stage = await RoomStage.open({ protocol: 'http' });
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi';
  stage.serve = (socket) => void socket.on('data', () => socket.write(answer));
  using client = await stage.connect();
  await client.write(Buffer.concat([f.PREFACE, greeting(0)]));
  const round = async (id: number): Promise<void> => {
    const before = stage.requests.length;
    await client.write(headers(id, GET));
    await eventually('the answer waits', () => stage.requests.length > before || undefined);
    await client.write(Buffer.concat([frame(f.RST_STREAM, 0, id, RESET), frame(f.PING, 0, 0, Buffer.alloc(8, id))]));
    await client.until(() => client.received.includes(Buffer.alloc(8, id)) || undefined);
  };
  expect(await made(round)).toBe(0);
});

test('what held a request that its caller gave up serves the next one', async () => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  stage.serve = (socket) => void socket.write(greeting(0));
  using client = await stage.connect();
  await client.write(Buffer.concat([f.PREFACE, greeting(1000)]));
  const round = async (id: number): Promise<void> => {
    const before = stage.requests.length;
    const body = frame(f.DATA, 0, id, Buffer.from('waits'));
    await client.write(
      Buffer.concat([headers(id, POST, f.END_HEADERS), body, frame(f.PING, 0, 0, Buffer.alloc(8, id))]),
    );
    await client.until(() => client.received.includes(Buffer.alloc(8, id)) || undefined);
    const endpoint = await stage.connection(0);
    await eventually('it is on its way', () => endpoint.bytes.includes(frame(f.SETTINGS, f.ACK, 0)) || undefined);
    await client.write(frame(f.RST_STREAM, 0, id, RESET));
    await eventually('it is over', () => stage.requests.length > before || undefined);
  };
  expect(await made(round)).toBe(0);
});
