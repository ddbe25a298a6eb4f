/** The interop cases of gRPC (grpc/grpc, doc/interop-test-descriptions.md), through one plain hop and through a pair. */
import { compressionAlgorithms, Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { meshed, plain, STALL_MS, TinyMesh } from '../integration/mesh.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { EchoCaller, EchoServer, withMetadata } from './grpc-echo.ts';

const LARGE = Buffer.alloc(5 * 2 ** 20, 'large');
const hops = ['one plain hop', 'two sidecars with mutual TLS'] as const;

const mesh = new TinyMesh();
const app = new EchoServer();
const callers = new Map<string, EchoCaller>();
let hop: Weft;
let caller: Weft;
let callee: Weft;

beforeAll(async () => {
  mesh.own(app);
  await app.listen();
  callee = await mesh.start({ account: 'echo', app: app.port });
  const documents = [
    ...meshed({ name: 'echo', endpoints: [callee.ports.inbound], appProtocol: 'grpc' }),
    ...plain({ name: 'nobody', endpoints: [1], appProtocol: 'grpc' }),
  ];
  caller = await mesh.start({ account: 'caller', documents });
  hop = await mesh.start({
    account: 'hop',
    documents: plain({ name: 'echo', endpoints: [app.port], appProtocol: 'grpc' }),
  });
  callers.set(hops[0], new EchoCaller(hop.ports.outbound, 'echo'));
  callers.set(hops[1], new EchoCaller(caller.ports.outbound, 'echo'));
});
afterAll(async () => {
  for (const each of callers.values()) each[Symbol.dispose]();
  await mesh[Symbol.asyncDispose]();
});

describe.each(hops)('through %s', (through) => {
  const echo = (): EchoCaller => callers.get(through) as EchoCaller;

  test('an empty unary call comes back empty', async () => {
    const { code, messages } = await echo().unary(Buffer.alloc(0));
    expect({ code, messages }).toEqual({ code: status.OK, messages: [Buffer.alloc(0)] });
  });

  test('a large unary call comes back whole', async () => {
    const { code, messages } = await echo().unary(LARGE);
    expect(code).toBe(status.OK);
    expect(messages[0]?.equals(LARGE)).toBe(true);
  });

  test('a hundred calls at once share the connections', async () => {
    const calls = Array.from({ length: 100 }, (_, i) => echo().unary(Buffer.from(String(i))));
    const answers = (await Promise.all(calls)).map(({ messages }) => String(messages[0]));
    expect(answers).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
  });

  test('a client stream is counted to its last byte', async () => {
    const sizes = [27_182, 8, 1_828, 45_904];
    const { code, messages } = await echo().upload(sizes.map((size) => Buffer.alloc(size)));
    expect({ code, told: String(messages[0]) }).toEqual({ code: status.OK, told: '74922' });
  });

  test('a server stream arrives message by message', async () => {
    const metadata = withMetadata({ 'x-messages': '4', 'x-size': '31415' });
    const { code, messages } = await echo().download(Buffer.alloc(1), { metadata });
    expect({ code, sizes: messages.map(({ length }) => length) }).toEqual({
      code: status.OK,
      sizes: [31415, 31415, 31415, 31415],
    });
  });

  test('ping and pong alternate on a bidirectional stream', async () => {
    const said = ['one', 'two', 'three'].map((word) => Buffer.from(word));
    const { code, messages } = await echo().chat(said);
    expect({ code, messages }).toEqual({ code: status.OK, messages: said });
  });

  test('an empty bidirectional stream ends with OK', async () => {
    const { code, messages } = await echo().chat([]);
    expect({ code, messages }).toEqual({ code: status.OK, messages: [] });
  });

  test('a call that is cancelled after it began is cancelled at the application', async () => {
    const before = { waiting: app.waiting, cancelled: app.cancelled };
    const { promise: started, resolve } = Promise.withResolvers<{ cancel(): void }>();
    const ending = echo().unary(Buffer.from('x'), { metadata: withMetadata({ 'x-wait': '1' }), onStart: resolve });
    const call = await started;
    await eventually('the call is at the application', () => app.waiting > before.waiting || undefined);
    call.cancel();
    expect((await ending).code).toBe(status.CANCELLED);
    await eventually('the application hears of it', () => app.cancelled > before.cancelled || undefined);
  });

  test('a stream that is cancelled after its first response is cancelled at the application', async () => {
    const before = app.cancelled;
    const metadata = withMetadata({ 'x-wait': '1', 'x-size': '10' });
    const { code } = await echo().download(Buffer.alloc(1), { metadata, onMessage: (_message, call) => call.cancel() });
    expect(code).toBe(status.CANCELLED);
    await eventually('the application hears of it', () => app.cancelled > before || undefined);
  });

  test('a deadline that passes ends the call within 300 ms and cancels the application', async () => {
    const before = app.cancelled;
    const startedAt = performance.now();
    const metadata = withMetadata({ 'x-wait': '1' });
    const { code } = await echo().unary(Buffer.alloc(1), { metadata, deadline: Date.now() + 1_000 });
    expect(code).toBe(status.DEADLINE_EXCEEDED);
    expect(performance.now() - startedAt).toBeLessThan(1_300 + STALL_MS);
    await eventually('the application hears of it', () => app.cancelled > before || undefined);
  });

  test('custom and binary metadata pass in both directions', async () => {
    const binary = Buffer.from([0, 1, 2, 0x0a, 0x0d, 0xff, 0xab]);
    const metadata = withMetadata({
      'x-echo-initial': 'at the start',
      'x-echo-trailing': 'at the end',
      'x-echo-trailing-bin': binary,
    });
    for (const ending of [
      await echo().unary(Buffer.from('m'), { metadata }),
      await echo().chat([Buffer.from('m')], { metadata }),
    ]) {
      expect(ending.initial.get('x-echo-initial')).toEqual(['at the start']);
      expect(ending.trailing.get('x-echo-trailing')).toEqual(['at the end']);
      expect(ending.trailing.get('x-echo-trailing-bin')).toEqual([binary]);
    }
  });

  test.each(['test status message', '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n'])(
    'a status and its message pass as they are: %j',
    async (text) => {
      const metadata = withMetadata({ 'x-status': String(status.UNKNOWN), 'x-message': encodeURIComponent(text) });
      const unary = await echo().unary(Buffer.alloc(1), { metadata });
      expect({ code: unary.code, details: unary.details }).toEqual({ code: status.UNKNOWN, details: text });
      const chat = await echo().chat([Buffer.from('a')], { metadata });
      expect({ code: chat.code, details: chat.details, messages: chat.messages.length }).toEqual({
        code: status.UNKNOWN,
        details: text,
        messages: 1,
      });
    },
  );

  test.each(['/weft.test.Echo/Nothing', '/weft.test.Nobody/Unary'])('%s is unimplemented', async (path) => {
    expect((await echo().unary(Buffer.alloc(1), { path })).code).toBe(status.UNIMPLEMENTED);
  });
});

test('compressed messages pass as they are', async () => {
  const options = { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip };
  using echo = new EchoCaller(caller.ports.outbound, 'echo', options);
  const { code, messages } = await echo.unary(LARGE);
  expect(code).toBe(status.OK);
  expect(messages[0]?.equals(LARGE)).toBe(true);
});

test('a local answer is a gRPC status: nobody listens', async () => {
  using echo = new EchoCaller(caller.ports.outbound, 'nobody');
  const { code, details } = await echo.unary(Buffer.alloc(1), { metadata: new Metadata() });
  expect({ code, details }).toEqual({ code: status.UNAVAILABLE, details: expect.stringMatching(/^connect_refused: /) });
});

test('a local answer is a gRPC status: no such port', async () => {
  using echo = new EchoCaller(caller.ports.outbound, 'echo:81');
  const { code, details } = await echo.unary(Buffer.alloc(1));
  expect({ code, details }).toEqual({
    code: status.UNIMPLEMENTED,
    details: expect.stringMatching(/^no_service_port: /),
  });
});

test('requests are counted with their gRPC status on both sides', async () => {
  using echo = new EchoCaller(caller.ports.outbound, 'echo');
  const metadata = withMetadata({ 'x-status': String(status.RESOURCE_EXHAUSTED), 'x-message': 'no' });
  await echo.unary(Buffer.alloc(1), { metadata });
  const labels = ['grpc_response_status="8"', 'request_protocol="grpc"', 'response_code="200"'];
  expect(await caller.metric('istio_requests_total', 'reporter="source"', ...labels)).toBe(1);
  expect(await callee.metric('istio_requests_total', 'reporter="destination"', ...labels)).toBe(1);
  expect(await caller.metric('istio_requests_total', 'grpc_response_status="0"', 'reporter="source"')).toBeGreaterThan(
    100,
  );
});
