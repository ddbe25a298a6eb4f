/** How long a policy change of 1000 routes holds up the requests on their way. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { openLoop } from '../../support/load.ts';
import { PLAIN, policyText } from '../../support/policy.ts';
import { startWeft, type Weft } from '../../support/weft.ts';
import { median } from '../compare.ts';
import { backendPolicy, benchOptions } from '../peers/weft.ts';
import { valueLine } from '../report.ts';
import type { Scenario } from '../scenario.ts';

const ROUTES = 1_000;
const RATE = 1_000;

export const reload: Scenario = {
  name: 'reload',
  isQuick: false,
  async run(bench) {
    const { site } = bench;
    const policy = (routes: number): string[] => backendPolicy(site.origin.port, routes, PLAIN);
    const options = await benchOptions(site, { tracing: false }, { account: 'caller', documents: policy(ROUTES) });
    // On any core: the control thread compiles beside the data thread, not in its place.
    await using weft = await startWeft({ ...options, cpu: undefined });
    const calm: number[] = [];
    const changed: number[] = [];
    for (let index = 1; index <= 8; index += 1) {
      calm.push(await worst(weft, async () => undefined));
      const text = policyText(policy(ROUTES + index));
      changed.push(await worst(weft, () => change(weft, options.policy, text)));
    }
    const unit = 'ms';
    return [
      valueLine({ name: 'slowest request in a reload of 1000 routes', unit, weft: median(changed) }),
      valueLine({ name: 'slowest request without a reload', unit, weft: median(calm) }),
    ];
  },
};

/** Writes the policy and waits until the sidecar has it. */
async function change(weft: Weft, folder: string, text: string): Promise<void> {
  const before = await weft.metric('weft_policy_reloads_total');
  writeFileSync(join(folder, '.new'), text);
  renameSync(join(folder, '.new'), join(folder, 'policy.yaml'));
  await eventually(
    'the new policy is in force',
    async () => (await weft.metric('weft_policy_reloads_total')) > before || undefined,
  );
}

/** Milliseconds of the slowest request while `during` runs, and for half a second at least. */
async function worst(weft: Weft, during: () => Promise<void>): Promise<number> {
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
  await Promise.all([during(), least]);
  ended.abort();
  const report = await load;
  if (report.failures.size > 0) throw new Error(`requests failed: ${JSON.stringify([...report.failures])}`);
  return report.latencies.at(-1) ?? Number.NaN;
}
