/** Properties of the HTTP/2 codec that hold for any input. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as f from '../../proxy/http/h2-frames.ts';
import { MESH_H2_LIMITS } from '../../proxy/http/h2-limits.ts';
import { hpackInteger } from '../../proxy/http/h2-names.ts';
import type { H2Stream } from '../../proxy/http/h2-stream.ts';
import { fieldsBlock } from '../../proxy/http/h2-write-heads.ts';
import { HpackDecoder } from '../../proxy/http/hpack-decoder.ts';
import { Fields } from '../../proxy/http/message.ts';
import { BackToBack, frame, greetedServer, headers, POST, request, response, settings, uint32 } from '../support/h2.ts';

const SEED = 20261121;
const LIMITS = { listBytes: 1_000_000, fields: 1000, runs: 4 };

const name = fc.stringMatching(/^[a-z0-9][a-z0-9_.-]{0,19}$/).filter((text) => !RESERVED.has(text));
const RESERVED = new Set([
  'host',
  'te',
  'expect',
  'connection',
  'upgrade',
  'content-length',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
]);
const value = fc
  .array(fc.oneof(fc.integer({ min: 0x21, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff }), fc.constant(0x20)), {
    maxLength: 400,
  })
  .map((codes) => String.fromCharCode(...codes).trim())
  .filter((text) => !/^[ \t]|[ \t]$/.test(text));
const pairs = fc.array(fc.tuple(name, value), { maxLength: 30 });

describe('any list of fields', () => {
  it('is what it was after encoding and decoding, with and without memory of earlier blocks', () => {
    const decoder = new HpackDecoder(LIMITS);
    decoder.limitTable(0);
    fc.assert(
      fc.property(pairs, (list) => {
        const fields = new Fields(
          list.map(([n]) => n),
          list.map(([, v]) => v),
        );
        const bytes = Buffer.from(`\x84${fieldsBlock(fields)}`, 'latin1');
        for (let again = 0; again < 2; again++) {
          expect(decoder.decode(bytes, 0, bytes.length)).toBe(true);
          expect(decoder.sound).toBe(true);
          const got = Array.from(
            { length: decoder.count - 1 },
            (_, at) => `${decoder.names[at + 1]?.text}: ${decoder.values[at + 1]}`,
          );
          expect(got.sort()).toEqual(list.map(([n, v]) => `${n}: ${v}`).sort());
        }
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it('decodes the same whether or not the decoder remembers runs', () => {
    const remembering = new HpackDecoder(LIMITS);
    remembering.limitTable(0);
    const fragment = fc.oneof(
      fc.constantFrom(
        '\x82',
        '\x84',
        '\x88',
        '\x00\x01a\x01b',
        '\x10\x0cx-request-id\x02ab',
        '\x0f\x0d\x0210',
        '\x20',
        '\x0f',
        '\x00\x7f\x80\x01',
      ),
      pairs.map((list) =>
        fieldsBlock(
          new Fields(
            list.map(([n]) => n),
            list.map(([, v]) => v),
          ),
        ),
      ),
    );
    fc.assert(
      fc.property(fc.array(fragment, { maxLength: 6 }), fc.nat(60), (parts, cut) => {
        const text = parts.join('');
        const bytes = Buffer.from(text.slice(0, Math.max(0, text.length - cut)), 'latin1');
        const forgetful = new HpackDecoder({ ...LIMITS, runs: 0 });
        forgetful.limitTable(0);
        for (let again = 0; again < 3; again++) {
          const outcome = remembering.decode(bytes, 0, bytes.length);
          expect(outcome).toBe(forgetful.decode(bytes, 0, bytes.length));
          if (!outcome) continue;
          expect(remembering.count).toBe(forgetful.count);
          expect(remembering.values.slice(0, remembering.count)).toEqual(forgetful.values.slice(0, forgetful.count));
          expect(remembering.names.slice(0, remembering.count)).toEqual(forgetful.names.slice(0, forgetful.count));
        }
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it('has integers of any size and prefix that read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 61 }), fc.integer({ min: 0, max: 30_000 }), (index, size) => {
        const decoder = new HpackDecoder(LIMITS);
        const block = hpackInteger(0x10, 4, index) + hpackInteger(0, 7, size) + 'v'.repeat(size);
        const bytes = Buffer.from(block, 'latin1');
        expect(decoder.decode(bytes, 0, bytes.length)).toBe(true);
        expect(decoder.values[0]?.length).toBe(size);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});

/** A conversation of every kind of frame, from a client. */
function conversation(): Buffer {
  return Buffer.concat([
    headers(1, [...POST, ['content-length', '5']], 4),
    frame(f.PING, 0, 0, Buffer.from('12345678')),
    frame(f.DATA, 8, 1, Buffer.from('\x02abc\0\0')),
    settings([4, 70_000], [0x99, 1]),
    frame(f.HEADERS, 1, 3, Buffer.from('828684', 'hex')),
    frame(f.CONTINUATION, 4, 3, Buffer.concat([Buffer.from('01', 'hex'), Buffer.from([6]), Buffer.from('a.test')])),
    frame(f.DATA, 1, 1, Buffer.from('de')),
    frame(f.WINDOW_UPDATE, 0, 0, uint32(1000)),
    headers(5, POST, 4),
    frame(f.DATA, 0, 5, Buffer.alloc(3000, 'z')),
    frame(f.RST_STREAM, 0, 5, uint32(8)),
    headers(7, POST, 4),
    headers(7, [['x-sum', '9']], 5),
    frame(0x77, 1, 9, Buffer.from('?')),
    frame(f.GOAWAY, 0, 0, uint32(0, 0)),
  ]);
}

