/** Questions to a running sidecar's policy, answered on the control thread; what answers them is loaded at the first one. */
import type { ExplainQuestion } from './admin/routes.ts';
import type { Bootstrap } from './config/bootstrap.ts';
import type { IsOwnListener } from './config/link.ts';
import type { Snapshot } from './config/snapshot.ts';
import type { PolicyTests } from './config/sources.ts';

/** `--policy-tests`; null where nobody is to run them. */
export function policyTestsOf({ policyTests, namespace, labels, serviceAccount }: Bootstrap): PolicyTests | null {
  if (policyTests === 'off') return null;
  return {
    enforced: policyTests === 'enforce',
    async run(documents, tests) {
      const { runPolicyTests } = await import('./answers/test-run.ts');
      return (await runPolicyTests(documents, tests, { namespace, labels, serviceAccount })).problems;
    },
  };
}

/**
 * Links the policy in force once more, here: no data thread is asked. `from` is the own SPIFFE ID, undefined without a
 * certificate. A sentence where the question is wrong.
 */
export async function explainInForce(
  snapshot: Snapshot | null,
  { method, url, headers, serverName }: ExplainQuestion,
  from: string | undefined,
  isOwn: IsOwnListener,
): Promise<object | string> {
  if (snapshot === null) return 'no policy is in force yet';
  const [{ explainSnapshot }, { readHeaders }] = await Promise.all([
    import('./answers/explain.ts'),
    import('./answers/question.ts'),
  ]);
  const fields = readHeaders(headers);
  if (typeof fields === 'string') return fields;
  const question = {
    method,
    url,
    headers: fields,
    ...(from === undefined ? {} : { from }),
    ...(serverName === null ? {} : { serverName }),
  };
  return explainSnapshot(snapshot, question, isOwn);
}
