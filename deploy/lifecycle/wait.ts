/** `weft wait`: lasts until the sidecar is ready. The postStart hook that holds the application back in classic containers. */
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { EXIT_FAILED, EXIT_USAGE } from '../../shared/exit-codes.ts';
import { addressOf, askSidecar, type Lines } from './sidecar.ts';

const USAGE = `usage: weft wait [--ready HOST:PORT] [--timeout SECONDS]

Ends with 0 when the sidecar is ready, with 1 after SECONDS (600).
`;
const LOOK_MS = 100;

type Environment = Readonly<Record<string, string | undefined>>;

/** The exit code: 0 ready, 1 not in time, 2 usage. */
export async function runWait(args: readonly string[], env: Environment, lines: Lines): Promise<number> {
  const parsed = parseWait(args, env);
  if (typeof parsed === 'string') {
    lines.err(`weft wait: ${parsed}`);
    lines.err(USAGE);
    return EXIT_USAGE;
  }
  if (parsed === null) {
    lines.out(USAGE);
    return 0;
  }
  const end = performance.now() + parsed.timeoutMs;
  let last = '';
  do {
    try {
      const { status, text } = await askSidecar(parsed.ready, 'GET', '/healthz/ready');
      if (status === 200) return 0;
      last = text.trim().replaceAll('\n', '; ');
    } catch (error) {
      last = (error as Error).message;
    }
    await pause(LOOK_MS);
  } while (performance.now() < end);
  lines.err(`weft wait: not ready within ${parsed.timeoutMs / 1000} s: ${last}`);
  return EXIT_FAILED;
}

/** null: `--help`. */
function parseWait(
  args: readonly string[],
  env: Environment,
): { readonly ready: { host: string; port: number }; readonly timeoutMs: number } | string | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { ready: { type: 'string' }, timeout: { type: 'string' }, help: { type: 'boolean' } },
    });
    if (values.help === true) return null;
    const ready = addressOf(values.ready, env['WEFT_READY'], '127.0.0.1:15021');
    if (ready === null) return `--ready ${values.ready ?? env['WEFT_READY']}: must be HOST:PORT`;
    const timeout = values.timeout ?? '600';
    if (!/^[0-9]{1,5}$/.test(timeout)) return `--timeout ${timeout}: must be whole seconds`;
    return { ready, timeoutMs: Number(timeout) * 1000 };
  } catch (error) {
    return (error as Error).message;
  }
}
