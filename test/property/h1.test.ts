import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestParser, ResponseParser } from '../../proxy/http/h1-parser.ts';
import { CHUNK_END, chunkLine, lastChunk, requestHead, responseHead } from '../../proxy/http/h1-writer.ts';
import { DEFAULT_LIMITS } from '../../proxy/http/limits.ts';
import { Fields, RequestHead, ResponseHead, UNKNOWN_LENGTH } from '../../proxy/http/message.ts';
import { normalizePath, type PathNormalization } from '../../proxy/http/path.ts';
import { type Handling, RequestDriver, ResponseDriver } from '../wire/http1.ts';
import { type Driver, readCases } from '../wire/run.ts';

const SEED = { seed: 20260901 };
const PLAIN: Handling = { stopAlways: false };
const wires = readCases(new URL('../wire', import.meta.url).pathname);

/** Events of `bytes` fed in pieces that end at `cuts`. */
function eventsOf(driver: Driver, bytes: Buffer, cuts: readonly number[]): readonly string[] {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    driver.feed(bytes.subarray(start, end));
    start = end;
  }
  driver.end(false);
  return driver.events;
}

const cuts = fc.array(fc.nat(4000), { maxLength: 12 });

/** A wire case, spoilt in up to three places. */
const spoilt = fc
  .tuple(
    fc.constantFrom(...wires.filter((wire) => wire.codec.startsWith('http1'))),
    fc.array(
      fc.tuple(fc.nat(4000), fc.constantFrom('\r', '\n', ' ', '\t', '\0', ':', ',', ';', '0', '\r\n', ''), fc.nat(3)),
      {
        maxLength: 3,
      },
    ),
  )
  .map(([wire, edits]) => {
    let text = wire.input.toString('latin1');
    for (const [place, put, cut] of edits) {
      const at = place % (text.length + 1);
      text = text.slice(0, at) + put + text.slice(at + cut);
    }
    return { wire, bytes: Buffer.from(text, 'latin1') };
  });

function driverOf(codec: string, options: ReadonlyMap<string, string>): Driver {
  return codec === 'http1-request' ? new RequestDriver(options, PLAIN) : new ResponseDriver(options, PLAIN);
}

test('However a spoilt message is cut, the parsers say the same of it, and never throw.', () => {
  fc.assert(
    fc.property(spoilt, cuts, ({ wire, bytes }, pieces) => {
      const whole = eventsOf(driverOf(wire.codec, wire.options), bytes, []);
      expect(eventsOf(driverOf(wire.codec, wire.options), bytes, pieces)).toEqual(whole);
    }),
    { ...SEED, numRuns: 1500 },
  );
});

test('Random bytes never make a parser throw, nor read differently in pieces.', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      cuts,
      fc.constantFrom('http1-request', 'http1-response'),
      (raw, pieces, codec) => {
        const bytes = Buffer.from(raw);
        const none = new Map<string, string>();
        expect(eventsOf(driverOf(codec, none), bytes, pieces)).toEqual(eventsOf(driverOf(codec, none), bytes, []));
      },
    ),
    { ...SEED, numRuns: 500 },
  );
});

const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/);
const fieldName = token.map((name) => `X-${name}`);
const fieldValue = fc.stringMatching(/^(?:[!-~\xa0-\xff](?:[ -~\xa0-\xff]{0,20}[!-~\xa0-\xff])?)?$/);
const fieldPairs = fc.array(fc.tuple(fieldName, fieldValue), { maxLength: 8 });
const bodyText = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const pathText = fc
  .stringMatching(/^\/[a-z0-9/;=_-]{0,20}(?:\?[!"$-~]{0,10})?$/)
  .filter((path) => normalizePath(path, 'BASE') === path);

function fieldsOf(pairs: readonly (readonly [string, string])[]): Fields {
  const fields = new Fields();
  for (const [name, value] of pairs) fields.append(name, value);
  return fields;
}

function bodyOf(body: string, chunked: boolean, trailers: Fields | null): string {
  if (!chunked) return body;
  return (body === '' ? '' : chunkLine(body.length) + body + CHUNK_END) + lastChunk(trailers);
}

interface Read<Head> {
  readonly heads: Head[];
  body: string;
  trailers: Fields | null;
  ends: number;
  refused: string | null;
}

/** For comparing: what fields hold, however they hold it. */
function told(read: Read<RequestHead> | Read<ResponseHead>): object {
  const pairs = ({ names, values }: Fields): string[][] => names.map((name, i) => [name, values[i] as string]);
  return {
    ...read,
    heads: read.heads.map((head) => Object.assign({}, head, { fields: pairs(head.fields) })),
    trailers: read.trailers === null ? null : pairs(read.trailers),
  };
}

function readRequests(text: string): Read<RequestHead> {
  const read: Read<RequestHead> = { heads: [], body: '', trailers: null, ends: 0, refused: null };
  const parser = new RequestParser(
    {
      onRequest: (head) => void read.heads.push(head),
      onData: (bytes, start, end) => void (read.body += bytes.toString('latin1', start, end)),
      onEnd: (trailers) => {
        read.trailers = trailers;
        read.ends++;
      },
      onRequestError: (failure) => void (read.refused = failure.word),
    },
    { limits: DEFAULT_LIMITS, scheme: 'http', normalization: 'BASE' },
  );
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; ) at = parser.feed(bytes, at, bytes.length);
  return read;
}

test('A request written is the request read.', () => {
  const heads = fc.record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'PROPFIND'),
    host: fc.constantFrom('a', 'shop.example:8080', '[2001:db8::1]:80'),
    path: pathText,
    pairs: fieldPairs,
    body: bodyText,
    chunked: fc.boolean(),
    trailers: fieldPairs,
    te: fc.boolean(),
    expectation: fc.boolean(),
    upgrade: fc.constantFrom(null, 'websocket'),
  });
  fc.assert(
    fc.property(heads, ({ method, host, path, pairs, body, chunked, trailers, te, expectation, upgrade }) => {
      const length = chunked ? UNKNOWN_LENGTH : body.length;
      const fields = fieldsOf([['Host', host], ...pairs]);
      const head = new RequestHead(
        method,
        'http',
        host,
        path,
        fields,
        length,
        11,
        false,
        expectation && length !== 0,
        te,
        length === 0 ? upgrade : null,
      );
      const tail = chunked && trailers.length > 0 ? fieldsOf(trailers) : null;
      const read = readRequests(requestHead(head, length, '') + bodyOf(body, chunked, tail));
      expect(told(read)).toEqual(told({ heads: [head], body, trailers: tail, ends: 1, refused: null }));
    }),
    { ...SEED, numRuns: 400 },
  );
});

