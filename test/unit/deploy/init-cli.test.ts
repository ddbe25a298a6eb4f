import { expect, test } from 'vitest';
import { runInit } from '../../../deploy/init/cli.ts';

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const printed = { out: '', err: '' };
  const code = await runInit(
    args,
    {},
    {
      out: (line) => void (printed.out += `${line}\n`),
      err: (line) => void (printed.err += `${line}\n`),
    },
  );
  return { code, ...printed };
}

test('a wrong command line is 2, each mistake a line', async () => {
  expect(await run('--bogus', '--uid', 'x')).toEqual({
    code: 2,
    out: '',
    err: expect.stringMatching(/^weft init: unknown argument --bogus \(.*\)\nweft init: --uid: must be a number.*\n$/),
  });
});

test('--dry-run prints the rules and applies none', async () => {
  const { code, out, err } = await run('--dry-run', '--backend', 'nft', '--outbound-port', '15101');
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^# ::6\/128 is added to lo\ntable inet weft\ndelete table inet weft\n/);
  expect(out).toContain('redirect to :15101');
  expect((await run('--dry-run', '--backend', 'iptables')).out).toContain('# ip6tables-restore --noflush\n*nat\n');
});

test('--help is 0', async () => {
  expect(await run('--help')).toMatchObject({ code: 0, out: expect.stringContaining('weft init [FLAG]…') });
});
