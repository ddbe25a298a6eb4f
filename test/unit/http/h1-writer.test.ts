import { describe, expect, test } from 'vitest';
import {
  bodyFraming,
  chunkLine,
  interimHead,
  LAST_CHUNK,
  lastChunk,
  type ResponseFraming,
  requestHead,
  responseHead,
} from '../../../proxy/http/h1-writer.ts';
import { Fields, RequestHead, ResponseHead, UNKNOWN_LENGTH, UNTIL_CLOSE } from '../../../proxy/http/message.ts';

interface RequestParts {
  method?: string;
  path?: string;
  fields?: Fields;
  expectation?: boolean;
  te?: boolean;
  upgrade?: string | null;
}

function request(parts: RequestParts): RequestHead {
  const {
    method = 'GET',
    path = '/x',
    fields = new Fields(['Host'], ['a:80']),
    expectation = false,
    te = false,
    upgrade = null,
  } = parts;
  return new RequestHead(method, 'http', 'a:80', path, fields, 0, 11, false, expectation, te, upgrade);
}

function response(status: number, parts: { stated?: number; upgrade?: string | null } = {}): ResponseHead {
  return new ResponseHead(
    status,
    'Why',
    new Fields(['A'], ['b']),
    0,
    parts.stated ?? -1,
    11,
    false,
    -1,
    parts.upgrade ?? null,
  );
}

const GET: ResponseFraming = { version: 11, close: false, keepAlive10: false, requestMethod: 'GET' };
const HEAD: ResponseFraming = { ...GET, requestMethod: 'HEAD' };

describe('request heads', () => {
  test('A GET without body has no framing field.', () => {
    expect(requestHead(request({}), 0, '')).toBe('GET /x HTTP/1.1\r\nHost: a:80\r\n\r\n');
  });

  test('POST, PUT and PATCH without body say so.', () => {
    for (const method of ['POST', 'PUT', 'PATCH']) {
      expect(requestHead(request({ method }), 0, '')).toBe(
        `${method} /x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n\r\n`,
      );
    }
  });

  test('A length is written, an unknown one is chunked.', () => {
    expect(requestHead(request({}), 5, '')).toContain('\r\nContent-Length: 5\r\n\r\n');
    expect(requestHead(request({}), UNKNOWN_LENGTH, '')).toContain('\r\nTransfer-Encoding: chunked\r\n\r\n');
  });

  test('Host is added first where the caller sent none.', () => {
    const fields = new Fields(['B'], ['c']);
    expect(requestHead(request({ fields }), 0, '')).toBe('GET /x HTTP/1.1\r\nHost: a:80\r\nB: c\r\n\r\n');
  });

  test('CONNECT has the authority as target, OPTIONS * the asterisk.', () => {
    expect(requestHead(request({ method: 'CONNECT', path: '' }), 0, '')).toMatch(/^CONNECT a:80 HTTP\/1\.1\r\n/);
    expect(requestHead(request({ method: 'OPTIONS', path: '*' }), 0, '')).toMatch(/^OPTIONS \* HTTP\/1\.1\r\n/);
  });

  test('Hop-by-hop wishes are written anew, and extra lines come last.', () => {
    const head = request({ expectation: true, te: true, upgrade: 'websocket' });
    expect(requestHead(head, 1, 'traceparent: t\r\n')).toBe(
      'GET /x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 1\r\nExpect: 100-continue\r\nTE: trailers\r\nUpgrade: websocket\r\n' +
        'Connection: Upgrade, TE\r\ntraceparent: t\r\n\r\n',
    );
    expect(requestHead(request({ te: true }), 0, '')).toContain('TE: trailers\r\nConnection: TE\r\n\r\n');
    expect(requestHead(request({ upgrade: 'x' }), 0, '')).toContain('Upgrade: x\r\nConnection: Upgrade\r\n\r\n');
  });
});

describe('response heads', () => {
  test('A length is written, 0 included.', () => {
    expect(responseHead(response(200), 5, GET)).toBe('HTTP/1.1 200 Why\r\nA: b\r\nContent-Length: 5\r\n\r\n');
    expect(responseHead(response(200), 0, GET)).toBe('HTTP/1.1 200 Why\r\nA: b\r\nContent-Length: 0\r\n\r\n');
  });

  test('A body of unknown length is chunked, and ends with the connection for HTTP/1.0.', () => {
    for (const length of [UNKNOWN_LENGTH, UNTIL_CLOSE]) {
      expect(responseHead(response(200), length, GET)).toBe(
        'HTTP/1.1 200 Why\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      const old: ResponseFraming = { ...GET, version: 10, keepAlive10: true };
      expect(responseHead(response(200), length, old)).toBe('HTTP/1.1 200 Why\r\nA: b\r\nConnection: close\r\n\r\n');
      expect(bodyFraming(200, length, old)).toBe('close');
    }
  });

  test('HTTP/1.0 callers that asked for keep-alive are told of it.', () => {
    const old: ResponseFraming = { ...GET, version: 10, keepAlive10: true };
    expect(responseHead(response(200), 1, old)).toContain('\r\nConnection: keep-alive\r\n\r\n');
    expect(responseHead(response(200), 1, { ...old, close: true })).toContain('\r\nConnection: close\r\n\r\n');
    expect(responseHead(response(200), 1, { ...old, keepAlive10: false })).not.toContain('Connection');
  });

  test('HEAD and 304 state a length that frames nothing.', () => {
    expect(responseHead(response(200, { stated: 7 }), 0, HEAD)).toContain('\r\nContent-Length: 7\r\n\r\n');
    expect(responseHead(response(304, { stated: 7 }), 0, GET)).toContain('\r\nContent-Length: 7\r\n\r\n');
    expect(responseHead(response(200), UNKNOWN_LENGTH, HEAD)).toBe('HTTP/1.1 200 Why\r\nA: b\r\n\r\n');
    expect(bodyFraming(200, 5, HEAD)).toBe('none');
  });

  test('204, 1xx and a 2xx to CONNECT have no framing field at all.', () => {
    const tunnel: ResponseFraming = { ...GET, requestMethod: 'CONNECT' };
    expect(responseHead(response(204, { stated: 7 }), 0, GET)).toBe('HTTP/1.1 204 Why\r\nA: b\r\n\r\n');
    expect(responseHead(response(204, { stated: 7 }), 0, HEAD)).toBe('HTTP/1.1 204 Why\r\nA: b\r\n\r\n');
    expect(responseHead(response(200), 0, tunnel)).toBe('HTTP/1.1 200 Why\r\nA: b\r\n\r\n');
    expect(responseHead(response(502), 3, tunnel)).toContain('Content-Length: 3');
    expect(interimHead(response(103))).toBe('HTTP/1.1 103 Why\r\nA: b\r\n\r\n');
  });

  test('101 names its protocol.', () => {
    expect(responseHead(response(101, { upgrade: 'websocket' }), 0, GET)).toBe(
      'HTTP/1.1 101 Why\r\nA: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    );
  });
});

test('Chunks are framed in hexadecimal, and trailers follow the last.', () => {
  expect(chunkLine(26)).toBe('1a\r\n');
  expect(lastChunk(null)).toBe(LAST_CHUNK);
  expect(lastChunk(new Fields(['X-Sum'], ['1']))).toBe('0\r\nX-Sum: 1\r\n\r\n');
});
