/** `weft test DIR`: the policy tests of a folder (`*.test.yaml`) against its policy. */
import { EXIT_FAILED } from '../../shared/exit-codes.ts';
import { formatProblem } from '../../shared/problem.ts';
import { compileDocuments, type Self } from '../config/compile.ts';
import { decodeFolder } from '../config/sources.ts';
import { type Output, parseFlags, refuseUsage, tellUsage } from './flags.ts';
import { runPolicyTests, type TestReport } from './test-run.ts';

const USAGE = 'usage: weft test DIR [--namespace NAME]';

/** Problems of the policy itself come alone: nothing can be tested then. */
export async function testFolder(dir: string, self: Self): Promise<TestReport> {
  const { documents, problems, tests } = await decodeFolder(dir);
  const compiled = compileDocuments(documents, problems, self);
  if (compiled.snapshot === null) return { passed: 0, failed: 0, problems: compiled.problems };
  return runPolicyTests(documents, tests, self);
}

/** The exit code: 0 where every expectation holds, 1 where one does not or a file is wrong, 2 usage. */
export async function runTest(args: readonly string[], output: Output): Promise<number> {
  const helped = tellUsage(args, output, USAGE);
  if (helped !== null) return helped;
  const flags = parseFlags(args, { namespace: 'value' });
  if (typeof flags === 'string') return refuseUsage(output, flags, USAGE);
  const [dir, ...more] = flags.words;
  if (dir === undefined || more.length > 0) return refuseUsage(output, 'one folder is needed', USAGE);
  const namespace = flags.value('namespace') ?? 'default';
  const report = await testFolder(dir, { namespace, labels: {}, serviceAccount: 'default' });
  return tell(report, output);
}

function tell({ passed, failed, problems }: TestReport, output: Output): number {
  for (const problem of problems) output.out(formatProblem(problem));
  output.err(`${passed} passed, ${failed} failed`);
  return problems.length === 0 ? 0 : EXIT_FAILED;
}
