/** Header bombs and what might mean something else in HTTP/1. */
import { describe, expect, it } from 'vitest';
import * as f from '../../proxy/http/h2-frames.ts';
import { DEFAULT_H2_LIMITS as L, MESH_H2_LIMITS } from '../../proxy/http/h2-limits.ts';
import { liveBytes } from '../support/gc.ts';
import {
  block,
  frame,
  framesIn,
  GET,
  greetedServer,
  headers,
  type Pair,
  POST,
  Recorder,
  settings,
} from '../support/h2.ts';

/** A block of any size in as many frames as it takes. */
function blockFrames(id: number, bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 16_384) {
    const last = at + 16_384 >= bytes.length ? f.END_HEADERS : 0;
    parts.push(frame(at === 0 ? f.HEADERS : f.CONTINUATION, last, id, bytes.subarray(at, at + 16_384)));
  }
  return Buffer.concat(parts);
}

describe('header bombs', () => {
  it('of indexed one-byte fields are answered, not stored: 100 streams of 50,000 fields cost less than 20 MB', () => {
    // One field of 4000 bytes in the table, then references.
    const server = new Recorder('server');
    server.connection.start();
    server.feed(f.PREFACE, settings());
    const seed = Buffer.concat([
      Buffer.from([0x40, 3]),
      Buffer.from('x-a'),
      Buffer.from([127, 0xa1, 0x1e]),
      Buffer.alloc(4000, 'v'),
    ]);
    const bomb = Buffer.concat([block(POST), Buffer.alloc(50_000, 0xbe)]);
    server.feed(blockFrames(1, Buffer.concat([block(POST), seed])));
    const before = liveBytes();
    for (let id = 3; id < 203; id += 2) server.feed(blockFrames(id, bomb));
    const grown = liveBytes() - before;
    expect(server.lines.filter((line) => line.startsWith('refused')).length).toBe(99);
    expect(server.lines.at(-1)).toContain('head_too_large');
    expect(grown).toBeLessThan(20_000_000);
  });

  it('are found by the number of fields', () => {
    const server = greetedServer();
    server.feed(headers(1, [...GET, ...Array.from({ length: L.fields }, (_, n): Pair => ['a', String(n)])]));
    expect(server.lines).toEqual([expect.stringContaining('refused 1 head_too_large')]);
  });

  it('are found by their bytes, 32 more for each field', () => {
    const server = greetedServer({ limits: { ...L, fields: 100_000 } });
    server.feed(blockFrames(1, block([...GET, ...Array.from({ length: 2000 }, (): Pair => ['a', ''])])));
    expect(server.lines).toEqual([expect.stringContaining('refused 1 head_too_large')]);
  });

  it('of cookie crumbs count each crumb', () => {
    const server = greetedServer();
    server.feed(blockFrames(1, block([...GET, ...Array.from({ length: 300 }, (): Pair => ['cookie', 'a=b'])])));
    expect(server.lines).toEqual([expect.stringContaining('refused 1 head_too_large')]);
  });

  it('in trailers reset the stream', () => {
    const server = greetedServer();
    server.feed(
      headers(1, POST, 4),
      headers(
        1,
        Array.from({ length: 300 }, (): Pair => ['a', 'b']),
      ),
    );
    expect(server.lines.at(-1)).toBe('reset 1 PROTOCOL_ERROR head_too_large');
  });

  it('leave the connection in step: the next request is read right', () => {
    const server = greetedServer();
    server.feed(
      blockFrames(1, block([...GET, ...Array.from({ length: 300 }, (): Pair => ['a', 'b'])])),
      headers(3, GET),
    );
    expect(server.lines[1]).toBe('request 3 GET http://a.test/ [host: a.test] length=0 ended');
  });

  it('of repeated paths do not make the decoder look for runs again and again', () => {
    const server = greetedServer();
    server.feed(blockFrames(1, Buffer.concat([block(GET), Buffer.alloc(60_000, 0x84)])));
    expect(server.lines).toEqual([expect.stringContaining('refused 1 head_too_large')]);
  });

  it('keep no more of a block than its names and values after it is read', () => {
    const server = greetedServer({ limits: { ...L, concurrentStreams: 5000, resetBurst: 100_000 } });
    const before = liveBytes();
    // Distinct names are remembered per thread: each must not hold on to the 16 KB block it came in.
    for (let n = 0; n < 1000; n++) {
      server.feed(headers(2 * n + 1, [...GET, [`x-a-rather-long-name-${n}`, 'v'], ['x-b', 'w'.repeat(15_000)]], 5));
      server.streams.get(2 * n + 1)?.reset(f.CANCEL);
      server.streams.clear();
      server.lines.length = 0;
      server.take();
    }
    expect(liveBytes() - before).toBeLessThan(6_000_000);
  });
});

