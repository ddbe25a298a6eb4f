import { expect, test } from 'vitest';
import {
  type RequestEvents,
  RequestParser,
  type ResponseEvents,
  ResponseParser,
} from '../../../proxy/http/h1-parser.ts';
import { DEFAULT_LIMITS } from '../../../proxy/http/limits.ts';
import type { RequestHead } from '../../../proxy/http/message.ts';

class Seen implements RequestEvents, ResponseEvents {
  readonly events: string[] = [];
  readonly wires: string[] = [];
  on: (event: string) => void = () => {};

  private add(event: string): void {
    this.events.push(event);
    this.on(event);
  }
  onRequest(head: RequestHead): void {
    this.wires.push(head.fields.wire);
    this.add('request');
  }
  onInterim(): void {
    this.add('interim');
  }
  onResponse(): void {
    this.add('response');
  }
  onData(bytes: Buffer, start: number, end: number): void {
    this.add(bytes.toString('latin1', start, end));
  }
  onEnd(): void {
    this.add('end');
  }
  onRequestError(): void {
    this.add('error');
  }
  onResponseError(): void {
    this.add('error');
  }
}

function requests(seen: Seen): RequestParser {
  return new RequestParser(seen, { limits: DEFAULT_LIMITS, scheme: 'http', normalization: 'BASE' });
}

const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n';

test('The parser says where it stands: between messages, in a head, in a body, dead.', () => {
  const parser = requests(new Seen());
  const state = (): boolean[] => [parser.idle, parser.inHead, parser.inBody, parser.dead];
  const feed = (text: string): number => parser.feed(Buffer.from(text), 0, text.length);
  expect(state()).toEqual([true, false, false, false]);
  feed('P');
  expect(state()).toEqual([false, true, false, false]);
  feed(POST.slice(1));
  expect(state()).toEqual([false, false, true, false]);
  feed('body');
  expect(state()).toEqual([true, false, false, false]);
  feed(' ');
  expect(state()).toEqual([false, false, false, true]);
});

test('feed stops where a message ends, so that the caller decides when the next begins.', () => {
  const seen = new Seen();
  const bytes = Buffer.from(`${POST}body${POST}`);
  expect(requests(seen).feed(bytes, 0, bytes.length)).toBe(POST.length + 4);
  expect(seen.events).toEqual(['request', 'body', 'end']);
});

test('stop within onRequest leaves the body for later.', () => {
  const seen = new Seen();
  const parser = requests(seen);
  seen.on = (event) => event === 'request' && parser.stop();
  const bytes = Buffer.from(`${POST}body`);
  expect(parser.feed(bytes, 0, bytes.length)).toBe(POST.length);
  expect(seen.events).toEqual(['request']);
  expect(parser.feed(bytes, POST.length, bytes.length)).toBe(bytes.length);
  expect(seen.events).toEqual(['request', 'body', 'end']);
});

test('stop within onData leaves the next chunk for later.', () => {
  const seen = new Seen();
  const parser = requests(seen);
  seen.on = (event) => event === 'ab' && parser.stop();
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  const bytes = Buffer.from(`${head}2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n`);
  const at = parser.feed(bytes, 0, bytes.length);
  expect([at, seen.events]).toEqual([head.length + 5, ['request', 'ab']]);
  parser.feed(bytes, at, bytes.length);
  expect(seen.events).toEqual(['request', 'ab', 'cd', 'end']);
});

test('A message without body ends at once, stopped or not.', () => {
  const seen = new Seen();
  const parser = requests(seen);
  seen.on = () => parser.stop();
  const bytes = Buffer.from('CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nraw');
  expect(parser.feed(bytes, 0, bytes.length)).toBe(bytes.length - 3);
  expect(seen.events).toEqual(['request', 'end']);
});

test('An incomplete head is copied: the caller may reuse its buffer.', () => {
  const seen = new Seen();
  const parser = requests(seen);
  const text = 'GET / HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n';
  for (const piece of [text.slice(0, 20), text.slice(20, 31), text.slice(31)]) {
    const bytes = Buffer.from(piece);
    parser.feed(bytes, 0, bytes.length);
    bytes.fill(0);
  }
  expect(seen.wires).toEqual(['Host: a\r\nX-Y: z\r\n']);
});

test('Heads of two connections may come interleaved.', () => {
  const first = new Seen();
  const second = new Seen();
  const parsers = [requests(first), requests(second)];
  const texts = ['GET /1 HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n', 'GET /2 HTTP/1.1\r\nHost: b\r\nLonger: 22\r\n\r\n'].map(
    (text) => Buffer.from(text),
  );
  for (let i = 0; i < 60; i++) {
    for (const [which, bytes] of texts.entries()) if (i < bytes.length) parsers[which]?.feed(bytes, i, i + 1);
  }
  expect(first.wires).toEqual(['Host: a\r\nA: 1\r\n']);
  expect(second.wires).toEqual(['Host: b\r\nLonger: 22\r\n']);
});

test('A dead parser swallows what it is fed.', () => {
  const seen = new Seen();
  const parser = requests(seen);
  const bytes = Buffer.from('GET\n\n\n');
  parser.feed(bytes, 0, bytes.length);
  expect(parser.feed(bytes, 0, bytes.length)).toBe(bytes.length);
  expect(seen.events).toEqual(['error']);
});

test('Bytes without an expected response are left unread.', () => {
  const seen = new Seen();
  const parser = new ResponseParser(seen, { limits: DEFAULT_LIMITS });
  const bytes = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  expect(parser.feed(bytes, 0, bytes.length)).toBe(0);
  expect([parser.idle, seen.events]).toEqual([true, []]);
});

test('finish tells a response that is due or cut from a connection that was free.', () => {
  const seen = new Seen();
  const parser = new ResponseParser(seen, { limits: DEFAULT_LIMITS });
  expect(parser.finish()).toBe(true);
  parser.expect('GET', null);
  expect(parser.finish()).toBe(false);
  const untilClose = Buffer.from('HTTP/1.1 200 OK\r\n\r\nbody');
  parser.feed(untilClose, 0, untilClose.length);
  expect([parser.finish(), parser.idle, seen.events]).toEqual([true, true, ['response', 'body', 'end']]);
});

test('stop within onInterim leaves the final response for later.', () => {
  const seen = new Seen();
  const parser = new ResponseParser(seen, { limits: DEFAULT_LIMITS });
  parser.expect('GET', null);
  seen.on = (event) => event === 'interim' && parser.stop();
  const bytes = Buffer.from('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n');
  expect(parser.feed(bytes, 0, bytes.length)).toBe(25);
  expect(parser.feed(bytes, 25, bytes.length)).toBe(bytes.length);
  expect(seen.events).toEqual(['interim', 'response', 'end']);
});

test('A 60 KB head that comes byte by byte costs little more than one that comes whole.', () => {
  const parser = requests(new Seen());
  const bytes = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nA: ${'x'.repeat(60_000)}\r\n\r\n`);
  const start = process.threadCpuUsage();
  for (let i = 0; i < bytes.length; i++) parser.feed(bytes, i, i + 1);
  expect(parser.idle).toBe(true);
  expect(process.threadCpuUsage(start).user / 1000).toBeLessThan(500);
});
