/**
 * What a server does with each sequence of frames, section by section of RFC 9113; the cases that h2spec asks are all
 * here and in messages.test.ts.
 */
import { describe, expect, it } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import {
  block,
  frame,
  framesIn,
  GET,
  greetedServer,
  headers,
  POST,
  Recorder,
  settings,
  uint32,
} from '../../support/h2.ts';
import { type Case, check } from './case.ts';

const padded = (padding: number, content: string): Buffer =>
  Buffer.concat([Buffer.from([padding]), Buffer.from(content), Buffer.alloc(padding)]);
const opened = headers(1, POST, f.END_HEADERS);
const done = headers(1, GET);
const data = (id: number, text: string, flags = 0): Buffer => frame(f.DATA, flags, id, Buffer.from(text));
const fragment = block(GET);
const priority = (on: number): Buffer => Buffer.concat([uint32(on), Buffer.from([15])]);

describe('frames in general (sections 4 and 5)', () => {
  it.each<Case>([
    {
      says: 'an unknown frame type is ignored',
      gets: [frame(0xff, 0, 0, Buffer.alloc(8)), done],
      tells: ['request 1 GET http://a.test/ [host: a.test] length=0 ended'],
    },
    { says: 'undefined flags are ignored', gets: [frame(f.PING, 0xfe, 0, Buffer.alloc(8))], sends: ['PING ACK'] },
    {
      says: 'the reserved bit of the identifier is ignored',
      gets: [Buffer.from('000008060080000000' + '00'.repeat(8), 'hex')],
      sends: ['PING ACK'],
    },
    { says: 'DATA of 2^14 bytes is taken', gets: [opened, data(1, 'x'.repeat(16_384), 1)] },
    { says: 'a frame longer than announced', gets: [opened, data(1, 'x'.repeat(16_385))], fails: 'FRAME_SIZE_ERROR' },
    {
      says: 'HEADERS longer than announced',
      gets: [frame(f.HEADERS, 5, 1, Buffer.alloc(16_385))],
      fails: 'FRAME_SIZE_ERROR',
    },
    {
      says: 'a block that cannot be decoded',
      gets: [frame(f.HEADERS, 5, 1, Buffer.from('828684ff', 'hex'))],
      fails: 'COMPRESSION_ERROR',
    },
    {
      says: 'PRIORITY within a header block',
      gets: [frame(f.HEADERS, 1, 1, fragment), frame(f.PRIORITY, 0, 1, priority(0))],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'HEADERS of another stream within a header block',
      gets: [frame(f.HEADERS, 1, 1, fragment), headers(3, GET)],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'an unknown frame within a header block',
      gets: [frame(f.HEADERS, 1, 1, fragment), frame(0x16, 0, 0)],
      fails: 'PROTOCOL_ERROR',
    },
    { says: 'idle stream: DATA', gets: [data(1, 'x', 1)], fails: 'PROTOCOL_ERROR' },
    { says: 'idle stream: RST_STREAM', gets: [frame(f.RST_STREAM, 0, 1, uint32(8))], fails: 'PROTOCOL_ERROR' },
    { says: 'idle stream: WINDOW_UPDATE', gets: [frame(f.WINDOW_UPDATE, 0, 1, uint32(100))], fails: 'PROTOCOL_ERROR' },
    { says: 'idle stream: CONTINUATION', gets: [frame(f.CONTINUATION, 4, 1, fragment)], fails: 'PROTOCOL_ERROR' },
    { says: 'half closed (remote): DATA', gets: [done, data(1, 'x', 1)], resets: '1 STREAM_CLOSED' },
    { says: 'half closed (remote): HEADERS', gets: [done, done], resets: '1 STREAM_CLOSED' },
    {
      says: 'half closed (remote): CONTINUATION',
      gets: [done, frame(f.CONTINUATION, 4, 1, fragment)],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'closed by the peer: DATA',
      gets: [opened, frame(f.RST_STREAM, 0, 1, uint32(8)), data(1, 'x', 1)],
      resets: '1 STREAM_CLOSED',
    },
    {
      says: 'closed by the peer: HEADERS',
      gets: [opened, frame(f.RST_STREAM, 0, 1, uint32(8)), done],
      fails: 'STREAM_CLOSED',
    },
    {
      says: 'closed by the peer: CONTINUATION',
      gets: [opened, frame(f.RST_STREAM, 0, 1, uint32(8)), frame(f.CONTINUATION, 4, 1, fragment)],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'closed by the peer: WINDOW_UPDATE and RST_STREAM are harmless',
      gets: [
        opened,
        frame(f.RST_STREAM, 0, 1, uint32(8)),
        frame(f.WINDOW_UPDATE, 0, 1, uint32(1)),
        frame(f.RST_STREAM, 0, 1, uint32(8)),
      ],
    },
    { says: 'an even identifier', gets: [headers(2, GET)], fails: 'PROTOCOL_ERROR' },
    { says: 'an identifier lower than one before', gets: [headers(5, GET), headers(3, GET)], fails: 'PROTOCOL_ERROR' },
    {
      says: 'HEADERS that depend on their own stream',
      gets: [frame(f.HEADERS, 0x25, 1, Buffer.concat([priority(1), fragment]))],
      resets: '1 PROTOCOL_ERROR',
      tells: [],
    },
    {
      says: 'HEADERS with a priority',
      gets: [frame(f.HEADERS, 0x25, 1, Buffer.concat([priority(7), fragment]))],
      tells: ['request 1 GET http://a.test/ [host: a.test] length=0 ended'],
    },
    {
      says: 'PRIORITY that depends on its own stream',
      gets: [opened, frame(f.PRIORITY, 0, 1, priority(1))],
      resets: '1 PROTOCOL_ERROR',
    },
    {
      says: 'PRIORITY that depends on its own idle stream',
      gets: [frame(f.PRIORITY, 0, 1, priority(1))],
      fails: 'PROTOCOL_ERROR',
    },
    { says: 'PRIORITY on an idle stream', gets: [frame(f.PRIORITY, 0, 9, priority(1)), done], sends: [] },
    {
      says: 'a CONNECTION error closes for good: nothing after GOAWAY is answered',
      gets: [frame(f.PING, 0, 1, Buffer.alloc(8)), frame(f.PING, 0, 0, Buffer.alloc(8))],
      fails: 'PROTOCOL_ERROR',
      sends: ['GOAWAY 0 PROTOCOL_ERROR'],
    },
  ])('$says', check);

  it('a client that does not begin with the preface is sent away', () => {
    const server = new Recorder('server');
    server.connection.start();
    server.feed(Buffer.from('GET / HTTP/1.1\r\n'));
    expect(framesIn(server.take())).toContain('GOAWAY 0 PROTOCOL_ERROR');
  });

  it('a client whose first frame is not SETTINGS is sent away', () => {
    const server = new Recorder('server');
    server.connection.start();
    server.feed(f.PREFACE, frame(f.PING, 0, 0, Buffer.alloc(8)));
    expect(framesIn(server.take())).toContain('GOAWAY 0 PROTOCOL_ERROR');
  });
});

