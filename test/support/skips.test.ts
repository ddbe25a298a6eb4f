import { expect, test } from 'vitest';
import { ROOT, runInner } from './inner-run.ts';

const report = (text: string, ...options: string[]): ReturnType<typeof runInner> =>
  runInner('test/support/skips.ts', text, ...options);

test('a run names each skipped test under its reason and succeeds', async () => {
  const { code, output } = await report(`
    import { expect, test } from 'vitest';
    import { skip } from '${ROOT}/test/support/skips.ts';
    test('needs a peer', () => skip('nginx is not installed'));
    test('needs the same peer', () => skip('nginx is not installed'));
    test('needs nothing', () => expect(1).toBe(1));
  `);
  expect(output).toContain(
    'skipped: nginx is not installed\n  sample.test.ts > needs a peer\n  sample.test.ts > needs the same peer\n',
  );
  expect(output).not.toContain('needs nothing');
  expect(code).toBe(0);
});

test('a run fails if a test is skipped without a reason, unless a name pattern left it out', async () => {
  const text = `import { test } from 'vitest'; test.skip('silently left out', () => undefined); test('runs', () => undefined);`;
  const silent = await report(text);
  expect(silent.output).toContain('skipped without a reason');
  expect(silent.output).toContain('silently left out');
  expect(silent.code).toBe(1);
  const filtered = await report(text, '-t', 'runs');
  expect(filtered.output).not.toContain('silently left out');
  expect(filtered.code).toBe(0);
});
