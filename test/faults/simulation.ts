/** `make faults`: 10,000 simulated worlds. `node test/faults/simulation.ts SEED` replays one. */
import { simulate } from './scenes/simulation.ts';

const WORLDS = 10_000;

const [only] = process.argv.slice(2);
const startedAt = performance.now();
let broken = 0;
const seeds = only === undefined ? Array.from({ length: WORLDS }, (_, seed) => seed) : [Number(only)];
for (const seed of seeds) {
  const problems = simulate(seed);
  if (problems.length === 0) continue;
  broken++;
  console.log(`seed ${seed}: ${problems.slice(0, 3).join('; ')}`);
}
const seconds = (performance.now() - startedAt) / 1_000;
console.log(
  `${broken === 0 ? 'ok    ' : 'BROKEN'} simulation: ${seeds.length} seeds in ${seconds.toFixed(1)} s, ${broken} broken`,
);
process.exit(broken === 0 ? 0 : 1);
