/**
 * Fuzzes the HTTP/1 parsers: `node test/fuzz/h1.ts [--seconds 60] [--seed N]`. Wire cases are spliced and spoilt, fed whole
 * and in pieces. Fails (exit 1) on a crash, on two readings of one input, on an input over 100 ms, on memory that grows.
 */
import { Choices, fuzzPlan } from '../support/fuzzing.ts';
import { liveBytes } from '../support/gc.ts';
import { type Handling, RequestDriver, ResponseDriver } from '../wire/http1.ts';
import { type Driver, readCases, type WireCase } from '../wire/run.ts';

const SLOW_MS = 100;
/** Growth of live memory between the first quarter of the run and its end. */
const GROWTH_BYTES = 16 * 1024 * 1024;
const LONGEST = 20_000;
const SPICE = [
  '\r',
  '\n',
  '\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '"',
  '0',
  'f',
  '\x80',
  '\xff',
  'chunked',
  'Content-Length: 1\r\n',
];
const PLAIN: Handling = { stopAlways: false };
const HANDLINGS: readonly Handling[] = [PLAIN, { stopAlways: true }];

const { seconds, seed } = fuzzPlan('test/fuzz/h1.ts');
const random = new Choices(seed);
const wires = readCases(new URL('../wire', import.meta.url).pathname).filter((wire) => wire.codec.startsWith('http1'));

function mutant(wire: WireCase): Buffer {
  let text = wire.input.toString('latin1');
  for (let edits = random.below(5); edits > 0; edits--) {
    const at = random.below(text.length + 1);
    const kind = random.below(6);
    if (kind === 0) text = text.slice(0, at) + text.slice(at + 1 + random.below(8));
    else if (kind === 1) text = text.slice(0, at) + random.of(SPICE) + text.slice(at);
    else if (kind === 2) text = text.slice(0, at) + String.fromCharCode(random.below(256)) + text.slice(at + 1);
    else if (kind === 3) text = text.slice(0, at) + random.of(wires).input.toString('latin1').slice(random.below(60));
    else if (kind === 4) text = text.slice(0, at) + text.slice(at, at + 20).repeat(random.below(200)) + text.slice(at);
    else text += text;
  }
  return Buffer.from(text.slice(0, LONGEST), 'latin1');
}

function run(wire: WireCase, bytes: Buffer, handling: Handling, pieces: number): string {
  const driver: Driver =
    wire.codec === 'http1-request'
      ? new RequestDriver(wire.options, handling)
      : new ResponseDriver(wire.options, handling);
  for (const piece of random.cut(bytes, pieces)) driver.feed(piece);
  driver.end(wire.fin);
  return driver.events.join('\n');
}

function millisecondsOf(wire: WireCase, bytes: Buffer): number {
  const start = performance.now();
  run(wire, bytes, PLAIN, 1);
  return performance.now() - start;
}

function fail(why: string, bytes: Buffer): never {
  process.stdout.write(`h1 fuzz: seed ${seed}: ${why}\n${JSON.stringify(bytes.toString('latin1'))}\n`);
  process.exit(1);
}

const started = performance.now();
let inputs = 0;
let accepted = 0;
let early = 0;
let slowest = 0;
for (let now = started; now - started < seconds * 1000; inputs++) {
  const wire = random.of(wires);
  const bytes = mutant(wire);
  try {
    const whole = run(wire, bytes, PLAIN, 1);
    let took = performance.now() - now;
    // The machine may have been busy with something else: only what is slow again is slow.
    if (took > SLOW_MS) took = millisecondsOf(wire, bytes);
    if (took > SLOW_MS) fail(`${took.toFixed(0)} ms for one input`, bytes);
    slowest = Math.max(slowest, took);
    if (run(wire, bytes, random.of(HANDLINGS), 1 + random.below(20)) !== whole) fail('two readings', bytes);
    if (!whole.includes('error')) accepted++;
  } catch (error) {
    fail(`threw ${String(error)}`, bytes);
  }
  now = performance.now();
  if (early === 0 && now - started > seconds * 250) early = liveBytes();
}
const growth = liveBytes() - early;
process.stdout.write(
  `h1 fuzz: seed ${seed}: ${inputs} inputs in ${seconds} s, ${accepted} without error, slowest ${slowest.toFixed(1)} ms, ` +
    `memory ${(growth / 1024 / 1024).toFixed(1)} MB since the first quarter\n`,
);
if (growth > GROWTH_BYTES) fail('memory grows', Buffer.alloc(0));
