/** What time bounds on a caller's HTTP/2 connection, and what it does not. */
import { expect, test } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { HEAD_TIMEOUT_MS } from '../../../proxy/session/phases.ts';
import { frame, headers, POST, settings } from '../../support/h2.ts';
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
