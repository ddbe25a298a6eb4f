import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../proxy/http/h2-limits.ts';

describe('a token bucket', () => {
  it('gives a burst at once, then so many a second', () => {
    const bucket = new TokenBucket(3, 10, 0);
    expect([bucket.take(0), bucket.take(0), bucket.take(0), bucket.take(0)]).toEqual([true, true, true, false]);
    expect(bucket.take(99)).toBe(false);
    expect(bucket.take(100)).toBe(true);
    expect(bucket.take(100)).toBe(false);
  });

  it('never saves up more than the burst', () => {
    const bucket = new TokenBucket(2, 1000, 0);
    expect([bucket.take(1e6), bucket.take(1e6), bucket.take(1e6)]).toEqual([true, true, false]);
  });
});