describe('DATA and HEADERS (sections 6.1, 6.2)', () => {
  it.each<Case>([
    { says: 'DATA on stream 0', gets: [data(0, 'x')], fails: 'PROTOCOL_ERROR' },
    {
      says: 'padding is not content',
      gets: [opened, frame(f.DATA, 9, 1, padded(5, 'abc'))],
      tells: ['request 1 POST http://a.test/ [host: a.test] length=-1', 'data 1 abc', 'end 1'],
    },
    {
      says: 'DATA of padding alone',
      gets: [opened, frame(f.DATA, 9, 1, padded(5, ''))],
      tells: ['request 1 POST http://a.test/ [host: a.test] length=-1', 'end 1'],
    },
    {
      says: 'DATA whose padding fills it',
      gets: [opened, frame(f.DATA, 9, 1, Buffer.from([4, 0, 0, 0]))],
      fails: 'PROTOCOL_ERROR',
    },
    { says: 'padded DATA without room for the length', gets: [opened, frame(f.DATA, 9, 1)], fails: 'FRAME_SIZE_ERROR' },
    { says: 'HEADERS on stream 0', gets: [headers(0, GET)], fails: 'PROTOCOL_ERROR' },
    {
      says: 'padded HEADERS',
      gets: [frame(f.HEADERS, 0xd, 1, Buffer.concat([Buffer.from([2]), fragment, Buffer.alloc(2)]))],
      tells: ['request 1 GET http://a.test/ [host: a.test] length=0 ended'],
    },
    {
      says: 'HEADERS whose padding is too long',
      gets: [frame(f.HEADERS, 0xd, 1, Buffer.concat([Buffer.from([200]), fragment]))],
      fails: 'PROTOCOL_ERROR',
    },
    { says: 'padded HEADERS without room for the length', gets: [frame(f.HEADERS, 0xd, 1)], fails: 'PROTOCOL_ERROR' },
    {
      says: 'HEADERS without room for their priority',
      gets: [frame(f.HEADERS, 0x25, 1, Buffer.alloc(4))],
      fails: 'PROTOCOL_ERROR',
    },
  ])('$says', check);
});