describe('request smuggling by downgrade to HTTP/1', () => {
  const hosts: readonly [string, readonly Pair[]][] = [
    ['CR LF in a value', [...GET, ['x-a', 'b\r\ntransfer-encoding: chunked']]],
    ['LF alone in a value', [...GET, ['x-a', 'b\nhost: evil.test']]],
    ['CR alone in a value', [...GET, ['x-a', 'b\rc']]],
    ['NUL in a value', [...GET, ['x-a', 'b\0']]],
    ['CR LF in a name', [...GET, ['x-a: b\r\nx-c', 'd']]],
    ['a colon in a name', [...GET, ['x-a:', 'b']]],
    ['a space in a name', [...GET, ['x-a ', 'b']]],
    ['Transfer-Encoding', [...POST, ['transfer-encoding', 'chunked']]],
    ['Transfer-Encoding in capitals', [...POST, ['Transfer-Encoding', 'chunked']]],
    ['Connection', [...POST, ['connection', 'content-length']]],
    ['two lengths', [...POST, ['content-length', '1'], ['content-length', '2']]],
    ['a length that is no number', [...POST, ['content-length', '0x1']]],
    ['Host that differs', [...GET, ['host', 'evil.test']]],
    ['CR LF in :method', [[':method', 'GET / HTTP/1.1\r\nx:'], ...GET.slice(1)]],
    ['CR LF in :path', [GET[0] as Pair, GET[1] as Pair, [':path', '/ HTTP/1.1\r\nx: y'], GET[3] as Pair]],
    ['a space in :path', [GET[0] as Pair, GET[1] as Pair, [':path', '/a b'], GET[3] as Pair]],
    ['CR LF in :authority', [...GET.slice(0, 3), [':authority', 'a.test\r\nx: y']]],
    ['a slash in :authority', [...GET.slice(0, 3), [':authority', 'a.test/evil']]],
    ['userinfo in :authority', [...GET.slice(0, 3), [':authority', 'a@evil.test']]],
    ['CR LF in :scheme', [[':method', 'GET'], [':scheme', 'http\r\nx: y'], ...GET.slice(2)]],
    ['a path in :scheme', [[':method', 'GET'], [':scheme', 'http://evil.test/?'], ...GET.slice(2)]],
  ];

  it.each(hosts)('by %s resets the stream and reaches nobody', (_what, fields) => {
    const server = greetedServer();
    server.feed(headers(1, fields, 4));
    expect(framesIn(server.take())).toEqual(['RST_STREAM 1 PROTOCOL_ERROR']);
    expect(server.lines.some((line) => line.startsWith('request'))).toBe(false);
  });

  it('by more DATA than Content-Length never passes the surplus on', () => {
    const server = greetedServer();
    server.feed(headers(1, [...POST, ['content-length', '4']], 4), frame(f.DATA, 0, 1, Buffer.from('goodGET /evil')));
    expect(server.lines.some((line) => line.includes('evil'))).toBe(false);
    expect(framesIn(server.take())).toEqual(['RST_STREAM 1 PROTOCOL_ERROR']);
  });

  it('by less DATA than Content-Length never looks complete', () => {
    const server = greetedServer();
    server.feed(headers(1, [...POST, ['content-length', '9']], 4), frame(f.DATA, 1, 1, Buffer.from('short')));
    expect(server.lines.some((line) => line.startsWith('end'))).toBe(false);
  });

  it('by trailers cannot change framing, routing or credentials', () => {
    const server = greetedServer();
    server.feed(
      headers(1, POST, 4),
      headers(1, [
        ['content-length', '1'],
        ['host', 'evil.test'],
        ['authorization', 'x'],
        ['x-ok', '1'],
      ]),
    );
    expect(server.lines[1]).toBe('end 1 [x-ok: 1]');
  });
});

describe('header blocks kept by their bytes', () => {
  it('are never kept while the same bytes may mean other fields', () => {
    // Before the peer acknowledges our table size, 0xbe names whatever was inserted last.
    const server = new Recorder('server', { limits: MESH_H2_LIMITS });
    server.connection.start();
    server.feed(f.PREFACE, settings());
    const filler = block([['x-filler', 'f'.repeat(80)]]);
    const insert = (value: string): Buffer =>
      Buffer.concat([Buffer.from([0x40, 6]), Buffer.from('x-user'), Buffer.from([value.length]), Buffer.from(value)]);
    server.feed(frame(f.HEADERS, 5, 1, Buffer.concat([block(GET), insert('admin'), filler])));
    server.feed(frame(f.HEADERS, 5, 3, Buffer.concat([block(GET), Buffer.from([0xbe]), filler])));
    server.feed(frame(f.HEADERS, 5, 5, Buffer.concat([block(GET), insert('guest'), filler])));
    server.feed(frame(f.HEADERS, 5, 7, Buffer.concat([block(GET), Buffer.from([0xbe]), filler])));
    expect(server.lines.map((line) => /x-user: (\w+)/.exec(line)?.[1])).toEqual(['admin', 'admin', 'guest', 'guest']);
    server.feed(
      frame(f.SETTINGS, 1, 0),
      frame(f.HEADERS, 5, 9, Buffer.concat([block(GET), Buffer.from([0xbe]), filler])),
    );
    expect(server.lines.at(-1)).toContain('failed COMPRESSION_ERROR');
  });

  it('that were refused are refused again', () => {
    const server = greetedServer({ limits: MESH_H2_LIMITS });
    const bad: Pair[] = [...GET, ['x-long', 'v'.repeat(80)], ['x-a', 'b\r\nc']];
    server.feed(headers(1, bad), headers(3, bad), headers(5, bad));
    expect(framesIn(server.take())).toEqual([1, 3, 5].map((id) => `RST_STREAM ${id} PROTOCOL_ERROR`));
  });
});
