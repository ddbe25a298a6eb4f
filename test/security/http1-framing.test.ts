/**
 * Classes of HTTP/1 faults known from other proxies, as far as the codec alone can show them: whatever a caller sends, the
 * upstream is sent one reading of it or nothing.
 */
import { describe, expect, test } from 'vitest';
import { RequestParser, ResponseParser } from '../../proxy/http/h1-parser.ts';
import { requestHead } from '../../proxy/http/h1-writer.ts';
import { DEFAULT_LIMITS } from '../../proxy/http/limits.ts';
import type { RequestHead } from '../../proxy/http/message.ts';

interface Verdict {
  /** Heads as they would go upstream. */
  readonly sent: string[];
  readonly bodies: string[];
  refused: string | null;
}

function judge(text: string): Verdict {
  const verdict: Verdict = { sent: [], bodies: [], refused: null };
  const parser = new RequestParser(
    {
      onRequest(head: RequestHead): void {
        verdict.sent.push(requestHead(head, head.length, ''));
        verdict.bodies.push('');
      },
      onData(bytes, start, end): void {
        verdict.bodies.push((verdict.bodies.pop() as string) + bytes.toString('latin1', start, end));
      },
      onEnd(): void {},
      onRequestError(failure): void {
        verdict.refused = failure.word;
      },
    },
    { limits: DEFAULT_LIMITS, scheme: 'http', normalization: 'BASE' },
  );
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; ) at = parser.feed(bytes, at, bytes.length);
  return verdict;
}

const SMUGGLED = 'GET /admin HTTP/1.1\r\nHost: a\r\n\r\n';
const post = (fields: string, body = ''): string => `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n${body}`;

describe('request smuggling', () => {
  test.for([
    ['CL.TE', post('Content-Length: 6\r\nTransfer-Encoding: chunked', `0\r\n\r\n${SMUGGLED}`)],
    ['TE.CL', post('Transfer-Encoding: chunked\r\nContent-Length: 4', `2a\r\n${SMUGGLED}\r\n0\r\n\r\n`)],
    ['TE.TE with an odd second', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x', `0\r\n\r\n${SMUGGLED}`)],
    ['TE.TE with an odd name', post('Content-Length: 3\r\nTransfer-Encoding\x0b: chunked', `0\r\n\r\n${SMUGGLED}`)],
    ['a list that ends otherwise', post('Transfer-Encoding: chunked, identity', `0\r\n\r\n${SMUGGLED}`)],
    ['a quoted coding', post('Transfer-Encoding: "chunked"', `0\r\n\r\n${SMUGGLED}`)],
    ['a folded coding', post('Transfer-Encoding:\r\n chunked', `0\r\n\r\n${SMUGGLED}`)],
    ['a coding in HTTP/1.0', `POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    [
      'a framing field with an underscore',
      post('Transfer_Encoding: chunked\r\nContent-Length: 5', `0\r\n\r\n${SMUGGLED}`),
    ],
    ['two lengths', post(`Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}`, SMUGGLED)],
    ['a signed length', post(`Content-Length: +${SMUGGLED.length}`, SMUGGLED)],
    ['a length in hexadecimal', post('Content-Length: 0x20', SMUGGLED)],
    ['a space before the colon', post(`Content-Length : ${SMUGGLED.length}`, SMUGGLED)],
    ['a bare LF between fields', post(`A: b\nContent-Length: ${SMUGGLED.length}`, SMUGGLED)],
    ['a bare CR between fields', post(`A: b\rContent-Length: ${SMUGGLED.length}`, SMUGGLED)],
  ] as const)('%s: nothing reaches the upstream.', ([, text]) => {
    expect(judge(text)).toEqual({ sent: [], bodies: [], refused: expect.any(String) });
  });

  test.for([
    ['a line feed within an extension', '2;\nxx\r\n4c\r\n0\r\n\r\n'],
    ['a size beyond 2^64', '10000000000000001\r\na\r\n0\r\n\r\n'],
    ['a missing CRLF', '1\r\na0\r\n\r\n'],
    ['two other bytes instead of CRLF', '1\r\naXX0\r\n\r\n'],
    ['an extension flood', `1;${'x'.repeat(DEFAULT_LIMITS.chunkExtensionBytes + 1)}\r\na\r\n`],
    ['an extension flood in many chunks', '1;xxxxxxxxxxxxxxx\r\na\r\n'.repeat(1200)],
  ] as const)('chunks with %s are refused, and no second request is read.', ([, body]) => {
    const verdict = judge(post('Transfer-Encoding: chunked', body + SMUGGLED));
    expect([verdict.refused, verdict.sent.length]).toEqual(['bad_chunk', 1]);
  });

  test('At most one framing field goes out, and extensions do not.', () => {
    const verdict = judge(
      post('transfer-encoding: CHUNKED', '1;a="\r'.slice(0, 4) + '\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n'),
    );
    expect(verdict).toEqual({
      sent: ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'],
      bodies: ['x'],
      refused: null,
    });
  });
});

describe('hop-by-hop abuse', () => {
  test.for([
    'Authorization',
    'Cookie',
    'Host',
    'Content-Length',
    'X-Forwarded-For',
    'x-forwarded-client-cert',
    'Traceparent',
    'X-Request-ID',
  ])('Connection: %s removes nothing: the request is refused.', (name) => {
    const verdict = judge(
      `GET / HTTP/1.1\r\nHost: a\r\nConnection: close, ${name}\r\n${name === 'Host' ? 'A' : name}: 1\r\n\r\n`,
    );
    expect([verdict.refused, verdict.sent]).toEqual(['malformed_header', []]);
  });
});

describe('hosts', () => {
  test.for([
    'GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n',
  ])('Two readings of a host are none: %j', (text) => {
    expect(judge(text)).toEqual({ sent: [], bodies: [], refused: expect.stringMatching(/^bad_(host|target)$/) });
  });

  test('Every spelling of a host goes out as one.', () => {
    const spellings = ['B.Example', 'b.example.', 'b.example:', 'B.EXAMPLE.:'];
    const sent = spellings.map((host) => judge(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`).sent[0]);
    expect(new Set(sent)).toEqual(new Set(['GET / HTTP/1.1\r\nHost: b.example\r\n\r\n']));
  });
});

