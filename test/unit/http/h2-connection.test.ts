import { describe, expect, it } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { DEFAULT_H2_LIMITS } from '../../../proxy/http/h2-limits.ts';
import { Fields, UNKNOWN_LENGTH } from '../../../proxy/http/message.ts';
import {
  BackToBack,
  frame,
  framesIn,
  GET,
  greetedClient,
  greetedServer,
  headers,
  OK,
  POST,
  request,
  response,
  settings,
  uint32,
} from '../../support/h2.ts';

describe('a request and its response', () => {
  it('cross with heads, content and trailers', () => {
    const both = new BackToBack();
    both.server.hooks.onEnd = (stream) => {
      stream.respond(response(200, [['X-Answer', 'yes']]), UNKNOWN_LENGTH, 'via: 1.1 weft\r\n', false);
      stream.sendData(Buffer.from('hello'), 0, 5, false);
      stream.sendTrailers(new Fields(['Grpc-Status'], ['0']));
    };
    const stream = both.client.connection.request(request('POST', '/a?b', [['X-One', '1']]), 3, 'x-two: 2\r\n', false);
    expect(stream?.sendData(Buffer.from('abc'), 0, 3, true)).toBe(3);
    both.settle();
    expect(both.server.lines).toEqual([
      'request 1 POST http://a.test/a?b [host: a.test, x-one: 1, x-two: 2] length=3',
      'data 1 abc',
      'end 1',
    ]);
    expect(both.client.lines).toEqual([
      'response 1 200 [x-answer: yes, via: 1.1 weft] length=-1',
      'data 1 hello',
      'end 1 [grpc-status: 0]',
    ]);
    expect([both.client.connection.size, both.server.connection.size]).toEqual([0, 0]);
  });

  it('may begin with interim responses', () => {
    const both = new BackToBack();
    both.server.hooks.onRequest = (stream) => {
      stream.interim(response(103, [['link', '</a.css>']]));
      stream.respond(response(204), 0, '', true);
    };
    both.client.connection.request(request('GET', '/'), 0, '', true);
    both.settle();
    expect(both.client.lines).toEqual(['interim 1 103 [link: </a.css>]', 'response 1 204 [] length=0 ended']);
  });

  it('leave out what belongs to an HTTP/1 connection', () => {
    const both = new BackToBack();
    const fields: [string, string][] = [
      ['Connection', 'x'],
      ['Keep-Alive', '5'],
      ['Transfer-Encoding', 'chunked'],
      ['Upgrade', 'a'],
      ['X-A', 'b'],
    ];
    both.client.connection.request(request('GET', '/', fields), 0, '', true);
    both.settle();
    expect(both.server.lines).toEqual(['request 1 GET http://a.test/ [host: a.test, x-a: b] length=0 ended']);
  });

  it('state the length of an answer to HEAD without framing anything by it', () => {
    const client = greetedClient();
    client.connection.request(request('HEAD', '/'), 0, '', true);
    let stated = 0;
    client.hooks.onResponse = (_stream, head) => {
      stated = head.statedLength;
    };
    client.feed(headers(1, [...OK, ['content-length', '42']]));
    expect(client.lines).toEqual(['response 1 200 [] length=0 ended']);
    expect(stated).toBe(42);
  });

  it('use CONTINUATION where the peer takes no longer frame', () => {
    const both = new BackToBack();
    both.client.connection.request(request('GET', '/', [['x-long', 'v'.repeat(40_000)]]), 0, '', true);
    expect(framesIn(both.client.output.pending())).toEqual(['HEADERS 1 END', 'CONTINUATION', 'CONTINUATION']);
    both.settle();
    expect(both.server.lines[0]).toContain('v'.repeat(40_000));
  });
});

