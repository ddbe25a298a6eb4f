import { expect, test } from 'vitest';
import { InTurns } from '../../../proxy/config/in-turns.ts';

/** A time that passes only by steps. */
class Steps {
  time = 0;
  taken = 0;
  readonly turns: InTurns = new InTurns(() => this.time);

  *take(count: number, ms: number): Generator<void, string> {
    for (let step = 0; step < count; step++) {
      this.time += ms;
      this.taken++;
      yield;
    }
    return 'done';
  }

  /** How many steps had been taken each time that the event loop came round, until the work was done. */
  async watch(steps: Generator<void, string>): Promise<number[]> {
    const seen: number[] = [];
    let done = false;
    const look = (): void => {
      seen.push(this.taken);
      if (!done) setImmediate(look);
    };
    setImmediate(look);
    expect(await this.turns.run(steps)).toBe('done');
    done = true;
    return seen;
  }
}

test('after a millisecond of steps the event loop serves others', async () => {
  const steps = new Steps();
  const seen = await steps.watch(steps.take(10, 0.4));
  // Three steps of 0.4 ms, then somebody else's turn.
  expect(seen.slice(0, 3)).toEqual([3, 6, 9]);
  expect(steps.turns.longestMs).toBeCloseTo(1.2);
});

test('a step is never cut, however long it takes', async () => {
  const steps = new Steps();
  const seen = await steps.watch(steps.take(3, 7));
  expect(seen.slice(0, 2)).toEqual([1, 2]);
  expect(steps.turns.longestMs).toBe(7);
});

test('steps that take no time are taken in one turn', async () => {
  const steps = new Steps();
  expect(await steps.watch(steps.take(100, 0))).toEqual([]);
  expect(steps.taken).toBe(100);
});

test('what a step throws is what the work rejects with', async () => {
  function* broken(): Generator<void, void> {
    yield;
    throw new Error('broken');
  }
  await expect(new InTurns().run(broken())).rejects.toThrow('broken');
});
