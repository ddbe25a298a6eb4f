import { expect, test } from 'vitest';
import { runInner } from './inner-run.ts';

const SAMPLE = `
  import { expect, test } from 'vitest';
  let tries = 0;
  test('is a race', () => expect(++tries).toBe(2));
  test('is sound', () => undefined);
`;
const report = (...options: string[]): ReturnType<typeof runInner> =>
  runInner('test/support/second-tries.ts', SAMPLE, ...options);

test('a run names what passed only at the second try, with what went wrong at first, and succeeds', async () => {
  const { code, output } = await report('--retry', '1');
  expect(output).toContain('passed only at the second try: sample.test.ts > is a race\n  at first: expected 1 to be 2');
  expect(output).not.toContain('is sound');
  expect(code).toBe(0);
});

test('without a second try the same run fails', async () => {
  expect((await report()).code).toBe(1);
});