describe('a client refuses', () => {
  it.each([
    ['a status that is none', [headers(1, [[':status', '20']])], 'reset 1 PROTOCOL_ERROR upstream_malformed'],
    ['status 101', [headers(1, [[':status', '101']])], 'reset 1 PROTOCOL_ERROR upstream_malformed'],
    ['an interim response that ends', [headers(1, [[':status', '100']])], 'reset 1 PROTOCOL_ERROR upstream_malformed'],
    [
      'pseudo-header fields of requests',
      [headers(1, [...OK, [':path', '/']])],
      'reset 1 PROTOCOL_ERROR upstream_malformed',
    ],
    ['DATA before the head', [frame(f.DATA, 0, 1, Buffer.from('x'))], 'reset 1 PROTOCOL_ERROR upstream_malformed'],
    [
      'a Transfer-Encoding',
      [headers(1, [...OK, ['transfer-encoding', 'chunked']])],
      'reset 1 PROTOCOL_ERROR upstream_malformed',
    ],
    [
      'a missing body',
      [headers(1, [...OK, ['content-length', '4']])],
      'reset 1 PROTOCOL_ERROR upstream_ambiguous_length',
    ],
  ])('%s', (_what, input, line) => {
    const client = greetedClient();
    client.connection.request(request('GET', '/'), 0, '', true);
    client.feed(...input);
    expect(client.lines).toEqual([line]);
    expect(client.connection.size).toBe(0);
  });

  it('content in an answer to HEAD', () => {
    const client = greetedClient();
    client.connection.request(request('HEAD', '/'), 0, '', true);
    client.feed(headers(1, [...OK, ['content-length', '4']], 4), frame(f.DATA, 1, 1, Buffer.from('abcd')));
    expect(client.lines[1]).toBe('reset 1 PROTOCOL_ERROR upstream_ambiguous_length');
  });

  it('more interim responses than the limit', () => {
    const client = greetedClient();
    client.connection.request(request('GET', '/'), 0, '', true);
    for (let i = 0; i < 17; i++) client.feed(headers(1, [[':status', '103']], 4));
    expect(client.lines[16]).toBe('reset 1 ENHANCE_YOUR_CALM interim_flood');
  });

  it('pushed streams, and answers to nothing', () => {
    const push = greetedClient();
    push.feed(frame(f.PUSH_PROMISE, 4, 1, uint32(2)));
    expect(push.lines).toEqual(['failed PROTOCOL_ERROR: PUSH_PROMISE, which nobody may send here']);
    const stray = greetedClient();
    stray.feed(headers(1, OK));
    expect(stray.lines[0]).toContain('failed PROTOCOL_ERROR');
  });
});

