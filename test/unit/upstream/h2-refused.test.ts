/** Streams that the endpoint says it has not acted on (RFC 9113 section 8.7): sent again without policy's leave. */
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { expect, test } from 'vitest';
import { callSettings } from '../../../proxy/config/compile/call-settings.ts';
import { TRAFFIC_DEFAULTS } from '../../../proxy/config/compile/traffic.ts';
import * as f from '../../../proxy/http/h2-frames.ts';
import { post, wordOf } from '../../integration/mesh.ts';
import { H2Caller } from '../../interop/http2-peers.ts';
import { eventually } from '../../support/eventually.ts';
import { frame, framesIn, headers, OK, settings, uint32 } from '../../support/h2.ts';
import type { Heard } from '../../support/heard.ts';
import { RoomStage } from '../session/room-stage.ts';

const ACK = frame(f.SETTINGS, f.ACK, 0);
const BURST = 50;

/** Takes one stream at a time, and echoes what was posted. */
function oneAtATime(bodies: string[]): Http2Server {
  const app = createServer({ settings: { maxConcurrentStreams: 1 } });
  app.on('stream', (stream: ServerHttp2Stream) => {
    let body = '';
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => (body += String(chunk)));
    stream.on('end', () => {
      bodies.push(body);
      stream.respond({ ':status': 200 });
      stream.end(body);
    });
  });
  return app;
}

function heads(endpoint: Heard): string[] {
  return framesIn(endpoint.bytes).filter((line) => line.startsWith('HEADERS'));
}

async function openStage(): Promise<RoomStage> {
  const stage = await RoomStage.open({ protocol: 'http2' });
  // An attempt that begins at 0 of the clock counts as none.
  stage.clock.advance(1);
  return stage;
}

test('a burst on a fresh connection waits its turn where the SETTINGS then allow one stream, and no POST comes twice', async () => {
  const bodies: string[] = [];
  const app = oneAtATime(bodies);
  await using stage = await openStage();
  stage.serve = (socket) => void app.emit('connection', socket);
  using caller = new H2Caller(stage.port);
  const post = async (i: number): Promise<string> => {
    const answer = await caller.ask({ ':method': 'POST', ':authority': 'app' }, { body: `body ${i}` });
    return `${answer.status} ${String(answer.body)}`;
  };
  const numbers = Array.from({ length: BURST }, (_, i) => i);
  expect(await Promise.all(numbers.map(post))).toEqual(numbers.map((i) => `200 body ${i}`));
  expect(bodies.toSorted()).toEqual(numbers.map((i) => `body ${i}`).toSorted());
  expect([...stage.cluster.endpoints.values()].map(({ active, failures }) => [active, failures])).toEqual([[0, 0]]);
});

test('a POST that GOAWAY excludes goes to the next connection at once, and there is nothing against the endpoint', async () => {
  await using stage = await openStage();
  stage.serve = (socket) => void socket.write(Buffer.concat([settings(), ACK]));
  using caller = new H2Caller(stage.port);
  const answer = caller.ask({ ':method': 'POST', ':authority': 'app' }, { body: 'once' });
  const first = await stage.connection(0);
  await eventually('it is sent', () => heads(first).length > 0 || undefined);
  first.socket.write(frame(f.GOAWAY, 0, 0, uint32(0, f.NO_ERROR)));
  const second = await stage.connection(1);
  await eventually('it is sent again', () => heads(second).length > 0 || undefined);
  second.socket.write(headers(1, OK));
  expect((await answer).status).toBe(200);
  expect([...stage.cluster.endpoints.values()].map(({ active, failures }) => [active, failures])).toEqual([[0, 0]]);
});

test('an endpoint that refuses every stream is asked a bounded number of times, and the caller is told', async () => {
  await using stage = await openStage();
  const seen: number[] = [];
  stage.serve = (socket) => {
    socket.write(Buffer.concat([settings(), ACK]));
    const heard = stage.served.at(-1) as Heard;
    socket.on('data', () => {
      for (; seen.length < heads(heard).length; seen.push(1)) {
        socket.write(frame(f.RST_STREAM, 0, 2 * seen.length + 1, uint32(f.REFUSED_STREAM)));
      }
    });
  };
  using client = await stage.connect();
  await client.write(post('app', 'body'));
  const passes = async (): Promise<true | undefined> => {
    await stage.pass(1_000);
    return client.text.length > 0 || undefined;
  };
  await eventually('an answer', passes);
  const answer = await client.answer();
  expect([answer.status, wordOf(answer)]).toEqual([502, 'upstream_refused_stream']);
  expect(seen.length).toBeGreaterThan(2);
  expect(seen.length).toBeLessThan(8);
  expect([...stage.cluster.endpoints.values()].map(({ active }) => active)).toEqual([0]);
});

test('a stream that is refused in the middle of an answer was acted on: an RPC whose head is held back is not sent again', async () => {
  const { retryRules } = callSettings({ ...TRAFFIC_DEFAULTS, triggers: ['unavailable'] });
  await using stage = await RoomStage.open({ protocol: 'http2', spec: { retryRules } });
  stage.clock.advance(1);
  stage.serve = (socket) => void socket.write(Buffer.concat([settings(), ACK]));
  using caller = new H2Caller(stage.port);
  const rpc = { ':method': 'POST', ':authority': 'app', 'content-type': 'application/grpc', te: 'trailers' };
  const answer = caller.ask(rpc, { body: 'once' });
  const endpoint = await stage.connection(0);
  await eventually('it is sent', () => heads(endpoint).length > 0 || undefined);
  const refused = frame(f.RST_STREAM, 0, 1, uint32(f.REFUSED_STREAM));
  endpoint.socket.write(Buffer.concat([headers(1, OK, f.END_HEADERS), refused]));
  await eventually(
    'it ends, or is sent again',
    () => stage.requests.length > 0 || heads(endpoint).length > 1 || undefined,
  );
  expect(stage.requests.map(({ failure, attempts }) => [failure?.word, attempts])).toEqual([['upstream_cut', 1]]);
  await answer;
});
