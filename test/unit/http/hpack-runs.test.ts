import { describe, expect, it } from 'vitest';
import { FieldRun, RunCache } from '../../../proxy/http/hpack-runs.ts';
import { block, type Pair } from '../../support/h2.ts';

const LONG: readonly Pair[] = [
  ['user-agent', 'a program with a long enough name to be worth a search'],
  ['accept', '*/*'],
];

function learn(cache: RunCache, bytes: Buffer): FieldRun {
  expect(cache.find(bytes, 0, bytes.length)).toBeNull();
  const run = new FieldRun(bytes.subarray(0, cache.end), [], [], true, 0);
  cache.add(run);
  return run;
}

describe('the memory of field runs', () => {
  it('finds a run by its bytes, wherever it stands', () => {
    const cache = new RunCache(4);
    const bytes = block(LONG);
    const run = learn(cache, bytes);
    const elsewhere = Buffer.concat([Buffer.from('...'), bytes]);
    expect(cache.find(elsewhere, 3, elsewhere.length)).toBe(run);
  });

  it('holds no more memory than the bytes of its runs', () => {
    const run = learn(new RunCache(4), block(LONG));
    expect(run.bytes.buffer.byteLength).toBe(run.bytes.length);
  });

  it.each(['x-request-id', 'traceparent', 'grpc-timeout'])('ends a run before %s', (name) => {
    const cache = new RunCache(4);
    const run = learn(cache, block([...LONG, [name, 'one']]));
    expect(run.bytes.equals(block(LONG))).toBe(true);
    const other = block([...LONG, [name, 'two']]);
    expect(cache.find(other, 0, other.length)).toBe(run);
  });

  it('does not take a run of equal length for another', () => {
    const cache = new RunCache(4);
    learn(cache, block(LONG));
    for (let at = 0; at < 40; at++) {
      const other = block(LONG);
      const place = other.indexOf('program') + at;
      other[place] = (other[place] as number) ^ 1;
      expect(cache.find(other, 0, other.length)).toBeNull();
    }
  });

  it('forgets the oldest', () => {
    const cache = new RunCache(2);
    const blocks = ['a', 'b', 'c'].map((value) => block([...LONG, ['x', value]]));
    for (const bytes of blocks) learn(cache, bytes);
    expect(blocks.map((bytes) => cache.find(bytes, 0, bytes.length) !== null)).toEqual([false, true, true]);
  });

  it('stops searching for a peer whose fields never repeat, and tries again later', () => {
    const cache = new RunCache(4);
    let searched = 0;
    for (let n = 0; n < 6000; n++) {
      const bytes = block([...LONG, ['x', String(n)]]);
      cache.find(bytes, 0, bytes.length);
      if (cache.end > 0) searched++;
    }
    expect(searched).toBeGreaterThan(200);
    expect(searched).toBeLessThan(2000);
  });

  it('never reads beyond the block', () => {
    const cache = new RunCache(4);
    const bytes = block(LONG);
    for (let end = 0; end <= bytes.length; end++) {
      cache.find(bytes, 0, end);
      expect(cache.end).toBeLessThanOrEqual(end);
    }
  });
});
