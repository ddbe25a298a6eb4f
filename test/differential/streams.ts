/** Odd request streams: what smuggling attacks are made of, put together at random. Every request names itself in its path. */
import fc from 'fast-check';

/** One connection's bytes: one or more requests, well-formed or not. Each path begins with `/sSTREAM-`. */
export interface RequestStream {
  readonly index: number;
  readonly text: string;
}

/** What a body hides: where two parsers disagree on its length, one of them sees this request. */
const hidden = (id: string): string => `GET /smuggled-${id} HTTP/1.1\r\nHost: backend\r\n\r\n`;

const FIELD_ODDITIES: readonly string[] = [
  'X-A: b',
  'X-Tab:\tb',
  'X-Empty:',
  'X-Trailing: b \t',
  'X-High: \xe9\xff',
  'X-Fold: a\r\n b',
  'X-Space : b',
  ': nameless',
  'X_Under: score',
  'X-Nul: a\0b',
  'X-Cr: a\rb',
  'X-Lf: a\nX-Next: b',
  'Connection: x-a',
  'Connection: keep-alive, Content-Length',
  'Connection: Transfer-Encoding',
  'Host: other',
  'Expect: 100-continue',
  'Upgrade: h2c',
  'TE: trailers',
  'Content-Encoding: chunked',
];

/** Field lines that say how long a body of `n` bytes is, rightly, doubtfully and wrongly. */
const LENGTHS: readonly ((n: number) => string)[] = [
  (n) => `Content-Length: ${n}`,
  (n) => `content-LENGTH:${n}`,
  (n) => `Content-Length: ${n}\r\nContent-Length: ${n}`,
  (n) => `Content-Length: ${n}\r\nContent-Length: ${n + 1}`,
  (n) => `Content-Length: ${n}, ${n}`,
  (n) => `Content-Length: +${n}`,
  (n) => `Content-Length: 0${n}`,
  (n) => `Content-Length: 0x${n.toString(16)}`,
  (n) => `Content-Length: ${n} `,
  (n) => `Content-Length: "${n}"`,
  (n) => `Content-Length : ${n}`,
  (n) => `Content-Length: ${n}\r\n ${n}`,
  () => 'Content-Length: 0',
  () => 'Content-Length:',
  () => 'Content-Length: 18446744073709551617',
];

const CODINGS: readonly string[] = [
  'Transfer-Encoding: chunked',
  'transfer-encoding: CHUNKED',
  'Transfer-Encoding:\tchunked',
  'Transfer-Encoding: chunked ',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: identity, chunked',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
  'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding:\r\n chunked',
  'Transfer-Encoding: \x0bchunked',
  'X: y\nTransfer-Encoding: chunked',
  'Transfer\0-Encoding: chunked',
];

/** Ways to write a body in chunks; the first two are right. */
const CHUNKINGS: readonly ((body: string) => string)[] = [
  (body) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  (body) =>
    `1\r\n${body[0]}\r\n${(body.length - 1).toString(16).toUpperCase()}\r\n${body.slice(1)}\r\n0\r\nX-T: 1\r\n\r\n`,
  (body) => `${body.length.toString(16)};a=b\r\n${body}\r\n0;c\r\n\r\n`,
  (body) => `0x${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  (body) => `${body.length.toString(16)}\n${body}\n0\n\n`,
  (body) => `${body.length.toString(16)} \r\n${body}\r\n0\r\n\r\n`,
  (body) => `000000000000000000${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  (body) => `1000000000000000${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  (body) => `${body.length.toString(16)};\n${body}\r\n0\r\n\r\n`,
  (body) => `${body.length.toString(16)}\r\n${body}0\r\n\r\n`,
  (body) => `-1\r\n${body}\r\n0\r\n\r\n`,
  (body) => `${body.length.toString(16)}\r\n${body}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n`,
  (body) => `0\r\n\r\n${body}`,
];

/** No lower-case methods: they are legal, but nginx refuses them. */
const START_LINES: readonly ((path: string) => string)[] = [
  (path) => `POST ${path} HTTP/1.1`,
  (path) => `GET ${path} HTTP/1.1`,
  (path) => `PUT http://backend${path} HTTP/1.1`,
  (path) => `POST ${path} HTTP/1.0`,
  (path) => `POST  ${path} HTTP/1.1`,
  (path) => `POST ${path}?q=a%20b HTTP/1.1`,
  (path) => `POST ${path} HTTP/1.1 `,
  (path) => `PROPFIND ${path} HTTP/1.1`,
  (path) => `POST ${path}\tHTTP/1.1`,
  (path) => `POST ${path}`,
  (path) => `POST ${path} HTTP/1.2`,
];

/** Mostly the right thing, so that what is odd is seldom odd in two ways at once. */
function mostly<T>(...values: readonly T[]): fc.Arbitrary<T> {
  const [first, ...others] = values;
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant(first as T) },
    { weight: 2, arbitrary: fc.constantFrom(...others) },
  );
}

interface Recipe {
  readonly start: (path: string) => string;
  readonly fields: readonly string[];
  readonly framing: 'none' | 'length' | 'chunked' | 'both';
  readonly length: (n: number) => string;
  readonly coding: string;
  readonly chunking: (body: string) => string;
}

const recipe: fc.Arbitrary<Recipe> = fc.record({
  start: mostly(...START_LINES),
  fields: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 2, arbitrary: fc.subarray([...FIELD_ODDITIES], { maxLength: 2 }) },
  ),
  framing: fc.constantFrom('none', 'length', 'length', 'chunked', 'chunked', 'both'),
  length: mostly(...LENGTHS),
  coding: mostly(...CODINGS),
  chunking: mostly(...CHUNKINGS),
});

function spell(path: string, { start, fields, framing, length, coding, chunking }: Recipe): string {
  const body = framing === 'none' ? '' : hidden(path.slice(1));
  const sent = framing === 'chunked' || framing === 'both' ? chunking(body) : body;
  const lines = [start(path), 'Host: backend', ...fields];
  if (framing === 'length' || framing === 'both') lines.push(length(sent.length));
  if (framing === 'chunked' || framing === 'both') lines.push(coding);
  return `${lines.join('\r\n')}\r\n\r\n${sent}`;
}

/** `count` streams of one to three requests, the same for the same seed. */
export function oddStreams(count: number, seed: number): RequestStream[] {
  const recipes = fc.sample(fc.array(recipe, { minLength: 1, maxLength: 3 }), { numRuns: count, seed });
  return recipes.map((list, index) => ({
    index,
    text: list.map((one, position) => spell(`/s${index}-${position}`, one)).join(''),
  }));
}