describe('sending', () => {
  it('stays within the stream window and goes on when it opens', () => {
    const client = greetedClient({}, [4, 10]);
    const stream = client.connection.request(request('POST', '/'), 25, '', false);
    const bytes = Buffer.alloc(25, 'x');
    const offered: number[] = [];
    let sent = stream?.sendData(bytes, 0, 25, true) ?? -1;
    client.hooks.onWindow = (open) => {
      const taken = open.sendData(bytes, sent, 25, true);
      offered.push(taken);
      sent += taken;
    };
    expect(sent).toBe(10);
    client.feed(frame(f.WINDOW_UPDATE, 0, 1, uint32(10)));
    client.feed(frame(f.WINDOW_UPDATE, 0, 1, uint32(10)));
    expect(offered).toEqual([10, 5]);
    expect(framesIn(client.take())).toEqual(['HEADERS 1', 'DATA 1 10', 'DATA 1 10', 'DATA 1 5 END']);
  });

  it('waits while SETTINGS made a window negative', () => {
    const client = greetedClient({}, [4, 10]);
    const stream = client.connection.request(request('POST', '/'), 20, '', false);
    stream?.sendData(Buffer.alloc(20), 0, 20, true);
    client.feed(settings([4, 3]));
    expect(stream?.sendWindow).toBe(-7);
    let woken = 0;
    client.hooks.onWindow = () => void woken++;
    client.feed(frame(f.WINDOW_UPDATE, 0, 1, uint32(7)));
    expect(woken).toBe(0);
    client.feed(frame(f.WINDOW_UPDATE, 0, 1, uint32(1)));
    expect(woken).toBe(1);
  });

  it('gives each waiting stream one frame in turn when the connection has room again', () => {
    const client = greetedClient({}, [4, 1_000_000]);
    const bytes = Buffer.alloc(200_000);
    const sent = new Map<number, number>();
    const push = (id: number, offer: (from: number) => number): void =>
      void sent.set(id, (sent.get(id) ?? 0) + offer(sent.get(id) ?? 0));
    client.hooks.onWindow = (stream) => push(stream.id, (from) => stream.sendData(bytes, from, bytes.length, true));
    for (let i = 0; i < 3; i++) {
      const stream = client.connection.request(request('POST', '/'), bytes.length, '', false);
      if (stream !== null) push(stream.id, (from) => stream.sendData(bytes, from, bytes.length, true));
    }
    expect([...sent.values()]).toEqual([65_535, 0, 0]);
    client.take();
    client.feed(frame(f.WINDOW_UPDATE, 0, 0, uint32(6 * 16_384)));
    const order = framesIn(client.take()).map((line) => line.split(' ').slice(1).join(' '));
    expect(order).toEqual(['1 16384', '3 16384', '5 16384', '1 16384', '3 16384', '5 16384']);
  });

  it('lets nobody overtake those who wait', () => {
    const client = greetedClient({}, [4, 1_000_000]);
    const first = client.connection.request(request('POST', '/'), -1, '', false);
    first?.sendData(Buffer.alloc(70_000), 0, 70_000, false);
    const second = client.connection.request(request('POST', '/'), -1, '', false);
    client.feed(frame(f.WINDOW_UPDATE, 0, 0, uint32(10)));
    expect(second?.sendData(Buffer.alloc(5), 0, 5, false)).toBe(5);
    first?.sendData(Buffer.alloc(50), 0, 50, false);
    expect(second?.sendData(Buffer.alloc(9), 0, 9, false)).toBe(0);
  });

  it('stops at a full output and goes on when it was flushed', () => {
    const client = greetedClient({ limits: { ...DEFAULT_H2_LIMITS, outputBytes: 30_000 } }, [4, 1_000_000]);
    const stream = client.connection.request(request('POST', '/'), -1, '', false);
    const bytes = Buffer.alloc(60_000);
    let sent = stream?.sendData(bytes, 0, bytes.length, true) ?? 0;
    expect(sent).toBeLessThan(30_000);
    client.hooks.onWindow = (open) => void (sent += open.sendData(bytes, sent, bytes.length, true));
    for (let i = 0; i < 4; i++) client.take();
    expect(sent).toBe(60_000);
  });

  it('ends with an empty frame at once even where no window is open', () => {
    const client = greetedClient({}, [4, 0]);
    const stream = client.connection.request(request('POST', '/'), -1, '', false);
    expect(stream?.sendData(Buffer.alloc(0), 0, 0, true)).toBe(0);
    expect(framesIn(client.take())).toEqual(['HEADERS 1', 'DATA 1 0 END']);
  });

  it('takes no more streams than the peer allows', () => {
    const client = greetedClient({}, [3, 1]);
    expect(client.connection.request(request('GET', '/'), 0, '', true)).not.toBeNull();
    expect(client.connection.available).toBe(0);
    expect(client.connection.request(request('GET', '/'), 0, '', true)).toBeNull();
    client.feed(headers(1, OK));
    expect(client.connection.available).toBe(1);
  });
});

describe('receiving', () => {
  it('opens windows only as the owner consumes, in halves', () => {
    const server = greetedServer({ limits: { ...DEFAULT_H2_LIMITS, streamWindow: 100, connectionWindow: 65_535 } });
    server.consuming = false;
    server.feed(headers(1, POST, 4), frame(f.DATA, 0, 1, Buffer.alloc(80)));
    expect(framesIn(server.take())).toEqual([]);
    server.streams.get(1)?.consume(49);
    expect(framesIn(server.take())).toEqual([]);
    server.streams.get(1)?.consume(1);
    expect(framesIn(server.take())).toEqual(['WINDOW_UPDATE 1 50']);
    expect(server.connection.debt).toBe(30);
    server.feed(frame(f.DATA, 0, 1, Buffer.alloc(71)));
    expect(framesIn(server.take())).toEqual(['RST_STREAM 1 FLOW_CONTROL_ERROR']);
    expect(server.connection.debt).toBe(0);
  });

  it('counts padding against the windows and gives it back itself', () => {
    const server = greetedServer();
    server.consuming = false;
    server.feed(headers(1, POST, 4));
    for (let i = 0; i < 10; i++)
      server.feed(frame(f.DATA, 8, 1, Buffer.concat([Buffer.from([200]), Buffer.alloc(210)])));
    expect(server.connection.debt).toBe(100);
    expect(server.streams.get(1)?.held).toBe(100);
  });

  it('gives back what a reset stream held', () => {
    const server = greetedServer();
    server.consuming = false;
    server.feed(headers(1, POST, 4), frame(f.DATA, 0, 1, Buffer.alloc(5000)));
    expect(server.connection.debt).toBe(5000);
    server.streams.get(1)?.reset(f.CANCEL);
    expect(server.connection.debt).toBe(0);
    server.streams.get(1)?.consume(5000);
    expect(server.connection.debt).toBe(0);
  });

  it('gives back what a finished stream held when its owner drops it', () => {
    const server = greetedServer();
    server.consuming = false;
    server.feed(headers(1, POST, 4), frame(f.DATA, 1, 1, Buffer.alloc(5000)));
    server.streams.get(1)?.respond(response(200), 0, '', true);
    server.take();
    expect(server.connection.debt).toBe(5000);
    server.streams.get(1)?.reset(f.NO_ERROR);
    expect(server.connection.debt).toBe(0);
    expect(framesIn(server.take())).toEqual([]);
  });

  it('fails the connection that sends beyond its window', () => {
    const server = greetedServer({ limits: { ...DEFAULT_H2_LIMITS, connectionWindow: 65_535 } });
    server.consuming = false;
    server.feed(headers(1, POST, 4));
    for (let i = 0; i < 5; i++) server.feed(frame(f.DATA, 0, 1, Buffer.alloc(16_384)));
    expect(server.lines.at(-1)).toBe('failed FLOW_CONTROL_ERROR: DATA exceeds the window of the connection');
  });
});