describe('answers of an upstream', () => {
  interface Answers {
    readonly finals: number[];
    interims: number;
    refused: string | null;
    unread: number;
  }

  function answer(text: string, method: string): Answers {
    const seen: Answers = { finals: [], interims: 0, refused: null, unread: 0 };
    const parser = new ResponseParser(
      {
        onInterim: () => void seen.interims++,
        onResponse: (head) => void seen.finals.push(head.status),
        onData: () => {},
        onEnd: () => {},
        onResponseError: (failure) => void (seen.refused = failure.word),
      },
      { limits: DEFAULT_LIMITS },
    );
    parser.expect(method, null);
    const bytes = Buffer.from(text, 'latin1');
    seen.unread = bytes.length - parser.feed(bytes, 0, bytes.length);
    seen.unread = seen.refused === null ? seen.unread : 0;
    return seen;
  }

  test.for([
    ['length and coding', 'GET', 'Content-Length: 1\r\nTransfer-Encoding: chunked'],
    ['two lengths', 'GET', 'Content-Length: 1\r\nContent-Length: 2'],
    ['chunked and gzip', 'GET', 'Transfer-Encoding: chunked, gzip'],
    ['two lengths to HEAD', 'HEAD', 'Content-Length: 1\r\nContent-Length: 2'],
  ] as const)('%s: refused.', ([, method, fields]) => {
    const seen = answer(`HTTP/1.1 200 OK\r\n${fields}\r\n\r\nx`, method);
    expect([seen.refused, seen.finals]).toEqual(['upstream_ambiguous_length', []]);
  });

  test.for([
    ['a body after HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody', 4],
    ['a body after 204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\nbody', 4],
    ['a body after 304', 'GET', 'HTTP/1.1 304 Not Modified\r\n\r\nbody', 4],
    ['a second response', 'GET', 'HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', 19],
  ] as const)('%s is left unread, for the connection to be closed over.', ([, method, text, unread]) => {
    expect(answer(text, method)).toMatchObject({ refused: null, unread });
  });

  test('A flood of interim responses ends at the limit.', () => {
    const seen = answer('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000), 'GET');
    expect(seen).toMatchObject({ interims: DEFAULT_LIMITS.interimResponses, refused: 'interim_flood', finals: [] });
  });
});
