/**
 * What a test run leaves out, and why. A test that lacks something it needs calls `skip` with the reason; as a vitest
 * reporter this file names every skipped test at the end of the run. A skip without a reason fails the run.
 */
import { TestRunner } from 'vitest';
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node';

/** Ends the running test as skipped; `reason` says what is missing ("nginx is not installed"). */
export function skip(reason: string): never {
  const test = TestRunner.getCurrentTest();
  if (test === undefined) throw new Error('skip() is called inside a test');
  return test.context.skip(reason);
}

export default class SkipReporter implements Reporter {
  /** `-t PATTERN` skips what does not match, without a reason and rightly so. */
  private filtered = false;

  onInit(vitest: Vitest): void {
    this.filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (this.filtered) return;
    const { byReason, unexplained } = skippedTests(modules);
    for (const [reason, names] of byReason) {
      console.log(`skipped: ${reason}`);
      for (const name of names) console.log(`  ${name}`);
    }
    for (const name of unexplained)
      console.log(`skipped without a reason (call skip() of test/support/skips.ts): ${name}`);
    if (unexplained.length > 0) process.exitCode = 1;
  }
}

function skippedTests(modules: readonly TestModule[]): { byReason: Map<string, string[]>; unexplained: string[] } {
  const byReason = new Map<string, string[]>();
  const unexplained: string[] = [];
  for (const module of modules) {
    for (const test of module.children.allTests('skipped')) {
      const reason = reasonOf(test);
      const name = `${module.relativeModuleId} > ${test.fullName}`;
      if (reason === undefined) unexplained.push(name);
      else byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
    }
  }
  return { byReason, unexplained };
}

function reasonOf(test: TestCase): string | undefined {
  const result = test.result();
  return result.state === 'skipped' ? result.note : undefined;
}
