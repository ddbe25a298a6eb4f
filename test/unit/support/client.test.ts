import { expect, test } from 'vitest';
import {
  chunked,
  cut,
  echo,
  mirror,
  reset,
  startBackend,
  startRawBackend,
  status,
  text,
} from '../../support/backend.ts';
import { openClient, parseAnswer } from '../../support/client.ts';
import { closedLoop, openLoop, quantile } from '../../support/load.ts';

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-end: 1\r\n\r\n';

test('an answer is taken only when it is whole, wherever it is cut', () => {
  const bytes = Buffer.from(CHUNKED);
  for (let length = 0; length < bytes.length; length += 1) {
    expect(parseAnswer(bytes.subarray(0, length), 0, 'GET', false)).toBeUndefined();
  }
  const answer = parseAnswer(Buffer.from(`${CHUNKED}HTTP/1.1 204 No Content\r\n\r\n`), 0, 'GET', false);
  expect(answer).toMatchObject({ status: 200, reason: 'OK', trailers: ['x-end: 1'], end: bytes.length });
  expect(answer?.body.toString()).toBe('abcde');
});

test('an answer to HEAD, a 204 and one that ends with its connection have the body that their framing gives them', () => {
  const head = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n');
  expect(parseAnswer(head, 0, 'HEAD', false)?.body).toHaveLength(0);
  expect(parseAnswer(head, 0, 'GET', false)).toBeUndefined();
  const open = Buffer.from('HTTP/1.0 200 OK\r\n\r\nrest');
  expect(parseAnswer(open, 0, 'GET', false)).toBeUndefined();
  expect(parseAnswer(open, 0, 'GET', true)?.body.toString()).toBe('rest');
});

test('a raw client sends its bytes one by one, reads answers in turn and sees how the connection ended', async () => {
  await using backend = await startBackend(mirror);
  using client = await openClient(backend.port);
  await client.writeBytewise('POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi');
  const first = JSON.parse((await client.answer()).body.toString()) as Record<string, unknown>;
  expect(first).toMatchObject({ method: 'POST', target: '/a', body: 'hi' });
  backend.behaviour = status(204);
  expect((await client.exchange('GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).status).toBe(204);
  expect(await client.ended).toBe('fin');
  expect(backend.requests.map((request) => request.target)).toEqual(['/a', '/b']);
});

test('a backend that resets is seen as a reset, and one that cuts its body never gives a whole answer', async () => {
  await using backend = await startBackend(reset);
  using first = await openClient(backend.port);
  await first.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(await first.ended).toBe('reset');
  backend.behaviour = cut(10, 3);
  using second = await openClient(backend.port);
  await expect(second.exchange('GET / HTTP/1.1\r\nHost: x\r\n\r\n')).rejects.toThrow(/ended after.*xxx/);
});

test('a backend keeps chunks and trailers apart and a raw backend sees exact bytes', async () => {
  await using backend = await startBackend(chunked(['a', 'b'], { 'x-sum': '2' }));
  using client = await openClient(backend.port);
  const answer = await client.exchange('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  expect([answer.body.toString(), answer.trailers]).toEqual(['ab', ['x-sum: 2']]);
  await using raw = await startRawBackend((socket, received) => received.includes('\n') && socket.end('bye'));
  using other = await openClient(raw.port);
  await other.write('hello\n');
  await other.ended;
  expect([raw.received[0]?.toString(), other.text]).toEqual(['hello\n', 'bye']);
});

test('a closed loop sends as many requests as it was told and counts failures by their kind', async () => {
  let count = 0;
  await using backend = await startBackend((request, response) => {
    count += 1;
    const kinds = [text('right'), status(503), text('wrong'), reset, cut(9, 1)];
    kinds[count % kinds.length]?.(request, response);
  });
  const report = await closedLoop({
    port: backend.port,
    connections: 1,
    requests: 50,
    check: (body) => (body.toString() === 'right' ? null : 'wrong body'),
  });
  expect([report.sent, report.succeeded, report.latencies.length]).toEqual([50, 10, 10]);
  expect(Object.fromEntries(report.failures)).toEqual({ 'status 503': 10, 'wrong body': 10, ECONNRESET: 10, cut: 10 });
});

test('an open loop sends by the clock, and a stalled backend shows as timeouts', async () => {
  await using backend = await startBackend(echo);
  const load = { port: backend.port, connections: 4, rate: 500, durationMs: 100, method: 'POST', body: 'x' };
  const report = await openLoop({ ...load, check: (body) => (body.toString() === 'x' ? null : 'not echoed') });
  expect([report.sent, report.succeeded]).toEqual([50, 50]);
  expect(quantile(report.latencies, 1)).toBe(report.latencies.at(-1));
  backend.behaviour = () => undefined;
  const stalled = await closedLoop({ port: backend.port, connections: 1, requests: 2, timeoutMs: 20 });
  expect(Object.fromEntries(stalled.failures)).toEqual({ timeout: 2 });
});
