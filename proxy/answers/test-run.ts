/** Runs policy tests against policy: each expectation that does not hold is a problem with its own place. */
import { parseSpiffeId } from '../../certs/identity.ts';
import type { FolderFile } from '../../shared/folder.ts';
import type { Problem } from '../../shared/problem.ts';
import { compileDocuments, type Self } from '../config/compile.ts';
import { type DecodedDocument, decodeFile, joinDecoded } from '../config/decode.ts';
import type { Path } from '../config/place.ts';
import { explain } from './explain.ts';
import { OfflineLink } from './offline.ts';
import { type PolicyTest, type PolicyTestCase, policyTest } from './policy-test.ts';
import { type Disappointment, disappointments } from './test-verdict.ts';

export interface TestReport {
  readonly passed: number;
  readonly failed: number;
  /** What is wrong with the test files, and every expectation that does not hold. */
  readonly problems: readonly Problem[];
}

/** `documents` must compile without a problem: there is nothing to test otherwise. */
export async function runPolicyTests(
  documents: readonly DecodedDocument[],
  tests: readonly FolderFile[],
  self: Self,
): Promise<TestReport> {
  const decoded = joinDecoded(tests.map(decodeTests));
  using run = new TestRun(documents, self);
  for (const document of decoded.documents) await run.document(document as DecodedDocument<PolicyTest>);
  return { passed: run.passed, failed: run.failed, problems: [...decoded.problems, ...run.problems] };
}

function decodeTests({ path, text, problem }: FolderFile): ReturnType<typeof decodeFile> {
  if (problem === null) return decodeFile({ path, text }, [policyTest]);
  const whole = { severity: 'error', file: path, line: 0, column: 0, path: '', message: problem, advice: '' } as const;
  return { documents: [], problems: [whole] };
}

class TestRun implements Disposable {
  passed = 0;
  failed = 0;
  readonly problems: Problem[] = [];
  private readonly documents: readonly DecodedDocument[];
  private readonly self: Self;
  /** Policy as the callers of each namespace have it. */
  private readonly links = new Map<string, OfflineLink>();

  constructor(documents: readonly DecodedDocument[], self: Self) {
    this.documents = documents;
    this.self = self;
  }

  async document({ value, place }: DecodedDocument<PolicyTest>): Promise<void> {
    const namespace = value.metadata.namespace ?? this.self.namespace;
    for (const [i, test] of value.spec.tests.entries()) {
      const found = await this.test(test, namespace);
      for (const { path, message } of found) {
        const full: Path = ['spec', 'tests', i, 'expect', ...path];
        this.problems.push(place.problem(full, `${test.name}: ${message}`));
      }
      if (found.length === 0) this.passed++;
      else this.failed++;
    }
  }

  [Symbol.dispose](): void {
    for (const link of this.links.values()) link[Symbol.dispose]();
  }

  private async test({ request, expect }: PolicyTestCase, namespace: string): Promise<Disappointment[]> {
    const { method, url, from } = request;
    const callers = from === undefined ? '' : (parseSpiffeId(from)?.namespace ?? '');
    const home = callers === '' ? namespace : callers;
    const { linked } = await this.link(home);
    const { trustDomain } = linked.snapshot.mesh;
    const account = home === this.self.namespace ? this.self.serviceAccount : 'default';
    const caller = from ?? `spiffe://${trustDomain}/ns/${home}/sa/${account}`;
    const question = { method, url, headers: Object.entries(request.headers), from: caller };
    return disappointments(expect, explain(linked, question));
  }

  private async link(namespace: string): Promise<OfflineLink> {
    const known = this.links.get(namespace);
    if (known !== undefined) return known;
    const { self } = this;
    // Of workloads elsewhere nothing but the namespace is known.
    const there = namespace === self.namespace ? self : { namespace, labels: {}, serviceAccount: 'default' };
    const { snapshot } = compileDocuments(this.documents, [], there);
    if (snapshot === null) throw new Error('policy with problems cannot be tested');
    const link = await OfflineLink.of(snapshot);
    this.links.set(namespace, link);
    return link;
  }
}
