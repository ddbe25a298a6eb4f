/**
 * `make bench`: weft beside nginx, HAProxy and Envoy in one run, as one table. `--quick` takes under a minute;
 * `--only NAME` (repeatable) runs some scenarios. Exits 1 when a scenario could not be measured.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Peer } from './peer.ts';
import { envoy } from './peers/envoy.ts';
import { haproxy } from './peers/haproxy.ts';
import { nginx } from './peers/nginx.ts';
import { fillCompileCache } from './peers/weft.ts';
import { type Line, table } from './report.ts';
import type { Bench, Scenario } from './scenario.ts';
import { scenarios } from './scenarios.ts';
import { openSite } from './site.ts';
import { prepareTools } from './tools.ts';

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string', multiple: true, default: [] } },
});

/** Envoy is left out of a quick run: it takes as long as the others together. */
const isQuick = values.quick;
const candidates: readonly Peer[] = isQuick ? [haproxy, nginx] : [haproxy, nginx, envoy];

function chosen(): readonly Scenario[] {
  const unknown = values.only.filter((name) => scenarios.every((scenario) => scenario.name !== name));
  if (unknown.length > 0) {
    const names = scenarios.map((scenario) => scenario.name).join(', ');
    throw new Error(`no scenario ${unknown.join(', ')}; there are ${names}`);
  }
  if (values.only.length > 0) return scenarios.filter((scenario) => values.only.includes(scenario.name));
  return isQuick ? scenarios.filter((scenario) => scenario.isQuick) : scenarios;
}

async function runAll(bench: Bench, list: readonly Scenario[]): Promise<{ lines: Line[]; failed: string[] }> {
  const lines: Line[] = [];
  const failed: string[] = [];
  for (const scenario of list) {
    const began = performance.now();
    try {
      lines.push(...(await scenario.run(bench)));
      console.error(`${scenario.name}: ${((performance.now() - began) / 1_000).toFixed(0)} s`);
    } catch (error) {
      failed.push(scenario.name);
      console.error(`${scenario.name}: not measured:`, error);
    }
  }
  return { lines, failed };
}

// An exit runs what kills the proxies and removes the scratch folder; a signal by itself would not.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
const list = chosen();
await prepareTools(!isQuick);
const peers = candidates.filter((peer) => {
  const reason = peer.missing();
  if (reason !== null) console.log(`left out: ${reason}`);
  return reason === null;
});
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}`);
console.log('CPU time of the proxy, user and system; for a pair, of both. A score is the median of paired slices.');
const site = await openSite();
try {
  await fillCompileCache(site);
  const timing = isQuick ? { seconds: 1, blocks: 1 } : { seconds: 2, blocks: 3 };
  const { lines, failed } = await runAll({ site, peers, isQuick, ...timing }, list);
  console.log(`\n${table(lines)}`);
  if (failed.length > 0) {
    console.log(`\nnot measured: ${failed.join(', ')}`);
    process.exitCode = 1;
  }
} finally {
  await site.stop();
}
if (!isQuick && values.only.length === 0) {
  console.log('\nWhat a request pays for balancing, budget and breaker, in nanoseconds:\n');
  spawnSync(process.execPath, [join(import.meta.dirname, 'micro/balancer.ts')], { stdio: 'inherit' });
}
