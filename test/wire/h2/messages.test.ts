/** RFC 9113 section 8: which requests a server passes on, and how; all others end at the codec. */
import { describe, expect, it } from 'vitest';
import * as f from '../../../proxy/http/h2-frames.ts';
import { frame, framesIn, GET, greetedServer, headers, type Pair, POST } from '../../support/h2.ts';
import { type Case, check } from './case.ts';

const without = (...names: string[]): Pair[] => GET.filter(([name]) => !names.includes(name));
const opened = headers(1, POST, f.END_HEADERS);
const data = (id: number, text: string, flags = 0): Buffer => frame(f.DATA, flags, id, Buffer.from(text));
const fields = (...more: Pair[]): Buffer => headers(1, [...GET, ...more]);

describe('messages (section 8)', () => {
  it.each<[string, Buffer]>([
    ['an upper-case name', fields(['X-Test', 'ok'])],
    ['an empty name', fields(['', 'ok'])],
    ['a name with a space', fields(['x test', 'ok'])],
    ['a name with a colon', fields(['x:test', 'ok'])],
    ['a name with CR LF', fields(['x-a\r\nx-b', 'ok'])],
    ['a value with CR LF', fields(['x-a', 'a\r\nx-b: c'])],
    ['a value with a bare LF', fields(['x-a', 'a\nb'])],
    ['a value with NUL', fields(['x-a', 'a\0b'])],
    ['a value that begins with a blank', fields(['x-a', ' a'])],
    ['a value that ends with a tab', fields(['x-a', 'a\t'])],
    ['an unknown pseudo-header field', fields([':test', 'ok'])],
    ['a pseudo-header field of responses', fields([':status', '200'])],
    ['a pseudo-header field after another field', headers(1, [['x-a', 'b'], ...GET])],
    ['Connection', fields(['connection', 'keep-alive'])],
    ['Keep-Alive', fields(['keep-alive', 'timeout=5'])],
    ['Proxy-Connection', fields(['proxy-connection', 'close'])],
    ['Upgrade', fields(['upgrade', 'h2c'])],
    ['Transfer-Encoding', fields(['transfer-encoding', 'chunked'])],
    ['TE that says more than trailers', fields(['te', 'trailers, deflate'])],
    ['an empty :path', headers(1, [...without(':path'), [':path', '']])],
    ['a :path with a space', headers(1, [...without(':path'), [':path', '/ HTTP/1.1']])],
    ['a :path with a fragment', headers(1, [...without(':path'), [':path', '/#a']])],
    ['a :path in absolute form', headers(1, [...without(':path'), [':path', 'http://b.test/']])],
    [':path * for another method than OPTIONS', headers(1, [...without(':path'), [':path', '*']])],
    ['no :method', headers(1, without(':method'))],
    ['no :scheme', headers(1, without(':scheme'))],
    ['no :path', headers(1, without(':path'))],
    ['two :method', headers(1, [[':method', 'GET'], ...GET])],
    ['two :scheme', headers(1, [[':scheme', 'http'], ...GET])],
    ['two :path', headers(1, [[':path', '/'], ...GET])],
    ['two :authority', headers(1, [[':authority', 'a.test'], ...GET])],
    ['a :method with a space', headers(1, [...without(':method'), [':method', 'GET /x HTTP/1.1']])],
    ['an empty :method', headers(1, [...without(':method'), [':method', '']])],
    ['a :scheme that is not of HTTP', headers(1, [...without(':scheme'), [':scheme', 'ftp']])],
    ['an :authority with userinfo', headers(1, [...without(':authority'), [':authority', 'u@a.test']])],
    ['neither :authority nor Host', headers(1, without(':authority'))],
    ['Host that differs from :authority', fields(['host', 'b.test'])],
    ['two Host', fields(['host', 'a.test'], ['host', 'a.test'])],
    ['CONNECT with :path', headers(1, [...without(':method', ':scheme'), [':method', 'CONNECT']])],
    [':protocol without CONNECT', headers(1, [...GET, [':protocol', 'websocket']])],
    ['two Content-Length', headers(1, [...POST, ['content-length', '3'], ['content-length', '3']], 4)],
    ['Content-Length with a sign', headers(1, [...POST, ['content-length', '+3']], 4)],
    ['Content-Length as a list', headers(1, [...POST, ['content-length', '3, 3']], 4)],
    ['an empty Content-Length', headers(1, [...POST, ['content-length', '']], 4)],
    ['a request without a body that promises one', headers(1, [...POST, ['content-length', '3']], 5)],
  ])('refuses %s', (_what, input) => {
    const server = greetedServer();
    server.feed(input);
    expect(framesIn(server.take())).toEqual(['RST_STREAM 1 PROTOCOL_ERROR']);
    expect(server.lines.map((line) => line.split(' ')[0])).toEqual(['refused']);
  });

  it.each<Case>([
    {
      says: 'a second header section must end its stream',
      gets: [opened, headers(1, [['x-a', 'b']], f.END_HEADERS)],
      resets: '1 PROTOCOL_ERROR',
    },
    { says: 'trailers have no pseudo-header fields', gets: [opened, headers(1, GET)], resets: '1 PROTOCOL_ERROR' },
    {
      says: 'trailers follow the rules of fields',
      gets: [opened, headers(1, [['x-a', 'b\r\nc']])],
      resets: '1 PROTOCOL_ERROR',
    },
    {
      says: 'trailers arrive, those that change the framing do not',
      gets: [
        opened,
        headers(1, [
          ['x-sum', '1'],
          ['content-length', '7'],
          ['host', 'b.test'],
          ['authorization', 'x'],
        ]),
      ],
      tells: ['request 1 POST http://a.test/ [host: a.test] length=-1', 'end 1 [x-sum: 1]'],
    },
    {
      says: 'Content-Length and one DATA differ',
      gets: [headers(1, [...POST, ['content-length', '1']], 4), data(1, 'test', 1)],
      resets: '1 PROTOCOL_ERROR',
      tells: ['request 1 POST http://a.test/ [host: a.test] length=1', 'reset 1 PROTOCOL_ERROR ambiguous_length'],
    },
    {
      says: 'Content-Length and several DATA differ',
      gets: [headers(1, [...POST, ['content-length', '1']], 4), data(1, 't'), data(1, 'est', 1)],
      resets: '1 PROTOCOL_ERROR',
      tells: [
        'request 1 POST http://a.test/ [host: a.test] length=1',
        'data 1 t',
        'reset 1 PROTOCOL_ERROR ambiguous_length',
      ],
    },
    {
      says: 'DATA falls short of Content-Length',
      gets: [headers(1, [...POST, ['content-length', '5']], 4), data(1, 'test', 1)],
      resets: '1 PROTOCOL_ERROR',
    },
    {
      says: 'trailers fall short of Content-Length',
      gets: [headers(1, [...POST, ['content-length', '5']], 4), headers(1, [['x-a', 'b']])],
      resets: '1 PROTOCOL_ERROR',
    },
    {
      says: 'Content-Length is met',
      gets: [headers(1, [...POST, ['content-length', '4']], 4), data(1, 'te'), data(1, 'st', 1)],
      tells: ['request 1 POST http://a.test/ [host: a.test] length=4', 'data 1 test', 'end 1'],
    },
    {
      says: 'cookie crumbs become one field',
      gets: [fields(['cookie', 'a=b'], ['x-a', 'c'], ['cookie', 'd=e'])],
      tells: ['request 1 GET http://a.test/ [host: a.test, cookie: a=b; d=e, x-a: c] length=0 ended'],
    },
    {
      says: 'Host stands in for :authority',
      gets: [headers(1, [...without(':authority'), ['host', 'B.test:80']])],
      tells: ['request 1 GET http://b.test:80/ [host: b.test:80] length=0 ended'],
    },
    {
      says: 'Host may repeat :authority in another spelling',
      gets: [fields(['host', 'A.TEST'])],
      tells: ['request 1 GET http://a.test/ [host: a.test] length=0 ended'],
    },
    {
      says: 'the path is normalised',
      gets: [headers(1, [...without(':path'), [':path', '/a/../b?c=/../']])],
      tells: ['request 1 GET http://a.test/b?c=/../ [host: a.test] length=0 ended'],
    },
    {
      says: 'OPTIONS asks about the whole server',
      gets: [headers(1, [[':method', 'OPTIONS'], ...without(':method', ':path'), [':path', '*']])],
      tells: ['request 1 OPTIONS http://a.test* [host: a.test] length=0 ended'],
    },
    {
      says: 'CONNECT names an authority alone',
      gets: [
        headers(
          1,
          [
            [':method', 'CONNECT'],
            [':authority', 'a.test:443'],
          ],
          4,
        ),
      ],
      tells: ['request 1 CONNECT http://a.test:443 [host: a.test:443] length=-1'],
    },
  ])('$says', check);

  it('a path that cannot be normalised waits for a local answer', () => {
    const server = greetedServer();
    server.feed(headers(1, [...without(':path'), [':path', '/%00']]));
    expect(server.lines).toEqual(['refused 1 bad_path: :path cannot be normalised']);
    expect(framesIn(server.take())).toEqual([]);
  });

  it('an extended CONNECT carries its protocol (RFC 8441)', () => {
    const server = greetedServer();
    let protocol: string | null = '';
    server.hooks.onRequest = (_stream, head) => {
      protocol = head.upgrade;
    };
    server.feed(headers(1, [[':method', 'CONNECT'], [':protocol', 'websocket'], ...without(':method')], 4));
    expect(server.lines).toEqual(['request 1 CONNECT http://a.test/ [host: a.test] length=-1']);
    expect(protocol).toBe('websocket');
  });
});
