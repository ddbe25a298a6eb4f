/**
 * Fuzzes the HTTP/2 codec: `node test/fuzz/h2.ts [--seconds 60] [--seed N]`. Conversations of valid and spoilt frames go
 * to a server and to a client, whole and in pieces. Fails (exit 1) on a crash, on two readings of one input, on an input
 * over 100 ms, on output out of proportion, on memory that grows.
 */
import * as f from '../../proxy/http/h2-frames.ts';
import { Choices, fuzzPlan } from '../support/fuzzing.ts';
import { liveBytes } from '../support/gc.ts';
import {
  block,
  frame,
  GET,
  greetedClient,
  greetedServer,
  headers,
  OK,
  type Pair,
  POST,
  type Recorder,
  request,
  settings,
  uint32,
} from '../support/h2.ts';

const SLOW_MS = 100;
/** Growth of live memory between the first quarter of the run and its end. */
const GROWTH_BYTES = 16 * 1024 * 1024;
/** A peer gets no more out of us than this for each byte it sends, and a page for nothing. */
const AMPLIFICATION = 20;
const REQUESTS = 3;

const { seconds, seed } = fuzzPlan('test/fuzz/h2.ts');
const random = new Choices(seed);

const FIELDS: readonly Pair[] = [
  ['x-a', 'b'],
  ['cookie', 'a=b'],
  ['content-length', '5'],
  ['te', 'trailers'],
  ['host', 'a.test'],
  ['x-long', 'v'.repeat(300)],
  ['x-request-id', '1234'],
  ['Bad', 'x'],
  ['x-b', 'c\r\nd'],
  ['expect', '100-continue'],
];
/** Blocks with indexed fields, insertions and Huffman code (RFC 7541 appendix C). */
const BLOCKS: readonly Buffer[] = [
  '828684410f7777772e6578616d706c652e636f6d',
  '828684be58086e6f2d6361636865',
  '828684418cf1e3c2e5f23a6ba0ab90f4ff',
  '8286845886a8eb10649cbf',
  '4882640258 85aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff',
  '88c16196d07abe941054d444a8200595040b8166e084a62d1bff',
  '3fe11f20 8286',
].map((hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex'));

function someBlock(): Buffer {
  if (random.below(3) === 0) return random.of(BLOCKS);
  const fields = [...random.of([GET, POST, OK, []])];
  for (let count = random.below(6); count > 0; count--) fields.push(random.of(FIELDS));
  return block(fields);
}

function someId(): number {
  return random.below(12) === 0 ? random.of([0, 2, random.below(40), 0x7fffffff]) : random.of([1, 1, 1, 3, 3, 5]);
}

function someFrame(): Buffer {
  const id = someId();
  switch (random.below(40)) {
    case 0:
    case 1:
    case 2:
      return frame(f.HEADERS, random.of([4, 4, 4, 4, 5, 5, 5, 5, 5, 1, 0x25, 0xd]), id, someBlock());
    case 13:
      return frame(f.CONTINUATION, random.of([0, 4]), id, someBlock());
    case 4:
    case 5:
    case 6:
      return frame(
        f.DATA,
        random.of([0, 0, 1, 8, 9]),
        id,
        Buffer.alloc(random.of([0, 1, 5, 100, 16_384]), random.below(9)),
      );
    case 7:
      return frame(f.RST_STREAM, 0, id, uint32(random.below(16)));
    case 8:
      return settings([random.below(9), random.of([0, 1, 100, 16_384, 65_535, 2 ** 31 - 1, 2 ** 31])]);
    case 9:
      return frame(f.PING, random.below(2), 0, Buffer.alloc(8, random.below(256)));
    case 10:
      return frame(f.WINDOW_UPDATE, 0, id, uint32(random.of([0, 1, 1000, 65_535, 2 ** 31 - 1])));
    case 11:
      return frame(f.GOAWAY, 0, 0, uint32(random.below(8), random.below(14)));
    case 12:
      return frame(f.PRIORITY, 0, id, Buffer.from([0, 0, 0, random.below(8), 1]));
    case 3:
      return frame(random.below(12), random.below(256), id, Buffer.alloc(random.below(30), random.below(256)));
    default:
      return frame(f.DATA, random.of([0, 0, 0, 0, 1]), id, Buffer.alloc(random.below(50), 0x61));
  }
}

function conversation(): Buffer {
  const frames = Array.from({ length: 1 + random.below(30) }, someFrame);
  const opening = [headers(1, POST, 4), headers(3, POST, 4), headers(5, POST, 4)].slice(0, random.below(4));
  const bytes = Buffer.concat([...opening, ...frames]);
  for (let edits = random.of([0, 0, 0, 0, 1, 3]); edits > 0; edits--)
    bytes[random.below(bytes.length)] = random.below(256);
  return random.below(20) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}

function peer(role: 'client' | 'server'): Recorder {
  if (role === 'server') {
    const server = greetedServer();
    server.hooks.onEnd = (stream) => void stream.sendData(Buffer.alloc(500), 0, 500, true);
    return server;
  }
  const client = greetedClient();
  for (let i = 0; i < REQUESTS; i++)
    client.connection.request(request(i === 1 ? 'HEAD' : 'POST', '/'), -1, '', i === 0);
  client.take();
  return client;
}

function run(role: 'client' | 'server', bytes: Buffer, pieces: number): string {
  const recorder = peer(role);
  for (const piece of random.cut(bytes, pieces)) recorder.feed(piece);
  const sent = recorder.take();
  if (sent.length > 4096 + AMPLIFICATION * bytes.length) throw new Error(`${sent.length} bytes for ${bytes.length}`);
  recorder.connection.lost('end of input');
  if (recorder.connection.size > 0) throw new Error('a stream is left');
  if (!recorder.connection.ended) throw new Error('the connection goes on');
  return `${recorder.lines.join('\n')}\n${sent.toString('hex')}`;
}

function fail(why: string, bytes: Buffer): never {
  process.stdout.write(`h2 fuzz: seed ${seed}: ${why}\n${bytes.toString('hex')}\n`);
  process.exit(1);
}

function timed(role: 'client' | 'server', bytes: Buffer): number {
  const start = performance.now();
  run(role, bytes, 1);
  return performance.now() - start;
}

const started = performance.now();
let inputs = 0;
let survived = 0;
let early = 0;
let slowest = 0;
for (let now = started; now - started < seconds * 1000; inputs++) {
  const bytes = conversation();
  const role = random.of(['client', 'server'] as const);
  try {
    const whole = run(role, bytes, 1);
    let took = performance.now() - now;
    // The machine may have been busy with something else: only what is slow again is slow.
    if (took > SLOW_MS) took = timed(role, bytes);
    if (took > SLOW_MS) fail(`${took.toFixed(0)} ms for one input`, bytes);
    slowest = Math.max(slowest, took);
    if (run(role, bytes, 2 + random.below(20)) !== whole) fail('two readings', bytes);
    if (!whole.includes('failed')) survived++;
  } catch (error) {
    fail(`threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, bytes);
  }
  now = performance.now();
  if (early === 0 && now - started > seconds * 250) early = liveBytes();
}
const growth = liveBytes() - early;
process.stdout.write(
  `h2 fuzz: seed ${seed}, ${inputs} inputs, ${survived} without connection error, slowest ${slowest.toFixed(1)} ms, memory ${(growth / 1024).toFixed(0)} KB more\n`,
);
process.exit(growth > GROWTH_BYTES ? 1 : 0);