describe('small frames (sections 6.3 to 6.9)', () => {
  it.each<Case>([
    { says: 'PRIORITY on stream 0', gets: [frame(f.PRIORITY, 0, 0, priority(1))], fails: 'PROTOCOL_ERROR' },
    {
      says: 'PRIORITY of another size',
      gets: [opened, frame(f.PRIORITY, 0, 1, uint32(0))],
      resets: '1 FRAME_SIZE_ERROR',
    },
    { says: 'RST_STREAM on stream 0', gets: [frame(f.RST_STREAM, 0, 0, uint32(8))], fails: 'PROTOCOL_ERROR' },
    {
      says: 'RST_STREAM of another size',
      gets: [opened, frame(f.RST_STREAM, 0, 1, Buffer.alloc(3))],
      fails: 'FRAME_SIZE_ERROR',
    },
    { says: 'RST_STREAM with an unknown code', gets: [opened, frame(f.RST_STREAM, 0, 1, uint32(0xff))], sends: [] },
    { says: 'SETTINGS ACK with content', gets: [frame(f.SETTINGS, 1, 0, Buffer.alloc(6))], fails: 'FRAME_SIZE_ERROR' },
    { says: 'SETTINGS on a stream', gets: [frame(f.SETTINGS, 0, 1)], fails: 'PROTOCOL_ERROR' },
    { says: 'SETTINGS of another size', gets: [frame(f.SETTINGS, 0, 0, Buffer.alloc(3))], fails: 'FRAME_SIZE_ERROR' },
    { says: 'ENABLE_PUSH of 2', gets: [settings([2, 2])], fails: 'PROTOCOL_ERROR' },
    { says: 'INITIAL_WINDOW_SIZE beyond 2^31-1', gets: [settings([4, 2 ** 31])], fails: 'FLOW_CONTROL_ERROR' },
    { says: 'MAX_FRAME_SIZE below 2^14', gets: [settings([5, 16_383])], fails: 'PROTOCOL_ERROR' },
    { says: 'MAX_FRAME_SIZE beyond 2^24-1', gets: [settings([5, 16_777_216])], fails: 'PROTOCOL_ERROR' },
    { says: 'unknown settings are ignored', gets: [settings([0xff, 1])], sends: ['SETTINGS ACK'] },
    {
      says: 'PUSH_PROMISE from a client',
      gets: [frame(f.PUSH_PROMISE, 4, 1, Buffer.concat([uint32(2), fragment]))],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'PING is answered with its own content',
      gets: [frame(f.PING, 0, 0, Buffer.from('h2spec!!'))],
      sends: ['PING ACK'],
    },
    { says: 'a PING ACK nobody asked for is ignored', gets: [frame(f.PING, 1, 0, Buffer.from('invalid!'))], sends: [] },
    { says: 'PING on a stream', gets: [frame(f.PING, 0, 1, Buffer.alloc(8))], fails: 'PROTOCOL_ERROR' },
    { says: 'PING of another size', gets: [frame(f.PING, 0, 0, Buffer.alloc(6))], fails: 'FRAME_SIZE_ERROR' },
    { says: 'GOAWAY on a stream', gets: [frame(f.GOAWAY, 0, 1, uint32(0, 0))], fails: 'PROTOCOL_ERROR' },
    { says: 'GOAWAY of less than eight bytes', gets: [frame(f.GOAWAY, 0, 0, uint32(0))], fails: 'FRAME_SIZE_ERROR' },
    {
      says: 'GOAWAY with an unknown code while a stream is open',
      gets: [opened, frame(f.GOAWAY, 0, 0, uint32(0, 0xff))],
      sends: [],
    },
    {
      says: 'WINDOW_UPDATE by 0 on the connection',
      gets: [frame(f.WINDOW_UPDATE, 0, 0, uint32(0))],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'WINDOW_UPDATE by 0 on a stream',
      gets: [opened, frame(f.WINDOW_UPDATE, 0, 1, uint32(0))],
      resets: '1 PROTOCOL_ERROR',
    },
    {
      says: 'WINDOW_UPDATE of another size',
      gets: [frame(f.WINDOW_UPDATE, 0, 0, Buffer.alloc(3))],
      fails: 'FRAME_SIZE_ERROR',
    },
    {
      says: 'a connection window beyond 2^31-1',
      gets: [frame(f.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1)), frame(f.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1))],
      fails: 'FLOW_CONTROL_ERROR',
    },
    {
      says: 'a stream window beyond 2^31-1',
      gets: [opened, frame(f.WINDOW_UPDATE, 0, 1, uint32(2 ** 31 - 1))],
      resets: '1 FLOW_CONTROL_ERROR',
    },
  ])('$says', check);

  it('the content of a PING comes back', () => {
    const server = greetedServer();
    server.feed(frame(f.PING, 0, 0, Buffer.from('\x00\xffh2spec', 'latin1')));
    expect(server.take().subarray(9).toString('latin1')).toBe('\x00\xffh2spec');
  });

  it('the last of several values of one setting counts', () => {
    const server = greetedServer();
    server.feed(settings([4, 100], [4, 1]), opened);
    const stream = server.streams.get(1);
    expect(stream?.sendWindow).toBe(1);
  });
});

