/** `weft diff OLD NEW`: what changes for requests between two policy folders. */
import { EXIT_USAGE } from '../../shared/exit-codes.ts';
import { formatProblem } from '../../shared/problem.ts';
import type { Self } from '../config/compile.ts';
import type { Snapshot } from '../config/snapshot.ts';
import { diffSnapshots, type PolicyChange, SERVICE_PORT } from './diff.ts';
import { compileFolder } from './explain-cli.ts';
import { type Output, parseFlags, refuseUsage, tellUsage } from './flags.ts';

const USAGE = 'usage: weft diff OLD NEW [--namespace NAME] [--json]';
/** As `diff` has it: 0 no change, 1 changes, 2 trouble. */
const EXIT_CHANGES = 1;

export async function runDiff(args: readonly string[], output: Output): Promise<number> {
  const helped = tellUsage(args, output, USAGE);
  if (helped !== null) return helped;
  const flags = parseFlags(args, { namespace: 'value', json: 'switch' });
  if (typeof flags === 'string') return refuseUsage(output, flags, USAGE);
  const [old, next, ...more] = flags.words;
  if (old === undefined || next === undefined || more.length > 0) {
    return refuseUsage(output, 'two folders are needed', USAGE);
  }
  const self: Self = { namespace: flags.value('namespace') ?? 'default', labels: {}, serviceAccount: 'default' };
  const before = await usable(old, self, output);
  const after = await usable(next, self, output);
  if (before === null || after === null) return EXIT_USAGE;
  const changes = await diffSnapshots(before, after);
  const lines = flags.has('json') ? [JSON.stringify(changes, null, 2)] : changeLines(changes);
  for (const line of lines) output.out(line);
  return changes.length === 0 ? 0 : EXIT_CHANGES;
}

/** The folder's snapshot; null where it has problems, which are told. */
async function usable(dir: string, self: Self, output: Output): Promise<Snapshot | null> {
  const { snapshot, problems } = await compileFolder(dir, self);
  if (snapshot === null) for (const problem of problems) output.err(`${dir}: ${formatProblem(problem)}`);
  return snapshot;
}

/** Requests that are named in one line; the rest is counted. */
const NAMED = 3;

export function changeLines(changes: readonly PolicyChange[]): string[] {
  return [...Map.groupBy(changes, ({ subject }) => subject)].flatMap(([subject, own]) => [
    subject,
    ...own.map((change) => `  ${requestsText(change)}${changeText(change)}`),
  ]);
}

function requestsText({ requests }: PolicyChange): string {
  if (requests.length === 0) return '';
  const rest = requests.length - NAMED;
  return `${requests.slice(0, NAMED).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}: `;
}

function changeText({ what, before, after }: PolicyChange): string {
  if (what === SERVICE_PORT) return `${what} ${before === null ? 'added' : 'removed'}`;
  if (before === null) return `${what} added: ${after}`;
  return after === null ? `${what} removed: was ${before}` : `${what}: ${before} → ${after}`;
}
