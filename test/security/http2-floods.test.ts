/** Floods that cost a peer little and us much: each ends its connection, with bounded work and memory. */
import { describe, expect, it } from 'vitest';
import * as f from '../../proxy/http/h2-frames.ts';
import { DEFAULT_H2_LIMITS as L } from '../../proxy/http/h2-limits.ts';
import { liveBytes } from '../support/gc.ts';
import {
  block,
  frame,
  framesIn,
  GET,
  greetedClient,
  greetedServer,
  headers,
  OK,
  POST,
  type Recorder,
  request,
  response,
  settings,
  uint32,
} from '../support/h2.ts';

/** Feeds frame after frame until the connection ends; how many that took, or -1. */
function untilEnded(server: Recorder, most: number, make: (serial: number) => Buffer): number {
  for (let serial = 0; serial < most; serial++) {
    server.feed(make(serial));
    if (server.connection.ended) return serial + 1;
  }
  return -1;
}

function calmed(server: Recorder): void {
  expect(server.lines.filter((line) => line.startsWith('failed'))[0]).toContain('failed ENHANCE_YOUR_CALM');
  expect(framesIn(server.take()).at(-1)).toMatch(/^GOAWAY \d+ ENHANCE_YOUR_CALM$/);
  expect(server.connection.size).toBe(0);
}

describe('rapid reset (CVE-2023-44487)', () => {
  it('ends the connection, and never holds more streams than allowed', () => {
    const server = greetedServer();
    let open = 0;
    let most = 0;
    server.hooks.onRequest = () => void (most = Math.max(most, ++open));
    server.hooks.onReset = () => void open--;
    const took = untilEnded(server, 10_000, (n) =>
      Buffer.concat([headers(2 * n + 1, GET), frame(f.RST_STREAM, 0, 2 * n + 1, uint32(f.CANCEL))]),
    );
    expect(took).toBe(L.resetBurst + 1);
    expect(most).toBe(1);
    calmed(server);
  });

  it('counts as much where each request is answered before its reset comes', () => {
    const server = greetedServer();
    server.hooks.onRequest = (stream) => stream.respond(response(503, [], 0), 0, '', true);
    const took = untilEnded(server, 10_000, (n) => {
      server.clock.advance(1);
      return Buffer.concat([headers(2 * n + 1, GET), frame(f.RST_STREAM, 0, 2 * n + 1, uint32(f.CANCEL))]);
    });
    expect(took).toBeGreaterThan(L.resetBurst);
    expect(took).toBeLessThan(2 * L.resetBurst);
    calmed(server);
  });

  it('is told apart from clients that now and then give up', () => {
    const server = greetedServer();
    const took = untilEnded(server, 2000, (n) => {
      server.clock.advance(1000 / L.resetsPerSecond);
      return Buffer.concat([headers(2 * n + 1, GET), frame(f.RST_STREAM, 0, 2 * n + 1, uint32(f.CANCEL))]);
    });
    expect(took).toBe(-1);
  });

  it.each<[string, (id: number) => Buffer]>([
    ['a window update by nothing', (id) => Buffer.concat([headers(id, GET), frame(f.WINDOW_UPDATE, 0, id, uint32(0))])],
    [
      'a window beyond its bound',
      (id) => Buffer.concat([headers(id, GET), frame(f.WINDOW_UPDATE, 0, id, uint32(2 ** 31 - 1))]),
    ],
    [
      'a stream that depends on itself',
      (id) =>
        Buffer.concat([headers(id, GET), frame(f.PRIORITY, 0, id, Buffer.concat([uint32(id), Buffer.from([0])]))]),
    ],
    ['DATA after the end', (id) => Buffer.concat([headers(id, GET), frame(f.DATA, 0, id, Buffer.from('late'))])],
    ['HEADERS after the end', (id) => Buffer.concat([headers(id, GET), headers(id, GET)])],
    ['a malformed request', (id) => headers(id, [...GET, ['Bad', 'x']])],
    [
      'a wrong Content-Length',
      (id) =>
        Buffer.concat([headers(id, [...POST, ['content-length', '1']], 4), frame(f.DATA, 0, id, Buffer.from('xx'))]),
    ],
  ])('provoked from our side by %s counts the same (CVE-2025-8671)', (_what, make) => {
    const server = greetedServer();
    expect(untilEnded(server, 10_000, (n) => make(2 * n + 1))).toBe(L.resetBurst + 1);
    calmed(server);
  });

  it('counts streams beyond the limit, which are refused without reaching the owner', () => {
    const server = greetedServer();
    expect(untilEnded(server, 10_000, (n) => headers(2 * n + 1, GET))).toBe(L.concurrentStreams + L.resetBurst + 1);
    expect(server.streams.size).toBe(L.concurrentStreams);
    expect(server.lines.filter((line) => line.startsWith('request')).length).toBe(L.concurrentStreams);
  });
});

