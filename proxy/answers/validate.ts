/** `weft validate DIR`: every problem of a policy folder, then what is legal but most likely wrong. */
import { EXIT_FAILED } from '../../shared/exit-codes.ts';
import { formatProblem, type Problem } from '../../shared/problem.ts';
import { compileDocuments, type Self } from '../config/compile.ts';
import { decodeFolder } from '../config/sources.ts';
import { type Output, parseFlags, refuseUsage, tellUsage } from './flags.ts';
import { lint } from './lint.ts';

/** By file and line; warnings only where there is no error, since most would only repeat it. */
async function validateFolder(dir: string, self: Self): Promise<readonly Problem[]> {
  const { documents, problems } = await decodeFolder(dir);
  const compiled = compileDocuments(documents, problems, self);
  return compiled.snapshot === null ? compiled.problems : lint(documents, self, compiled.snapshot);
}

/** With `--strict`: legal, but most likely wrong. */
const EXIT_WARNINGS = 3;
const USAGE = 'usage: weft validate DIR [--namespace NAME] [--strict]';

/** The exit code: 0 (warnings printed), 1 errors, 2 usage, with `--strict` 3 for warnings (CONTRACT). */
export async function runValidate(args: readonly string[], output: Output): Promise<number> {
  const helped = tellUsage(args, output, USAGE);
  if (helped !== null) return helped;
  const flags = parseFlags(args, { namespace: 'value', strict: 'switch' });
  if (typeof flags === 'string') return refuseUsage(output, flags, USAGE);
  const [dir, ...more] = flags.words;
  if (dir === undefined) return refuseUsage(output, 'a folder is needed', USAGE);
  if (more.length > 0) return refuseUsage(output, `one folder, not ${flags.words.length}`, USAGE);
  const namespace = flags.value('namespace') ?? 'default';
  const problems = await validateFolder(dir, { namespace, labels: {}, serviceAccount: 'default' });
  for (const problem of problems) output.out(formatProblem(problem));
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  output.err(`${count(errors, 'error')}, ${count(warnings, 'warning')}`);
  if (errors > 0) return EXIT_FAILED;
  return flags.has('strict') && warnings > 0 ? EXIT_WARNINGS : 0;
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
