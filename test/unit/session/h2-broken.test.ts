/** Whose fault it is, by log and metrics, when one side of a sidecar breaks the rules of HTTP/2 for all its streams. */
import { expect, test } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { H2Caller } from '../../interop/http2-peers.ts';
import { eventually } from '../../support/eventually.ts';
import { frame, framesIn, GET, headers, OK, settings, uint32 } from '../../support/h2.ts';
import { RoomStage } from './room-stage.ts';

const GREETING = Buffer.concat([settings(), frame(f.SETTINGS, f.ACK, 0)]);
const PUSH = frame(f.PUSH_PROMISE, f.END_HEADERS, 1, uint32(2));

test.each([
  ['instead of an answer', [PUSH], 502],
  ['within its answer', [headers(1, OK, f.END_HEADERS), PUSH], 200],
])(
  'an endpoint that breaks its connection %s is named as the one that broke the protocol',
  async (_when, says, status) => {
    await using stage = await RoomStage.open({ protocol: 'http2' });
    stage.serve = (socket) => {
      socket.write(GREETING);
      socket.on('data', () => {
        const heard = stage.served.at(-1)?.bytes ?? Buffer.alloc(0);
        if (framesIn(heard).includes('HEADERS 1')) socket.write(Buffer.concat(says));
      });
    };
    using caller = new H2Caller(stage.port);
    const answered = caller.ask({ ':method': 'POST', ':authority': 'app' }, { body: 'not sent twice' });
    await eventually('a record', () => stage.requests[0]);
    expect((await answered).status).toBe(status);
    expect(stage.requests.map((record) => [record.status, record.failure?.word, record.failure?.flag])).toEqual([
      [status, 'upstream_h2_connection_error', 'UPE'],
    ]);
    expect(stage.served.length).toBe(1);
  },
);

test('a caller that breaks its connection is told apart from one that leaves', async () => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  stage.serve = (socket) => void socket.write(GREETING);
  using client = await stage.connect();
  await client.write(Buffer.concat([f.PREFACE, settings(), headers(1, GET)]));
  await stage.connection(0);
  await client.write(PUSH);
  const record = await eventually('a record', () => stage.requests[0]);
  expect([record.failure?.word, record.failure?.flag]).toEqual(['h2_connection_error', 'DPE']);
});