describe('any split of the bytes', () => {
  it('gives the same events and the same answers', () => {
    const whole = conversation();
    const expected = greetedServer();
    expected.feed(whole);
    const answers = expected.take();
    expect(expected.lines.length).toBeGreaterThan(9);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: whole.length - 1 }), { minLength: 1, maxLength: 12 }), (cuts) => {
        const server = greetedServer();
        const edges = [0, ...new Set(cuts.sort((a, b) => a - b)), whole.length];
        for (let i = 1; i < edges.length; i++) server.feed(whole.subarray(edges[i - 1], edges[i]));
        expect(server.lines).toEqual(expected.lines);
        expect(server.take()).toEqual(answers);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });
});

type Step = readonly [kind: number, pick: number, size: number];

/** Drives both ends by a schedule, and checks that neither hears anything of a stream after its end. */
function play(steps: readonly Step[]): BackToBack {
  const both = new BackToBack(
    { limits: { ...MESH_H2_LIMITS, outputBytes: 20_000 } },
    { limits: { ...MESH_H2_LIMITS, outputBytes: 20_000 } },
  );
  const bytes = Buffer.alloc(100_000, 'b');
  const live: H2Stream<unknown>[] = [];
  const over = new Set<H2Stream<unknown>>();
  for (const side of [both.client, both.server]) {
    const mustLive = (stream: H2Stream<unknown>): void => expect(over.has(stream)).toBe(false);
    side.consuming = false;
    side.hooks = {
      onRequest: (stream) => void live.push(stream),
      onResponse: mustLive,
      onData: (stream, _bytes, start, end) => {
        mustLive(stream);
        if (stream.id % 3 !== 0) stream.consume(end - start);
      },
      onEnd: mustLive,
      onReset: (stream) => {
        mustLive(stream);
        over.add(stream);
      },
      onWindow: (stream) => {
        mustLive(stream);
        stream.sendData(bytes, 0, 30_000, false);
      },
    };
  }
  for (const [kind, pick, size] of steps) {
    const stream = live.length === 0 ? null : (live[pick % live.length] ?? null);
    if (kind === 0) {
      const opened = both.client.connection.request(request('POST', '/'), -1, '', size % 4 === 0);
      if (opened !== null) live.push(opened);
    } else if (kind === 1) stream?.sendData(bytes, 0, size, size % 2 === 0);
    else if (kind === 2 && stream !== null) {
      stream.reset(size % 14);
      over.add(stream);
    } else if (kind === 3 && stream !== null && !stream.headSent) stream.respond(response(200), -1, '', size % 3 === 0);
    else if (kind === 4 && stream?.headSent === true) stream.sendTrailers(new Fields(['x-end'], ['1']));
    else if (kind === 5) stream?.consume(size);
    else if (kind === 6) both.server.feed(both.client.take());
    else if (kind === 7) both.client.feed(both.server.take());
    else if (kind === 8 && size % 8 === 0) both.server.connection.shutdown();
    else if (kind === 9 && size % 16 === 0) both.client.connection.shutdown();
  }
  for (const stream of live) stream.reset(f.CANCEL);
  both.settle();
  return both;
}

describe('any schedule of requests, bytes, resets and GOAWAY between two ends', () => {
  const step = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.nat(30), fc.integer({ min: 0, max: 40_000 }));

  it('leaves no stream, no window debt and no byte behind, and is no protocol error', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
        const both = play(steps);
        for (const side of [both.client, both.server]) {
          expect(side.lines.filter((line) => line.startsWith('failed'))).toEqual([]);
          expect([side.connection.size, side.connection.debt, side.output.length, side.connection.midway]).toEqual([
            0,
            0,
            0,
            false,
          ]);
        }
      }),
      { seed: SEED, numRuns: 600 },
    );
  }, 60_000);
});

describe('any bytes', () => {
  it('never throw, and end in silence or in GOAWAY', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.integer({ min: 0, max: 9 }), (bytes, type) => {
        const server = greetedServer();
        server.feed(headers(1, POST, 4), frame(type, bytes[0] ?? 0, bytes[1] ?? 0, bytes), Buffer.from(bytes));
        const failed = server.lines.some((line) => line.startsWith('failed'));
        expect(server.connection.ended).toBe(failed || server.lines.includes('done'));
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });
});
