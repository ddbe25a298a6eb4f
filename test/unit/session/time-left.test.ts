import { describe, expect, test } from 'vitest';
import { Fields, RequestHead } from '../../../proxy/http/message.ts';
import { coarse } from '../../../proxy/net/deadline.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { stampForwarding } from '../../../proxy/policy/forwarding-fields.ts';
import { hopLines, timeLimits } from '../../../proxy/session/time-left.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';

function head(fields: Readonly<Record<string, string>>): RequestHead {
  const pairs = new Fields(Object.keys(fields), Object.values(fields));
  return new RequestHead('GET', 'http', 'a', '/', pairs, 0, 11, false, false, false, null);
}

function stamped(fields: Readonly<Record<string, string>>, principal: string): RequestHead {
  const request = head(fields);
  const caller = {
    direction: 'inbound',
    principal,
    sourceAddress: '10.0.0.1',
    certificateHash: '',
    trusted: true,
    encrypted: true,
  } as const;
  stampForwarding(request, caller, '', new Random(1));
  return request;
}

const HOP = { 'weft-deadline-ms': '250', 'weft-attempt': '2' };

describe('what sidecars tell each other', () => {
  test('is believed from a verified peer, and goes no further', () => {
    const { leftMs, attempt, fields } = stamped(HOP, 'spiffe://cluster.local/ns/a/sa/b');
    expect([leftMs, attempt]).toEqual([250, 2]);
    expect(fields.names.filter((name) => name.startsWith('weft-'))).toEqual([]);
  });

  test('is nothing from anybody else, or in another form', () => {
    const stranger = stamped(HOP, '');
    expect([stranger.leftMs, stranger.attempt]).toEqual([-1, 1]);
    const odd = stamped(
      { 'weft-deadline-ms': '-5', 'weft-attempt': '9'.repeat(20) },
      'spiffe://cluster.local/ns/a/sa/b',
    );
    expect([odd.leftMs, odd.attempt]).toEqual([-1, 1]);
  });

  test('names an attempt from the second on, and the time only where there is a bound', () => {
    expect(hopLines(1, 99.2)).toBe('weft-deadline-ms: 100\r\n');
    expect(hopLines(2, 0)).toBe('weft-attempt: 2\r\n');
    expect(hopLines(3, 7)).toBe('weft-deadline-ms: 7\r\nweft-attempt: 3\r\n');
  });
});

describe('the time of a request', () => {
  /** When the deadline fell due, and what it said. */
  function end(routeMs: number, fields: Readonly<Record<string, string>>, leftMs = -1): [at: number, said: string] {
    const clock = new ManualClock();
    const request = head(fields);
    request.leftMs = leftMs;
    const found: [number, string] = [-1, ''];
    const owner = {
      spoil: (_failure: unknown, detail: string): void => {
        found[0] = clock.now();
        found[1] = detail;
      },
    };
    const route = { requestTimeoutMs: routeMs, streamIdleMs: 0 };
    timeLimits(new IoThread(clock, new Random(1)), route, request, 'grpc-timeout' in fields, owner);
    for (let i = 0; i < 2_000; i++) clock.advance(1);
    return found;
  }

  test("is the shortest of the route's, the caller's sidecar's and grpc-timeout", () => {
    expect(end(500, {})).toEqual([500, 'no whole answer within the 500 ms that the route allows']);
    expect(end(500, {}, 100)[0]).toBe(coarse(100));
    expect(end(0, { 'grpc-timeout': '200m' }, 1_000)[0]).toBe(coarse(200));
    expect(end(50, { 'grpc-timeout': '200m' }, 1_000)[0]).toBe(50);
    expect(end(500, {}, 0)[1]).toContain("caller's deadline");
  });

  test('is not bounded, and costs nothing, where nobody bounds it', () => {
    const io = new IoThread(new ManualClock(), new Random(1));
    expect(timeLimits(io, { requestTimeoutMs: 0, streamIdleMs: 0 }, head({}), false, { spoil() {} })).toBeNull();
  });

  test('of a caller falls on one of few durations, at most a sixteenth later', () => {
    const seen = new Set<number>();
    for (let ms = 1; ms < 60_000; ms += 7) {
      const rounded = coarse(ms);
      expect(rounded).toBeGreaterThanOrEqual(ms);
      expect(rounded).toBeLessThanOrEqual(ms * (1 + 1 / 16) + 1);
      seen.add(rounded);
    }
    expect(seen.size).toBeLessThan(220);
  });
});
