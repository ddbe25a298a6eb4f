import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

/** Runs the demo to its end, without a terminal and without the caller's own OpenTelemetry settings. */
async function demo(): Promise<{ code: number | null; output: string }> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('OTEL_')));
  const child = spawn(process.execPath, ['deploy/demo/run.ts', '--once'], { cwd: root, env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => (output += part));
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, output };
}

test('the demo observes everything it claims, draws a trace, and ends with 0', { timeout: 180_000 }, async () => {
  const { code, output } = await demo();
  expect(code, output).toBe(0);
  expect(output).not.toContain('✗');
  expect(output.match(/^ {2}✓ .+: .+$/gm)).toHaveLength(9);
  expect(output).toMatch(/^storefront server +▕█+ *▏ +[0-9.]+ ms {2}GET /m);
  expect(output).toMatch(/^ {8}inventory server +▕ *█+ *▏ +[0-9.]+ ms {2}GET .*200$/m);
  expect(output).not.toContain('\u001b[');
});