describe('CONTINUATION (section 6.10)', () => {
  const pieces = [fragment.subarray(0, 5), fragment.subarray(5, 9), fragment.subarray(9)];
  it.each<Case>([
    {
      says: 'several CONTINUATION frames are one block',
      gets: [
        frame(f.HEADERS, 1, 1, pieces[0]),
        frame(f.CONTINUATION, 0, 1, pieces[1]),
        frame(f.CONTINUATION, 4, 1, pieces[2]),
      ],
      tells: ['request 1 GET http://a.test/ [host: a.test] length=0 ended'],
    },
    {
      says: 'a frame other than CONTINUATION',
      gets: [frame(f.HEADERS, 1, 1, pieces[0]), frame(f.CONTINUATION, 0, 1, pieces[1]), data(1, 'x')],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'CONTINUATION of stream 0',
      gets: [frame(f.HEADERS, 1, 1, pieces[0]), frame(f.CONTINUATION, 4, 0, pieces[1])],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'CONTINUATION of another stream',
      gets: [frame(f.HEADERS, 1, 1, pieces[0]), frame(f.CONTINUATION, 4, 3, pieces[1])],
      fails: 'PROTOCOL_ERROR',
    },
    { says: 'CONTINUATION after END_HEADERS', gets: [done, frame(f.CONTINUATION, 4, 1)], fails: 'PROTOCOL_ERROR' },
    {
      says: 'CONTINUATION after CONTINUATION with END_HEADERS',
      gets: [
        frame(f.HEADERS, 1, 1, pieces[0]),
        frame(f.CONTINUATION, 4, 1, fragment.subarray(5)),
        frame(f.CONTINUATION, 4, 1),
      ],
      fails: 'PROTOCOL_ERROR',
    },
    {
      says: 'CONTINUATION after DATA',
      gets: [opened, data(1, 'x'), frame(f.CONTINUATION, 4, 1)],
      fails: 'PROTOCOL_ERROR',
    },
  ])('$says', check);
});
