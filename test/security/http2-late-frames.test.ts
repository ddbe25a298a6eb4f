/** Frames that come after a reset, of either side, at every step of a stream's life. */
import { describe, expect, it } from 'vitest';
import * as f from '../../proxy/http/h2-frames.ts';
import { frame, framesIn, greetedServer, headers, POST, response, uint32 } from '../support/h2.ts';

const LATE: readonly (readonly [string, Buffer])[] = [
  ['DATA', frame(f.DATA, 0, 1, Buffer.from('late'))],
  ['the last DATA', frame(f.DATA, 1, 1, Buffer.from('late'))],
  ['trailers', headers(1, [['x-late', '1']])],
  ['WINDOW_UPDATE', frame(f.WINDOW_UPDATE, 0, 1, uint32(10))],
  ['RST_STREAM', frame(f.RST_STREAM, 0, 1, uint32(f.CANCEL))],
  ['PRIORITY', frame(f.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 1]))],
];

describe('after we reset a stream', () => {
  it.each(LATE)('%s is harmless and tells nobody anything', (_what, late) => {
    const server = greetedServer();
    server.feed(headers(1, POST, 4));
    server.streams.get(1)?.reset(f.CANCEL);
    const lines = [...server.lines];
    server.take();
    server.feed(late, late);
    expect(server.lines).toEqual(lines);
    expect(framesIn(server.take())).toEqual([]);
    expect(server.connection.debt).toBe(0);
  });

  it('thousands of times, each late frame still is', () => {
    const server = greetedServer();
    for (let id = 1; id < 4001; id += 2) {
      server.feed(headers(id, POST, 4));
      server.streams.get(id)?.reset(f.CANCEL);
      server.take();
    }
    server.feed(headers(1, [['x-late', '1']]), frame(f.DATA, 0, 3001, Buffer.from('late')));
    expect(server.connection.ended).toBe(false);
    expect(framesIn(server.take())).toEqual([]);
  });
});

describe('a reset from within an event', () => {
  it.each(['onRequest', 'onData', 'onEnd'] as const)('%s stops everything that follows', (event) => {
    const server = greetedServer();
    server.hooks[event] = () => server.streams.get(1)?.reset(f.CANCEL);
    server.feed(headers(1, POST, 4), frame(f.DATA, 0, 1, Buffer.from('one')), frame(f.DATA, 1, 1, Buffer.from('two')));
    const expected = { onRequest: 1, onData: 2, onEnd: 3 }[event];
    expect(server.lines.length).toBe(expected);
    expect(framesIn(server.take())).toEqual(['RST_STREAM 1 CANCEL']);
    expect(server.connection.size).toBe(0);
  });
});

describe('what the owner does after the end', () => {
  it('is ignored', () => {
    const server = greetedServer();
    server.feed(headers(1, POST, 4), frame(f.RST_STREAM, 0, 1, uint32(f.CANCEL)));
    const stream = server.streams.get(1);
    stream?.respond(response(200), 5, '', false);
    expect(stream?.sendData(Buffer.from('hello'), 0, 5, true)).toBe(5);
    stream?.consume(1000);
    stream?.reset(f.CANCEL);
    expect(framesIn(server.take())).toEqual([]);
    expect(server.connection.debt).toBe(0);
  });
});