describe('the end', () => {
  it('of a server comes in two steps, and loses no request on the way', () => {
    const both = new BackToBack();
    both.client.connection.request(request('GET', '/first'), 0, '', true);
    both.settle();
    both.server.connection.shutdown();
    expect(framesIn(both.server.output.pending())).toEqual(['GOAWAY 2147483647 NO_ERROR', 'PING']);
    // A request that was on its way before the client heard of the GOAWAY.
    both.client.connection.request(request('GET', '/second'), 0, '', true);
    both.settle();
    expect(both.client.lines).toEqual(['goaway 2147483647 NO_ERROR', 'goaway 3 NO_ERROR']);
    expect(both.client.connection.available).toBe(0);
    for (const stream of both.server.streams.values()) stream.respond(response(204), 0, '', true);
    both.settle();
    expect(both.server.lines.at(-1)).toBe('done');
    expect(both.client.lines.slice(2)).toEqual([
      'response 1 204 [] length=0 ended',
      'response 3 204 [] length=0 ended',
      'done',
    ]);
  });

  it('of a client comes when its last stream has ended', () => {
    const both = new BackToBack();
    both.server.hooks.onRequest = (stream) => stream.respond(response(204), 0, '', true);
    both.client.connection.request(request('GET', '/'), 0, '', true);
    both.client.connection.shutdown();
    expect(both.client.lines).toEqual([]);
    both.settle();
    expect(both.client.lines).toEqual(['response 1 204 [] length=0 ended', 'done']);
    expect(both.server.lines.slice(1)).toEqual(['goaway 0 NO_ERROR', 'done']);
  });

  it('says which requests the far side never looked at', () => {
    const client = greetedClient();
    for (let i = 0; i < 3; i++) client.connection.request(request('GET', '/'), 0, '', true);
    client.feed(frame(f.GOAWAY, 0, 0, uint32(1, f.NO_ERROR)));
    expect(client.lines).toEqual(['goaway 1 NO_ERROR', 'reset 3 REFUSED_STREAM', 'reset 5 REFUSED_STREAM']);
    client.feed(headers(1, OK));
    expect(client.lines.slice(3)).toEqual(['response 1 200 [] length=0 ended', 'done']);
  });

  it('of the transport resets every stream once', () => {
    const client = greetedClient();
    client.connection.request(request('GET', '/'), 0, '', true);
    client.connection.lost('the far side closed');
    client.connection.lost('again');
    expect(client.lines).toEqual(['reset 1 CONNECTION_LOST']);
    expect(client.connection.request(request('GET', '/'), 0, '', true)).toBeNull();
  });

  it('by close sends GOAWAY and tells the streams, and nobody hears of what comes after', () => {
    const server = greetedServer();
    server.feed(headers(1, GET));
    server.connection.close(f.NO_ERROR, 'drain is over');
    server.feed(headers(3, GET));
    server.streams.get(1)?.respond(response(200), 0, '', true);
    expect(framesIn(server.take())).toEqual(['GOAWAY 1 NO_ERROR']);
    expect(server.lines.slice(1)).toEqual(['reset 1 CONNECTION_LOST']);
  });
});

describe('PING', () => {
  it('comes back with its token', () => {
    const both = new BackToBack();
    both.client.connection.ping(4_000_000_000);
    both.settle();
    expect(both.client.lines).toEqual(['ping 4000000000']);
  });
});
