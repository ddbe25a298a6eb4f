/** What becomes of the traffic that is still there when `--drain` is over: nobody is left without a word. */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TraceReceiver } from '../../deploy/demo/otlp.ts';
import { answerOf, H2Caller } from '../interop/http2-peers.ts';
import { fixed, type RawBackend, startBackend, startRawBackend } from '../support/backend.ts';
import { openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, header, type LogLine, logLines, meshed, plain, post, STALL_MS, TinyMesh, wordOf } from './mesh.ts';

const DRAIN_MS = 1_000;
/** What a process that has cut everything may take to be gone. */
const END_MS = 1_000;
const TRACE_ID = '7'.repeat(32);
const LOG = ['--access-log', 'json', '--drain', String(DRAIN_MS / 1000)];

const mesh = new TinyMesh();
const receiver = await TraceReceiver.start();
/** Says nothing to `/wait`, and to `/half` a head and the beginning of a body that only the end of its connection ends. */
const app: RawBackend = mesh.own(
  await startRawBackend((socket, received) => {
    if (received.includes('GET /half')) socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf');
    else if (received.toString() === 'opaque') socket.write('heard');
  }),
);
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  receiver.close();
});

async function heard(text: string): Promise<void> {
  await eventually(`the application hears ${text}`, () => app.received.some((all) => all.includes(text)) || undefined);
}

function lineOf(weft: Weft, field: string, value: string): LogLine | undefined {
  return logLines(weft).find((line) => line[field] === value);
}

