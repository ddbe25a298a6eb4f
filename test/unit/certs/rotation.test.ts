import { describe, expect, it } from 'vitest';
import { ExpiryWatch, renewalDelay, warningLead } from '../../../certs/rotation.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const DATED_BACK = 120_000;

describe('renewalDelay', () => {
  it('is half of the time left, give or take a tenth, and spreads over that range', () => {
    const random = new Random(1);
    const delays = Array.from({ length: 1000 }, () =>
      renewalDelay({ notBefore: 0, notAfter: 110_000 }, 10_000, random),
    );
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(45_000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(55_000);
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(9000);
  });

  it('does not count what a certificate was dated back: one of a minute lives half a minute first', () => {
    const dated = { notBefore: -120_000, notAfter: 60_000 };
    expect(renewalDelay(dated, 0, new Random(1))).toBeGreaterThanOrEqual(27_000);
  });

  it('is never so short that a CA whose clock is wrong would be asked in a loop', () => {
    expect(renewalDelay({ notBefore: 0, notAfter: 100 }, 90, new Random(1))).toBe(1000);
    expect(renewalDelay({ notBefore: 0, notAfter: 100 }, 1000, new Random(1))).toBe(1000);
  });
});

describe('ExpiryWatch', () => {
  function watched(lifetime: number): { clock: ManualClock; watch: ExpiryWatch; said: string[]; end: number } {
    const clock = new ManualClock(0);
    const said: string[] = [];
    const watch = new ExpiryWatch(clock, {
      onExpiring: (left) => said.push(`${clock.wall() / HOUR} h: ${left / HOUR} h left`),
      onExpired: () => said.push(`${clock.wall() / HOUR} h: expired`),
    });
    watch.use({ notBefore: -DATED_BACK, notAfter: lifetime });
    return { clock, watch, said, end: lifetime };
  }

  it('warns a day before the end of a long certificate, once, and tells of the end', () => {
    const { clock, said } = watched(10 * DAY);
    clock.advance(9 * DAY - 1);
    expect(said).toEqual([]);
    clock.advance(2 * DAY);
    expect(said).toEqual(['216 h: 24 h left', '240 h: expired']);
  });

  it('warns of a short one only in its last third, which a renewal in time never reaches', () => {
    expect(warningLead({ notBefore: -DATED_BACK, notAfter: DAY })).toBe(8 * HOUR);
    const { clock, watch, said } = watched(DAY);
    clock.advance(12 * HOUR);
    watch.use({ notBefore: 12 * HOUR - DATED_BACK, notAfter: 36 * HOUR });
    clock.advance(15 * HOUR);
    expect(said).toEqual([]);
    clock.advance(2 * HOUR);
    expect(said).toEqual(['28 h: 8 h left']);
  });

  it('does not warn of a certificate of a minute before its last third, though it is dated back by two', () => {
    expect(warningLead({ notBefore: -DATED_BACK, notAfter: 60_000 })).toBe(20_000);
    expect(warningLead({ notBefore: 0, notAfter: 60_000 })).toBe(0);
  });

  it('sees a jump of the wall clock within an hour', () => {
    const clock = new ManualClock(0);
    let jump = 0;
    const jumping = {
      now: () => clock.now(),
      wall: () => clock.wall() + jump,
      after: (ms: number, callback: () => void) => clock.after(ms, callback),
      hold() {},
      release() {},
    };
    const said: string[] = [];
    const watch = new ExpiryWatch(jumping, {
      onExpiring: () => said.push('expiring'),
      onExpired: () => said.push('expired'),
    });
    watch.use({ notBefore: 0, notAfter: 100 * DAY });
    jump = 200 * DAY;
    clock.advance(HOUR);
    expect(said).toEqual(['expired']);
  });

  it('says nothing more after it was closed', () => {
    const { clock, watch, said } = watched(DAY);
    watch.close();
    clock.advance(2 * DAY);
    expect(said).toEqual([]);
  });
});
