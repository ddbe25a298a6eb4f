/**
 * 1000 routes over 200 Services (1 MB of YAML) from text to snapshot: `node test/bench/micro/compile.ts`. The first time
 * counts as much as the others: a sidecar that has just started compiles with cold code.
 */
import { compileDocuments } from '../../../proxy/config/compile.ts';
import { FileDecoder } from '../../../proxy/config/decode.ts';
import { toParts } from '../../../proxy/config/slices.ts';
import { bigPolicy } from '../../support/big-policy.ts';
import { policyText } from '../../support/policy.ts';

const SIZE = { services: 200, routes: 1000 };
const SELF = { namespace: 'default', labels: {}, serviceAccount: 'default' };
const RUNS = 8;

/** CPU milliseconds of this thread, and of the whole process (garbage collection and compilation have threads of their own). */
function measure(title: string, work: () => void): void {
  const [thread, whole] = [process.threadCpuUsage(), process.cpuUsage()];
  work();
  const used = [process.threadCpuUsage(thread), process.cpuUsage(whole)];
  const [own, all] = used.map(({ user, system }) => `${((user + system) / 1000).toFixed(0)} ms`.padStart(8));
  process.stdout.write(`${title.padEnd(44)} thread ${own}  process ${all}\n`);
}

function compile(decoder: FileDecoder, documents: readonly string[]): void {
  const { documents: decoded, problems } = decoder.decode(policyText(documents));
  const { snapshot } = compileDocuments(decoded, problems, SELF);
  if (snapshot === null) throw new Error('the policy is refused');
  toParts(snapshot);
}

let decoder = new FileDecoder('policy.yaml');
measure('the first time', () => compile(decoder, bigPolicy(SIZE)));
for (let run = 1; run <= RUNS; run++) {
  decoder = new FileDecoder('policy.yaml');
  measure('again', () => compile(decoder, bigPolicy(SIZE)));
}
measure('every route changed', () => compile(decoder, bigPolicy({ ...SIZE, version: 2 })));
measure('one endpoint changed', () => compile(decoder, bigPolicy({ ...SIZE, version: 2, address: 2 })));
