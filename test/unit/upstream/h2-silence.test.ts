/** An endpoint of HTTP/2 that falls silent with a stream open is given up, whatever it did before. */
import { once } from 'node:events';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { H2Caller } from '../../interop/http2-peers.ts';
import { frame, headers, OK, settings } from '../../support/h2.ts';
import { RoomStage, type StageOptions } from '../session/room-stage.ts';

/** How often a connection looks at its clock, at least. */
const CHECK_MS = 5_000;
/** 15 s of silence and 10 s for the answer to the PING, a look late each; all of it twice. */
const GIVEN_UP_MS = 70_000;

type Act = (stage: RoomStage, socket: Socket) => Promise<void>;

/** Begins an answer, lets `act` do what it does, and answers how the stream ended in the silence after that. */
async function silence(options: StageOptions, act: Act): Promise<number> {
  await using stage = await RoomStage.open({ protocol: 'http2', ...options });
  using caller = new H2Caller(stage.port);
  stage.serve = (socket) => void socket.write(Buffer.concat([settings(), frame(f.SETTINGS, f.ACK, 0)]));
  const stream = caller.open({ ':authority': 'app' }, true);
  const ended = new Promise((resolve) => {
    stream.on('close', resolve);
  });
  const { socket } = await stage.connection(0);
  socket.write(headers(1, OK, f.END_HEADERS));
  await once(stream, 'response');
  await act(stage, socket);
  for (let ms = 0; ms < GIVEN_UP_MS; ms += CHECK_MS) await stage.pass(CHECK_MS);
  await ended;
  return stream.rstCode ?? 0;
}

test('that something came after our PING, and no answer to it, makes no difference', async () => {
  const code = await silence({}, async (stage, socket) => {
    const asked = once(socket, 'data');
    for (let ms = 0; ms <= 15_000; ms += CHECK_MS) await stage.pass(CHECK_MS);
    await asked;
    const answered = once(socket, 'data');
    socket.write(frame(f.PING, 0, 0, Buffer.alloc(8)));
    await answered;
  });
  expect(code).toBe(constants.NGHTTP2_INTERNAL_ERROR);
});

test('nor does that the connection has the age at which it takes no new request', async () => {
  const code = await silence({ spec: { maxConnectionAgeMs: CHECK_MS } }, async () => undefined);
  expect(code).toBe(constants.NGHTTP2_INTERNAL_ERROR);
});
