/** Smuggling through the running sidecar: what has two readings is refused, and the application hears nothing of it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Stage, targetOf, valuesOf } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n';
const post = (fields: string, body: string): string => `POST /x HTTP/1.1\r\nHost: app\r\n${fields}\r\n\r\n${body}`;
const CHUNKED = 'Transfer-Encoding: chunked';

describe('a request with two framings is refused and its connection closed', () => {
  test.for([
    ['CL.TE', post(`Content-Length: 6\r\n${CHUNKED}`, `0\r\n\r\n${SMUGGLED}`)],
    ['TE.CL', post(`${CHUNKED}\r\nContent-Length: 4`, `26\r\n${SMUGGLED}\r\n0\r\n\r\n`)],
    ['TE.TE', post(`${CHUNKED}\r\nTransfer-Encoding: cow`, `0\r\n\r\n${SMUGGLED}`)],
    ['TE.0', post('Transfer-Encoding: identity', SMUGGLED)],
    ['a list', post('Transfer-Encoding: gzip, chunked', `0\r\n\r\n${SMUGGLED}`)],
    ['quotes', post('Transfer-Encoding: "chunked"', `0\r\n\r\n${SMUGGLED}`)],
    ['an underscore', post(`Transfer_Encoding: chunked\r\nContent-Length: 5`, `0\r\n\r\n${SMUGGLED}`)],
    ['HTTP/1.0', `POST /x HTTP/1.0\r\nHost: app\r\n${CHUNKED}\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    ['two lengths', post(`Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}`, SMUGGLED)],
    ['two equal lengths', post(`Content-Length: 5\r\ncontent-length: 5`, `01234${SMUGGLED}`)],
    ['a list of lengths', post('Content-Length: 5, 5', `01234${SMUGGLED}`)],
    ['no digits', post('Content-Length:', SMUGGLED)],
    ['a sign', post('Content-Length: +5', `01234${SMUGGLED}`)],
    ['an underscore in digits', post('Content-Length: 1_0', `0123456789${SMUGGLED}`)],
    ['hexadecimal', post('Content-Length: 0x1', `0${SMUGGLED}`)],
    ['2^64 + 5', post('Content-Length: 18446744073709551621', `01234${SMUGGLED}`)],
  ] as const)('%s', ([, bytes]) => stage.expectRefusal(bytes, 400, 'ambiguous_length'));
});

describe('a head that parsers cut differently is refused', () => {
  const head = (line: string): string => `GET /x HTTP/1.1\r\nHost: app\r\n${line}\r\n\r\n${SMUGGLED}`;
  test.for([
    ['a bare LF after the request line', `GET /x HTTP/1.1\nHost: app\r\n\r\n${SMUGGLED}`],
    ['a bare LF after a field', `GET /x HTTP/1.1\r\nHost: app\nX: y\r\n\r\n${SMUGGLED}`],
    ['a bare LF at the end', `GET /x HTTP/1.1\r\nHost: app\r\n\n${SMUGGLED}`],
    ['a bare CR in a value', head(`X: a\rTransfer-Encoding: chunked`)],
    ['a NUL in a value', head('X: a\0b')],
    ['a NUL in a name', head('X\0Y: b')],
    ['obs-fold', head('X: a\r\n b')],
    ['a space before the colon', head('Content-Length : 38')],
    ['a tab before the colon', head('Content-Length\t: 38')],
    ['an empty name', head(': b')],
    ['no colon', head('Content-Length 38')],
    ['a line that begins with a space', `GET /x HTTP/1.1\r\n Host: app\r\n\r\n${SMUGGLED}`],
    ['a control byte', head('X: a\x1bb')],
    ['two spaces', `GET  /x HTTP/1.1\r\nHost: app\r\n\r\n${SMUGGLED}`],
    ['a space in the target', `GET /x y HTTP/1.1\r\nHost: app\r\n\r\n${SMUGGLED}`],
    ['two hosts', head('Host: other')],
    ['no host', `GET /x HTTP/1.1\r\nX: y\r\n\r\n${SMUGGLED}`],
  ] as const)('%s', ([, bytes]) => stage.expectRefusal(bytes, 400));
});

describe('a chunk line that parsers read differently ends the connection before its bytes are passed on', () => {
  const hidden = SMUGGLED.length.toString(16);
  test.for([
    ['a bare LF ends an extension', `2;\nxx\r\n${hidden}\r\n0\r\n\r\n${SMUGGLED}`],
    ['a bare CR in an extension', `5;a\rb\r\n01234\r\n0\r\n\r\n${SMUGGLED}`],
    ['a bare LF after the size', `5\n01234\r\n0\r\n\r\n${SMUGGLED}`],
    ['a blank after the size', `5 \r\n01234\r\n0\r\n\r\n${SMUGGLED}`],
    ['a size beyond 2^53', `100000000000000005\r\n01234\r\n0\r\n\r\n${SMUGGLED}`],
    ['a size with 0x', `0x5\r\n01234\r\n0\r\n\r\n${SMUGGLED}`],
    ['a negative size', `-5\r\n01234\r\n0\r\n\r\n${SMUGGLED}`],
    ['no size', `\r\n01234\r\n0\r\n\r\n${SMUGGLED}`],
    ['no CRLF after the chunk', `5\r\n01234XX0\r\n\r\n${SMUGGLED}`],
    ['a bare LF after the chunk', `5\r\n01234\n0\r\n\r\n${SMUGGLED}`],
    ['a bare LF at the end', `5\r\n01234\r\n0\r\n\n${SMUGGLED}`],
    ['framing in a trailer line with LF', `5\r\n01234\r\n0\r\nX: a\nContent-Length: 5\r\n\r\n${SMUGGLED}`],
    ['16 KiB of extensions', `${`1;${'x'.repeat(999)}\r\na\r\n`.repeat(18)}0\r\n\r\n${SMUGGLED}`],
  ] as const)('%s', async ([, body]) => {
    stage.begin();
    using client = await stage.outbound();
    await client.write(post(CHUNKED, body));
    const answer = await client.answer();
    expect(answer.status).toBe(400);
    await client.ended;
    expect((await stage.victim('/after')).body.toString()).toBe('/after');
    // The unfinished request may have begun upstream, but it never ended there and nothing came after it.
    expect(stage.app.seen.map((seen) => targetOf(seen.head))).toEqual(['/after']);
    expect(stage.bytes).not.toContain('smuggled');
  });
});

test('what is forwarded has exactly one framing, and chunk lines and extensions are not the caller’s', async () => {
  stage.begin();
  using client = await stage.outbound();
  await client.exchange(
    post(`${CHUNKED}\r\nTrailer: X-Sum`, '05;a="b"\r\n01234\r\n0;z\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\n'),
  );
  await client.exchange(post('Content-Length:   0005  ', '01234'));
  const [chunked, sized] = stage.app.seen;
  expect(valuesOf(chunked?.head ?? '', 'content-length')).toEqual([]);
  expect(valuesOf(chunked?.head ?? '', 'transfer-encoding')).toEqual(['chunked']);
  expect(chunked?.body).toBe('5\r\n01234\r\n0\r\nX-Sum: 1\r\n\r\n');
  expect(valuesOf(sized?.head ?? '', 'content-length')).toEqual(['5']);
  expect(valuesOf(sized?.head ?? '', 'transfer-encoding')).toEqual([]);
});

test('every byte of a smuggling attempt sent alone changes nothing', async () => {
  stage.begin();
  using client = await stage.outbound();
  await client.writeBytewise(post(`Content-Length: 6\r\n${CHUNKED}`, `0\r\n\r\n${SMUGGLED}`));
  expect((await client.answer()).status).toBe(400);
  await client.ended;
  expect(stage.bytes).toBe('');
});
