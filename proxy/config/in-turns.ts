/** Long work beside short: its steps are taken a few at a time, and between them the event loop serves everybody else. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds of steps in one turn: what a request may have to wait for it, beside one step more. */
const BUDGET_MS = 1;

export class InTurns {
  /** Milliseconds of the longest turn so far. */
  longestMs = 0;
  private readonly now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  /** Takes all steps; resolves with their result, or rejects with what they throw. The first step is taken now. */
  async run<T>(steps: Generator<void, T>): Promise<T> {
    for (;;) {
      const startedAt = this.now();
      let step = steps.next();
      while (step.done !== true && this.now() - startedAt < BUDGET_MS) step = steps.next();
      this.longestMs = Math.max(this.longestMs, this.now() - startedAt);
      if (step.done === true) return step.value;
      await nextTurn();
    }
  }
}
