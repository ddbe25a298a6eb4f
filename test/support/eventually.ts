/**
 * Waiting for a state of another process that can only be asked for: asks again until the answer is there.
 * Tests wait for what they need, never for a time.
 */
import { setTimeout as pause } from 'node:timers/promises';

const PAUSE_MS = 5;

/**
 * Asks until `ask` answers something other than undefined. Rejects after `timeoutMs` with `what` and the last error
 * that `ask` threw; the last question is put after that time, however long the machine stood still before it.
 */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 10_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const isLast = performance.now() >= end;
    let failure: unknown;
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      failure = error;
    }
    if (isLast) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: failure });
    await pause(PAUSE_MS);
  }
}