describe('when the drain time is over', () => {
  let weft: Weft;
  let waiting: RawClient;
  let half: RawClient;
  let opaque: RawClient;
  let dialling: RawClient;
  let h2: H2Caller;
  let streams: ReturnType<H2Caller['open']>[];
  let results: Awaited<ReturnType<typeof answerOf>>[];
  let goneAway: number;
  let endedAfterMs: number;
  let code: number | null;

  beforeAll(async () => {
    weft = await mesh.start({
      account: 'ending',
      flags: LOG,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_TRACES_SAMPLER: 'parentbased_always_off' },
      documents: [
        ...plain({ name: 'app', appProtocol: 'http', endpoints: [app.port] }),
        ...plain({ name: 'bytes', port: 5432, appProtocol: 'tcp', endpoints: [app.port] }),
        // It never shakes hands.
        ...meshed({ name: 'silent', port: 5432, appProtocol: 'tcp', endpoints: [app.port] }),
      ],
    });
    const { outbound } = weft.ports;
    [waiting, half, opaque, dialling] = (await Promise.all([1, 2, 3, 4].map(() => openClient(outbound)))) as [
      RawClient,
      RawClient,
      RawClient,
      RawClient,
    ];
    await waiting.write(get('app', '/wait', `traceparent: 00-${TRACE_ID}-00f067aa0ba902b7-01`));
    // To HTTP/1.0 there are no chunks.
    await half.write('GET /half HTTP/1.0\r\nHost: app\r\n\r\n');
    await half.until(() => half.text.endsWith('half') || undefined);
    await opaque.exchange('CONNECT bytes:5432 HTTP/1.1\r\nHost: bytes:5432\r\n\r\n', 'CONNECT');
    await opaque.write('opaque');
    await opaque.until(() => opaque.text.endsWith('heard') || undefined);
    await dialling.write('CONNECT silent:5432 HTTP/1.1\r\nHost: silent:5432\r\n\r\n');
    h2 = new H2Caller(outbound);
    const rpc = { ':method': 'POST', ':authority': 'app', 'content-type': 'application/grpc', te: 'trailers' };
    streams = [
      h2.open({ ...rpc, ':path': '/wait.Service/Rpc' }),
      h2.open({ ':path': '/wait-h2', ':authority': 'app' }, true),
      h2.open({ ':path': '/half', ':authority': 'app' }, true),
    ];
    const answers = streams.map((stream) => answerOf(stream));
    await once(streams[2] as NonNullable<(typeof streams)[2]>, 'response');
    for (const path of ['/wait ', '/wait.Service', '/wait-h2']) await heard(path);
    const goaway = once(h2.session, 'goaway');
    const told = performance.now();
    weft.program.signal('SIGTERM');
    ({ code } = await weft.program.exit);
    endedAfterMs = performance.now() - told;
    results = await Promise.all(answers);
    goneAway = (await goaway)[0] as number;
  }, 60_000);
  afterAll(() => {
    for (const client of [waiting, half, opaque, dialling, h2]) client?.[Symbol.dispose]();
  });
  test('the process ends soon, with 0', () => {
    expect(code).toBe(0);
    expect(endedAfterMs).toBeGreaterThan(DRAIN_MS * 0.9);
    expect(endedAfterMs).toBeLessThan(DRAIN_MS + END_MS + STALL_MS);
  });

  test('a request without an answer gets 503 and Connection: close', async () => {
    const answer = await waiting.answer();
    expect([answer.status, wordOf(answer), header(answer, 'connection')]).toEqual([503, 'drain_timeout', 'close']);
    expect(await waiting.ended).toBe('fin');
  });

  test('an answer under way is cut by RST, for its end is the end of the connection', async () => {
    expect(await half.ended).toBe('reset');
  });

  test('over HTTP/2 there is GOAWAY, 503 for a request, UNAVAILABLE for an RPC, and RST_STREAM for half an answer', () => {
    const [rpc, whole, cut] = results;
    expect([rpc?.status, rpc?.headers['grpc-status'], rpc?.reset]).toEqual([200, '14', 0]);
    expect(String(rpc?.headers['grpc-message'])).toContain('drain_timeout');
    expect([whole?.status, whole?.body.toString()]).toEqual([503, expect.stringContaining('drain_timeout')]);
    expect([cut?.status, cut?.reset]).toEqual([200, 2]);
    expect(goneAway).toBe(0);
  });

  test('a tunnel is cut by RST on both sides, a CONNECT that waits for its upstream gets 503', async () => {
    expect(await opaque.ended).toBe('reset');
    const answer = await dialling.answer('CONNECT');
    expect([answer.status, wordOf(answer), header(answer, 'connection')]).toEqual([503, 'drain_timeout', 'close']);
  });

  test('each of them has its line in the access log, which comes before the last', () => {
    const lines = logLines(weft);
    expect(lineOf(weft, 'path', '/wait')).toMatchObject({ status: 503, word: 'drain_timeout', flag: 'LR' });
    expect(lineOf(weft, 'path', '/wait-h2')).toMatchObject({ status: 503, word: 'drain_timeout' });
    expect(lineOf(weft, 'path', '/wait.Service/Rpc')).toMatchObject({ status: 200, word: 'drain_timeout' });
    const halves = lines.filter((line) => line['path'] === '/half');
    expect(halves.map((line) => [line['status'], line['word'], line['response_bytes']])).toEqual([
      [200, 'drain_timeout', 4],
      [200, 'drain_timeout', 4],
    ]);
    const counts = { word: 'drain_timeout', received_bytes: 6, sent_bytes: 5 };
    expect(lineOf(weft, 'authority', 'bytes:5432')).toMatchObject(counts);
    expect(lineOf(weft, 'authority', 'silent:5432')).toMatchObject({ word: 'drain_timeout', received_bytes: 0 });
    expect(lines.at(-1)?.msg).toBe('ended');
  });

  test('and a span, where the request was sampled', () => {
    expect(receiver.trace(TRACE_ID)).toMatchObject([{ kind: 'CLIENT', failed: true }]);
    expect(receiver.trace(TRACE_ID)[0]?.attributes.get('error.type')).toBe('drain_timeout');
  });
});

test('what the sidecar of a callee cuts is tried elsewhere where it may be repeated, and only there', async () => {
  const whole = mesh.own(await startBackend(fixed(3)));
  const [other, callee] = await Promise.all([
    mesh.start({ account: 'other', app: whole.port }),
    mesh.start({ account: 'callee', app: app.port, flags: LOG }),
  ]);
  const caller = await mesh.start({
    account: 'caller',
    documents: [
      ...meshed({ name: 'first', endpoints: [callee.ports.inbound] }),
      ...meshed({ name: 'both', endpoints: [callee.ports.inbound, other.ports.inbound] }),
    ],
  });
  const posted = ask(caller.ports.outbound, post('first', 'x', '/posted'));
  await heard('/posted');
  const asked = await eventually('one of them meets the callee that says nothing', async () => {
    const answer = ask(caller.ports.outbound, get('both', '/asked'));
    await Promise.race([answer, heard('/asked')]);
    return app.received.some((all) => all.includes('/asked')) ? { answer } : undefined;
  });
  callee.program.signal('SIGTERM');
  expect((await asked.answer).status).toBe(200);
  const answer = await posted;
  expect([answer.status, wordOf(answer)]).toEqual([503, 'drain_timeout']);
  expect(whole.requests.map(({ method }) => method)).not.toContain('POST');
  expect((await callee.program.exit).code).toBe(0);
});