test('A response written is the response read.', () => {
  const heads = fc.record({
    status: fc.constantFrom(200, 201, 204, 304, 404, 503),
    reason: fc.constantFrom('', 'OK', 'Not Found'),
    pairs: fieldPairs,
    body: bodyText,
    chunked: fc.boolean(),
    method: fc.constantFrom('GET', 'HEAD', 'POST'),
    close: fc.boolean(),
  });
  fc.assert(
    fc.property(heads, ({ status, reason, pairs, body, chunked, method, close }) => {
      const bodiless = method === 'HEAD' || status === 204 || status === 304;
      const length = bodiless ? 0 : chunked ? UNKNOWN_LENGTH : body.length;
      const stated = bodiless && status !== 204 ? body.length : -1;
      const head = new ResponseHead(status, reason, fieldsOf(pairs), length, stated, 11, close, -1, null);
      const framing = { version: 11, close, keepAlive10: false, requestMethod: method } as const;
      const text = responseHead(head, length, framing) + (bodiless ? '' : bodyOf(body, chunked, null));
      const read: Read<ResponseHead> = { heads: [], body: '', trailers: null, ends: 0, refused: null };
      const parser = new ResponseParser(
        {
          onInterim: () => void (read.refused = 'interim'),
          onResponse: (seen) => void read.heads.push(seen),
          onData: (bytes, start, end) => void (read.body += bytes.toString('latin1', start, end)),
          onEnd: () => void read.ends++,
          onResponseError: (failure) => void (read.refused = failure.word),
        },
        { limits: DEFAULT_LIMITS },
      );
      parser.expect(method, null);
      const bytes = Buffer.from(text, 'latin1');
      expect(parser.feed(bytes, 0, bytes.length)).toBe(bytes.length);
      const written = { heads: [head], body: bodiless ? '' : body, trailers: null, ends: 1, refused: null };
      expect(told(read)).toEqual(told(written));
    }),
    { ...SEED, numRuns: 400 },
  );
});

test('What is forwarded of any accepted input reads as the same requests with the same bodies: no input has two readings.', () => {
  const requests = wires.filter((wire) => wire.codec === 'http1-request');
  fc.assert(
    fc.property(
      spoilt.filter(({ wire }) => requests.includes(wire)),
      ({ bytes }) => {
        const read = readRequests(bytes.toString('latin1'));
        const head = read.heads[0];
        if (read.refused !== null || head === undefined || read.ends !== 1 || head.method === 'CONNECT') return;
        // HTTP/1.0 without Host goes on with the empty Host that RFC 9112 section 3.2 asks for; only servers take that.
        if (head.authority === '') return;
        const chunked = head.length === UNKNOWN_LENGTH;
        const again = readRequests(requestHead(head, head.length, '') + bodyOf(read.body, chunked, read.trailers));
        expect(again.refused).toBeNull();
        expect([again.heads.length, again.ends]).toEqual([1, 1]);
        expect([again.body, again.heads[0]?.path, again.heads[0]?.authority]).toEqual([
          read.body,
          head.path,
          head.authority,
        ]);
        const hostless = (fields: Fields): string => fields.wire.replace(/^host:[^\r]*\r\n/im, '');
        expect(hostless((again.heads[0] as RequestHead).fields)).toBe(hostless(head.fields));
      },
    ),
    { ...SEED, numRuns: 1500 },
  );
});

test('Normalising a path twice changes nothing, and leaves nothing that could climb.', () => {
  const pieces = fc.array(
    fc.constantFrom(
      '/',
      '//',
      '.',
      '..',
      '%2e',
      '%2E%2e',
      '%2f',
      '%5c',
      '\\',
      'a',
      '%61',
      '%25',
      '2e',
      ';',
      '..;x',
      '%00',
      '?',
      'b',
    ),
    { maxLength: 10 },
  );
  const modes = fc.constantFrom<PathNormalization>('BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES');
  fc.assert(
    fc.property(pieces, modes, (parts, mode) => {
      const once = normalizePath(`/${parts.join('')}`, mode);
      if (once === null) return;
      expect(normalizePath(once, mode)).toBe(once);
      const path = once.split('?')[0] as string;
      expect(path).not.toMatch(/\/\.{1,2}(?:[/;]|$)|\\|%2e|%00/i);
      if (mode !== 'BASE') expect(path).not.toContain('//');
    }),
    { ...SEED, numRuns: 2000 },
  );
});