describe('CONTINUATION flood (CVE-2024-27316)', () => {
  it('ends the connection by frames, long before END_HEADERS', () => {
    const server = greetedServer();
    server.feed(frame(f.HEADERS, 1, 1, block(GET)));
    expect(untilEnded(server, 1000, (n) => frame(f.CONTINUATION, 0, 1, block([[`x-${n}`, 'v']])))).toBe(
      L.continuations + 1,
    );
    calmed(server);
  });

  it('ends the connection by bytes', () => {
    const server = greetedServer();
    server.feed(frame(f.HEADERS, 1, 1, Buffer.alloc(16_000)));
    expect(untilEnded(server, 1000, () => frame(f.CONTINUATION, 0, 1, Buffer.alloc(16_000)))).toBe(4);
    calmed(server);
  });

  it('ends the connection by empty frames', () => {
    const server = greetedServer({ limits: { ...L, continuations: 1_000_000 } });
    server.feed(frame(f.HEADERS, 1, 1, block(GET)));
    expect(untilEnded(server, 1000, () => frame(f.CONTINUATION, 0, 1))).toBe(L.emptyBurst + 1);
    calmed(server);
  });
});

describe('floods of small frames (CVE-2019-9511 to 9518)', () => {
  it.each<[string, number, Buffer]>([
    ['SETTINGS', L.settingsBurst - 2, settings([4, 1])],
    ['SETTINGS acknowledgements', L.settingsBurst - 2, frame(f.SETTINGS, 1, 0)],
    ['PING', L.pingBurst, frame(f.PING, 0, 0, Buffer.alloc(8))],
    ['PING acknowledgements', L.pingBurst, frame(f.PING, 1, 0, Buffer.alloc(8))],
    ['PRIORITY', L.pingBurst, frame(f.PRIORITY, 0, 5, Buffer.from([0, 0, 0, 1, 9]))],
    ['unknown frames', L.pingBurst, frame(0x42, 0, 0)],
    ['GOAWAY while a stream is open', L.pingBurst, frame(f.GOAWAY, 0, 0, uint32(0, 0))],
    ['RST_STREAM of a closed stream', L.resetBurst - 1, frame(f.RST_STREAM, 0, 3, uint32(8))],
    ['empty DATA', L.emptyBurst, frame(f.DATA, 0, 1)],
    ['DATA of padding alone', L.emptyBurst, frame(f.DATA, 8, 1, Buffer.from([0]))],
  ])('%s', (_what, burst, bytes) => {
    const server = greetedServer();
    server.feed(headers(1, POST, 4), headers(3, GET), frame(f.RST_STREAM, 0, 3, uint32(8)));
    expect(untilEnded(server, 10_000, () => bytes)).toBe(burst + 1);
    calmed(server);
  });

  it('from a peer that does not read end with a bounded queue', () => {
    const server = greetedServer({ limits: { ...L, pingBurst: 1_000_000 } });
    const took = untilEnded(server, 1_000_000, () => frame(f.PING, 0, 0, Buffer.alloc(8)));
    expect(took).toBe(L.queuedControls + 1);
    expect(server.output.length).toBeLessThan(20_000);
    calmed(server);
  });

  it('spread over time are no flood', () => {
    const server = greetedServer();
    const took = untilEnded(server, 5000, () => {
      server.clock.advance(2);
      server.take();
      return frame(f.PING, 0, 0, Buffer.alloc(8));
    });
    expect(took).toBe(-1);
  });
});

