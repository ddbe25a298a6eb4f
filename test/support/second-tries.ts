/**
 * What a test run passed only at a second try, as a vitest reporter: every such test is named at the end of the run with
 * what went wrong at first, so that a race is read by somebody and not hidden by the repetition.
 */
import type { Reporter, TestModule } from 'vitest/node';

export default class SecondTries implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const module of modules) {
      for (const test of module.children.allTests('passed')) {
        if (test.diagnostic()?.flaky !== true) continue;
        console.log(`passed only at the second try: ${module.relativeModuleId} > ${test.fullName}`);
        for (const { message } of test.result().errors ?? []) console.log(`  at first: ${message}`);
      }
    }
  }
}
