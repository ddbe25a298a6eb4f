/** How long a policy change among 1000 routes over 200 Services holds up the requests on their way. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bigPolicy } from '../../support/big-policy.ts';
import { eventually } from '../../support/eventually.ts';
import { openLoop } from '../../support/load.ts';
import { PLAIN, policyText } from '../../support/policy.ts';
import { startWeft, type Weft } from '../../support/weft.ts';
import { median } from '../compare.ts';
import { benchOptions } from '../peers/weft.ts';
import { backendPolicy } from '../policies.ts';
import { valueLine } from '../report.ts';
import type { Scenario } from '../scenario.ts';

const SIZE = { services: 200, routes: 1_000 };
const RATE = 1_000;
const ROUNDS = 8;
/** Milliseconds that no data thread may be held up for. */
const MOST_STALL_MS = 5;

export const reload: Scenario = {
  name: 'reload',
  isQuick: false,
  async run(bench) {
    const { site } = bench;
    const policy = (version: number, address: number): string[] => [
      ...backendPolicy(site.origin.port, 10, PLAIN),
      ...bigPolicy({ ...SIZE, version, address }),
    ];
    const options = await benchOptions(site, { tracing: false }, { account: 'caller', documents: policy(0, 1) });
    // On any core: the control thread compiles beside the data thread, not in its place.
    await using weft = await startWeft({ ...options, cpu: undefined });
    const [calm, all, one] = [[] as number[], [] as Change[], [] as Change[]];
    for (let round = 1; round <= ROUNDS; round += 1) {
      calm.push((await worst(weft, async () => 0)).slowest);
      all.push(await worst(weft, () => change(weft, options.policy, policyText(policy(round, 1)))));
      one.push(await worst(weft, () => change(weft, options.policy, policyText(policy(round, 2)))));
    }
    const line = (name: string, values: readonly number[], target?: number) =>
      valueLine({ name, unit: 'ms', weft: median([...values]) }, target === undefined ? {} : { target });
    return [
      line(
        'longest turn of a data thread, all of 1000 routes changed',
        all.map(({ turn }) => turn),
        MOST_STALL_MS,
      ),
      line(
        'longest turn of a data thread, one endpoint changed',
        one.map(({ turn }) => turn),
        MOST_STALL_MS,
      ),
      line(
        'slowest request, all of 1000 routes changed',
        all.map(({ slowest }) => slowest),
      ),
      line(
        'slowest request, one endpoint changed',
        one.map(({ slowest }) => slowest),
      ),
      line('slowest request without a reload', calm),
    ];
  },
};

/** Milliseconds. */
interface Change {
  readonly slowest: number;
  /** For which a data thread served nobody, as it says itself. */
  readonly turn: number;
}

/** Writes the policy, waits until the sidecar has it, and answers the longest turn that it took. */
async function change(weft: Weft, folder: string, text: string): Promise<number> {
  const before = await weft.metric('weft_policy_reloads_total');
  writeFileSync(join(folder, '.new'), text);
  renameSync(join(folder, '.new'), join(folder, 'policy.yaml'));
  return eventually('the new policy is in force', async () => {
    if ((await weft.metric('weft_policy_reloads_total')) === before) return undefined;
    const line = weft.program.output.split('\n').findLast((each) => each.includes('"policy applied"'));
    return line === undefined ? undefined : (JSON.parse(line) as { turnMs: number }).turnMs;
  });
}

/** The slowest request while `during` runs, and for half a second at least. */
async function worst(weft: Weft, during: () => Promise<number>): Promise<Change> {
  const ended = new AbortController();
  const load = openLoop({
    port: weft.ports.outbound,
    path: '/1k',
    headers: { host: 'backend' },
    connections: 4,
    rate: RATE,
    durationMs: 10_000,
    signal: AbortSignal.any([ended.signal]),
  });
  const least = new Promise((resolve) => setTimeout(resolve, 500));
  const [turn] = await Promise.all([during(), least]);
  ended.abort();
  const report = await load;
  if (report.failures.size > 0) throw new Error(`requests failed: ${JSON.stringify([...report.failures])}`);
  return { slowest: report.latencies.at(-1) ?? Number.NaN, turn };
}
