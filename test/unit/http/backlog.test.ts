import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { Backlog } from '../../../proxy/http/backlog.ts';

/** Takes at most `room` bytes of what it is offered. */
class Window {
  room = 0;
  readonly taken: Buffer[] = [];

  sendData(bytes: Uint8Array, start: number, end: number): number {
    const count = Math.min(this.room, end - start);
    this.taken.push(Buffer.from(bytes.subarray(start, start + count)));
    return count;
  }
}

test('what goes in comes out once, in order, however it is cut', () => {
  const steps = fc.array(fc.record({ add: fc.nat({ max: 100_000 }), room: fc.nat({ max: 100_000 }) }), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(steps, (list) => {
      const backlog = new Backlog();
      const window = new Window();
      const added: Buffer[] = [];
      for (const [i, { add, room }] of list.entries()) {
        const bytes = Buffer.alloc(add, i + 1);
        added.push(bytes);
        backlog.add(bytes, 0, add);
        window.room = room;
        expect(backlog.drainTo(window)).toBe(backlog.empty);
      }
      window.room = Number.POSITIVE_INFINITY;
      expect(backlog.drainTo(window)).toBe(true);
      expect(backlog.empty).toBe(true);
      expect(Buffer.concat(window.taken).equals(Buffer.concat(added))).toBe(true);
    }),
    { seed: 20261121, numRuns: 100 },
  );
});

test('the memory of an empty backlog serves the next one', () => {
  const made = vi.spyOn(Buffer, 'allocUnsafeSlow');
  const window = new Window();
  window.room = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 100; i++) {
    const backlog = new Backlog();
    backlog.add(Buffer.alloc(1000, i), 0, 1000);
    expect(backlog.drainTo(window)).toBe(true);
  }
  expect(made.mock.calls.length).toBeLessThanOrEqual(1);
  made.mockRestore();
});
