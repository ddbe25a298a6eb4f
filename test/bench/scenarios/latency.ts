/**
 * What a pair of proxies adds to a request at a modest, even rate: in the middle and for the slowest percent. Short slices
 * of the origin by itself and through each pair take turns; what counts is the median of the differences between
 * slices of one round, so that a machine that is slower for a while is slower for all.
 */
import { median, type Subject } from '../compare.ts';
import { withDeployments } from '../deploy.ts';
import { type EvenLoadReport, runEvenLoad } from '../even-load.ts';
import { weft } from '../peers/weft.ts';
import { type Line, ratioLine } from '../report.ts';
import type { Bench, Scenario } from '../scenario.ts';

const LOAD = { connections: 16, rate: 1_000, ms: 1_000, leadMs: 500 };
/** Rounds for each block of the run: a p99 of a thousand requests is made of ten of them. */
const ROUNDS = 6;
/** A slice in which the generator itself was held up for longer tells nothing, and is taken again, so many times. */
const STALLED_MS = 5;
const MOST_TRIES = 4;

export const latency: Scenario = {
  name: 'latency',
  isQuick: false,
  run: (bench) =>
    withDeployments(bench, [weft, ...bench.peers], 'pair', async (pairs) => {
      const rounds = await measure(bench, pairs);
      const percentiles = ['p50', 'p99'] as const;
      return percentiles.flatMap((percentile) => lines(percentile, pairs, rounds));
    }),
};

/** One slice of everybody: the origin by itself first, then the pairs in their order. */
type Round = readonly EvenLoadReport[];

async function measure(bench: Bench, pairs: readonly Subject[]): Promise<Round[]> {
  const none = async (): Promise<void> => undefined;
  const origin = { port: bench.site.origin.port, host: 'backend', preamble: '', pids: [], stop: none };
  const subjects = [{ name: 'direct', deployment: origin }, ...pairs];
  const stalled: string[] = [];
  const rounds: Round[] = [];
  while (rounds.length < bench.blocks * ROUNDS) {
    const isBackwards = rounds.length % 2 === 1;
    const round: EvenLoadReport[] = [];
    for (const subject of isBackwards ? subjects.toReversed() : subjects) round.push(await slice(subject, stalled));
    rounds.push(isBackwards ? round.reverse() : round);
  }
  if (stalled.length > 0) console.error(`latency: the machine stalled in slices of ${stalled.join(', ')}`);
  return rounds;
}

/** The calmest of several tries, if the first was not calm. */
async function slice({ name, deployment }: Subject, stalled: string[]): Promise<EvenLoadReport> {
  let best = await runEvenLoad(deployment, LOAD);
  for (let tries = 1; best.latest > STALLED_MS && tries < MOST_TRIES; tries += 1) {
    stalled.push(name);
    const again = await runEvenLoad(deployment, LOAD);
    if (again.latest < best.latest) best = again;
  }
  return best;
}

function lines(percentile: 'p50' | 'p99', pairs: readonly Subject[], rounds: readonly Round[]): Line[] {
  const [own = Number.NaN, ...others] = pairs.map((_, index) =>
    median(
      rounds.map((round) => (round[index + 1]?.[percentile] ?? Number.NaN) - (round[0]?.[percentile] ?? Number.NaN)),
    ),
  );
  const name = `${percentile} added by the pair, 1000 req/s on 16 connections`;
  return others.map((peerFigure, index) => {
    const peer = pairs[index + 1]?.name ?? '';
    const bounds = percentile === 'p99' && peer === 'nginx' ? { target: 1 } : {};
    // Next to nothing has no ratio.
    const ratio = peerFigure > 0 ? own / peerFigure : Number.NaN;
    return ratioLine({ name, unit: 'ms', weft: own, peer, peerFigure }, ratio, bounds);
  });
}