describe('answers that nobody reads (CVE-2019-9517)', () => {
  const HUGE_WINDOWS = [4, f.LARGEST_WINDOW] as const;

  /** What a server holds for a peer that asks `count` times, each time after what was answered lies with the transport. */
  function held(server: Recorder, count: number): number {
    server.feed(frame(f.WINDOW_UPDATE, 0, 0, uint32(f.LARGEST_WINDOW - f.DEFAULT_WINDOW)));
    for (let n = 0; n < count; n++) {
      server.feed(headers(2 * n + 1, GET));
      server.output.clear();
    }
    return server.output.taken;
  }

  it('are held no further than one output, however small each of them is', () => {
    const server = greetedServer({}, HUGE_WINDOWS);
    const body = Buffer.alloc(10_000);
    server.hooks.onRequest = (stream) => {
      stream.respond(response(200, [], body.length), body.length, '', false);
      stream.sendData(body, 0, body.length, true);
    };
    expect(held(server, 1000)).toBeLessThan(1.5 * L.outputBytes);
    expect(server.connection.size).toBe(L.concurrentStreams);
  });

  it('are no longer asked for where their heads alone are long, until something was read', () => {
    const server = greetedServer({}, HUGE_WINDOWS);
    server.hooks.onRequest = (stream) => stream.respond(response(200, [['x-long', 'x'.repeat(10_000)]]), 0, '', true);
    expect(held(server, 200)).toBeLessThan(1.1 * L.unreadBytes);
    server.connection.flushed();
    server.feed(headers(1001, GET));
    expect(framesIn(server.output.pending())).toEqual(['HEADERS 1001 END']);
  });
});

describe('interim responses without end', () => {
  it('cost the server its stream', () => {
    const client = greetedClient();
    client.connection.request(request('GET', '/'), 0, '', true);
    for (let i = 0; i <= L.interimResponses; i++) client.feed(headers(1, [[':status', '103']], 4));
    expect(client.lines.at(-1)).toBe('reset 1 ENHANCE_YOUR_CALM interim_flood');
    client.feed(headers(1, OK));
    expect(client.lines.at(-1)).toBe('reset 1 ENHANCE_YOUR_CALM interim_flood');
  });
});

describe('connections that end by a flood', () => {
  it('leave nothing behind: 2000 of them cost no memory', () => {
    const flood = Buffer.concat(Array.from({ length: 30 }, () => settings([4, 1])));
    const run = (count: number): void => {
      for (let i = 0; i < count; i++) {
        const server = greetedServer();
        server.feed(headers(1, GET), flood);
        expect(server.connection.ended).toBe(true);
      }
    };
    run(500);
    const before = liveBytes();
    run(2000);
    expect(liveBytes() - before).toBeLessThan(4_000_000);
  });
});

describe('streams opened after our last GOAWAY', () => {
  it('are refused as never looked at, and not without end', () => {
    const server = greetedServer();
    server.feed(headers(1, POST, 4));
    server.connection.shutdown();
    const drainPing = server.take().subarray(-8);
    server.feed(frame(f.PING, 1, 0, drainPing));
    expect(framesIn(server.take())).toEqual(['GOAWAY 1 NO_ERROR']);
    server.feed(headers(3, GET));
    expect(framesIn(server.take())).toEqual(['RST_STREAM 3 REFUSED_STREAM']);
    expect(untilEnded(server, 10_000, (n) => headers(2 * n + 5, GET))).toBe(L.resetBurst);
    expect(server.lines.filter((line) => line.startsWith('request')).length).toBe(1);
  });
});
