/** What time bounds on a caller's HTTP/2 connection, and what it does not. */
import { expect, test } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { INITIAL_WINDOW_SIZE } from '../../../proxy/http/h2-settings.ts';
import { HEAD_TIMEOUT_MS, STREAM_IDLE_MS } from '../../../proxy/session/phases.ts';
import { eventually } from '../../support/eventually.ts';
import { frame, framesIn, GET, headers, POST, settings, uint32 } from '../../support/h2.ts';
import { RoomStage } from './room-stage.ts';

const HELLO = Buffer.concat([f.PREFACE, settings(), frame(f.SETTINGS, f.ACK, 0), headers(1, POST, f.END_HEADERS)]);
/** Half of a frame and half of the next come with every read. */
const FRAME = frame(f.DATA, 0, 1, Buffer.alloc(1000));
const [FIRST_HALF, SECOND_HALF] = [FRAME.subarray(0, 400), FRAME.subarray(400)];
const STEP_MS = 1_000;

test('an upload that is always in the middle of a frame goes on as long as its frames end', async () => {
  await using stage = await RoomStage.open();
  using client = await stage.connect();
  const first = Buffer.concat([HELLO, FIRST_HALF]);
  await client.write(first);
  for (let i = 1; i * STEP_MS < 3 * HEAD_TIMEOUT_MS; i++) {
    await stage.read(first.length + (i - 1) * FRAME.length);
    await stage.pass(STEP_MS);
    await client.write(Buffer.concat([SECOND_HALF, FIRST_HALF]));
  }
  await client.write(SECOND_HALF);
  await client.write(frame(f.PING, 0, 0, Buffer.from('the end.')));
  expect(await client.until(() => client.text.includes('the end.') || undefined)).toBe(true);
});

test('a frame that does not end in time ends its connection', async () => {
  await using stage = await RoomStage.open();
  using client = await stage.connect();
  const first = Buffer.concat([HELLO, FIRST_HALF]);
  await client.write(first);
  for (let i = 1; i * STEP_MS < 2 * HEAD_TIMEOUT_MS; i++) {
    await stage.read(first.length + i - 1);
    await stage.pass(STEP_MS);
    if (stage.room.sessions.size === 0) break;
    await client.write(Buffer.alloc(1));
  }
  await client.ended;
  expect(client.text).toContain('a frame or header block did not end in time');
});

test('CONTINUATION by CONTINUATION, a header block has no more time than a frame', async () => {
  await using stage = await RoomStage.open();
  using client = await stage.connect();
  const first = Buffer.concat([HELLO, headers(3, POST, 0)]);
  await client.write(first);
  const piece = frame(f.CONTINUATION, 0, 3, Buffer.from([0x10]));
  for (let i = 1; i <= 6; i++) {
    await stage.read(first.length + (i - 1) * piece.length);
    await stage.pass(HEAD_TIMEOUT_MS / 3);
    if (stage.room.sessions.size === 0) break;
    await client.write(piece);
  }
  await client.ended;
  expect(client.text).toContain('a frame or header block did not end in time');
});

/** What is told of the stream of a caller with closed windows, who says `says` now and then while a complete answer waits. */
async function whileWaiting(...says: Buffer[]): Promise<string[]> {
  await using stage = await RoomStage.open({ protocol: 'http' });
  stage.serve = (socket) =>
    void socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789'));
  using client = await stage.connect();
  const closed = settings([INITIAL_WINDOW_SIZE, 0]);
  await client.write(Buffer.concat([f.PREFACE, closed, frame(f.SETTINGS, f.ACK, 0), headers(1, GET)]));
  await eventually('the answer is here', () => stage.requests.length > 0 || undefined);
  for (const word of ['the 1st.', 'the 2nd.', 'the 3rd.', 'the end.']) {
    await client.write(Buffer.concat([...says, frame(f.PING, 0, 0, Buffer.from(word))]));
    await client.until(() => client.text.includes(word) || undefined);
    // A look, and then the time.
    for (const ms of [2 * STEP_MS, STREAM_IDLE_MS / 2]) await stage.pass(ms);
  }
  return framesIn(client.received).filter((line) => / 1\b/.test(line));
}

test('a complete answer of which a caller takes nothing is kept for a while, then its stream is reset', async () => {
  expect(await whileWaiting()).toEqual(['HEADERS 1', 'RST_STREAM 1 CANCEL']);
});

test('one of which it takes some now and then is kept', async () => {
  const some = frame(f.WINDOW_UPDATE, 0, 1, uint32(2));
  expect(await whileWaiting(some)).toEqual(['HEADERS 1', 'DATA 1 2', 'DATA 1 2', 'DATA 1 2', 'DATA 1 2']);
});
