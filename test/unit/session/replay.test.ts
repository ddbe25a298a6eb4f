import { describe, expect, test } from 'vitest';
import { Fields } from '../../../proxy/http/message.ts';
import type { UpstreamStream } from '../../../proxy/http/stream.ts';
import { Replay, ReplayMemory } from '../../../proxy/session/replay.ts';

const LIMIT = 65_536;

/** Notes what it is sent. */
class Sink {
  readonly pieces: string[] = [];
  trailers: Fields | null | undefined = undefined;

  sendBytes(bytes: Uint8Array, start: number, end: number): void {
    this.pieces.push(Buffer.from(bytes.subarray(start, end)).toString('latin1'));
  }

  sendEnd(trailers: Fields | null): void {
    this.trailers = trailers;
  }
}

function sent(replay: Replay): Sink {
  const sink = new Sink();
  replay.sendTo(sink as unknown as UpstreamStream);
  return sink;
}

function keep(replay: Replay, text: string, passedOn = true): void {
  const bytes = Buffer.from(`<${text}>`, 'latin1');
  replay.keep(bytes, 1, bytes.length - 1, passedOn);
}

describe('a body that may have to be sent again', () => {
  test('is kept whole, with its trailers, as often as it is asked for', () => {
    const replay = new Replay(new ReplayMemory(), false);
    keep(replay, 'a'.repeat(5_000));
    keep(replay, 'b'.repeat(20_000));
    const trailers = new Fields(['x'], ['y']);
    replay.end(trailers);
    for (let i = 0; i < 2; i++) {
      const sink = sent(replay);
      expect(sink.pieces.join('')).toBe('a'.repeat(5_000) + 'b'.repeat(20_000));
      expect(sink.trailers).toBe(trailers);
    }
  });

  test('goes out in few pieces however many it came in', () => {
    const memory = new ReplayMemory();
    const replay = new Replay(memory, false);
    for (let i = 0; i < LIMIT; i++) keep(replay, String(i % 10));
    const { pieces } = sent(replay);
    expect(pieces.join('')).toBe('0123456789'.repeat(6_554).slice(0, LIMIT));
    expect(pieces.length).toBeLessThan(32);
    expect(memory.used).toBe(LIMIT);
  });

  test('is let go where it grows too long for it, if a stream has it all', () => {
    const memory = new ReplayMemory();
    const replay = new Replay(memory, false);
    keep(replay, 'x'.repeat(LIMIT));
    expect([replay.whole, memory.used]).toEqual([true, LIMIT]);
    keep(replay, 'y');
    expect([replay.whole, memory.used]).toEqual([false, 0]);
    expect(sent(replay).pieces).toEqual([]);
  });

  test('waits for its first stream whatever its length, and is gone with that', () => {
    const memory = new ReplayMemory(10);
    const replay = new Replay(memory, false);
    keep(replay, 'x'.repeat(100), false);
    keep(replay, 'y'.repeat(LIMIT), false);
    expect([replay.whole, replay.full]).toEqual([false, true]);
    expect(sent(replay).pieces.join('')).toBe('x'.repeat(100) + 'y'.repeat(LIMIT));
    expect(memory.used).toBe(0);
  });

  test('leaves nothing behind', () => {
    const memory = new ReplayMemory();
    const replay = new Replay(memory, false);
    keep(replay, 'abc');
    replay.letGo();
    expect(memory.used).toBe(0);
  });
});
