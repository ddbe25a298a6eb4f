/** `weft drain`: tells the sidecar that its pod is going. The preStop hook of the sidecar's container. */
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { EXIT_FAILED, EXIT_USAGE } from '../../shared/exit-codes.ts';
import { addressOf, askSidecar, type Lines } from './sidecar.ts';
import { socketsOfOthers } from './sockets.ts';

const USAGE = `usage: weft drain [--admin HOST:PORT] [--wait SECONDS]

Makes the sidecar unready and lets inbound traffic run out; outbound stays open. With --wait the command lasts until the
application has no TCP socket any more, SECONDS at most: in a classic container kubelet ends the sidecar after it.
`;
const MOST_SECONDS = 86_400;
const LOOK_MS = 200;

type Environment = Readonly<Record<string, string | undefined>>;

/** The exit code: 0, 1 where no sidecar answers, 2 usage. `sockets` counts what the application has open. */
export async function runDrain(
  args: readonly string[],
  env: Environment,
  lines: Lines,
  sockets: () => number = () => socketsOfOthers(process.getuid?.() ?? 0),
): Promise<number> {
  const parsed = parseDrain(args, env);
  if (typeof parsed === 'string') {
    lines.err(`weft drain: ${parsed}`);
    lines.err(USAGE);
    return EXIT_USAGE;
  }
  if (parsed === null) {
    lines.out(USAGE);
    return 0;
  }
  try {
    const { status, text } = await askSidecar(parsed.admin, 'POST', '/drain');
    if (status !== 202) throw new Error(`the sidecar answers ${status}: ${text.trim()}`);
    lines.out('draining');
  } catch (error) {
    lines.err(`weft drain: ${(error as Error).message}`);
    return EXIT_FAILED;
  }
  const end = performance.now() + parsed.waitMs;
  while (performance.now() < end && sockets() > 0) await pause(LOOK_MS);
  return 0;
}

/** null: `--help`. */
function parseDrain(
  args: readonly string[],
  env: Environment,
): { readonly admin: { host: string; port: number }; readonly waitMs: number } | string | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { admin: { type: 'string' }, wait: { type: 'string' }, help: { type: 'boolean' } },
    });
    if (values.help === true) return null;
    const admin = addressOf(values.admin, env['WEFT_ADMIN'], '127.0.0.1:15000');
    if (admin === null) return `--admin ${values.admin ?? env['WEFT_ADMIN']}: must be HOST:PORT`;
    const wait = values.wait ?? '0';
    if (!/^[0-9]{1,5}$/.test(wait) || Number(wait) > MOST_SECONDS)
      return `--wait ${wait}: must be whole seconds, at most ${MOST_SECONDS}`;
    return { admin, waitMs: Number(wait) * 1000 };
  } catch (error) {
    return (error as Error).message;
  }
}
