/** Services that end while they are called: in order, as a rollout does, or by kill -9. */
import { setTimeout as pause } from 'node:timers/promises';
import { quantile } from '../../support/load.ts';
import { Callers, doubled, listed, type Outcome, type Stage, setStage } from './stage.ts';

export interface RestartScale {
  /** Restarts of all three services, one after the other. */
  readonly rounds: number;
  readonly callers: number;
  /** Between two requests of one caller. */
  readonly gapMs: number;
}

export async function rollingRestart({ rounds, callers, gapMs }: RestartScale): Promise<Outcome> {
  await using stage = await setStage();
  return await underLoad('rolling restart', stage, callers, gapMs, async () => {
    for (let round = 0; round < rounds; round++) {
      for (const victim of stage.victims) await victim.restart('SIGTERM', 100);
    }
    return rounds * stage.victims.length;
  });
}

export interface KillScale {
  readonly kills: number;
  readonly everyMs: number;
  readonly callers: number;
  readonly gapMs: number;
}

export async function killEvery({ kills, everyMs, callers, gapMs }: KillScale): Promise<Outcome> {
  await using stage = await setStage();
  return await underLoad('kill -9 of one of three', stage, callers, gapMs, async () => {
    for (let i = 0; i < kills; i++) {
      await pause(everyMs);
      await stage.victims[i % stage.victims.length]?.restart('SIGKILL', 200);
    }
    return kills;
  });
}

/** So many POSTs while services are killed as fast as they come back; not one may be acted on twice. */
export async function postsUnderKills(posts: number, callers: number): Promise<Outcome> {
  await using stage = await setStage();
  const posting = new Callers(stage.weft, 'POST', callers, 0);
  const over = new AbortController();
  const load = posting.run(posts).finally(() => over.abort());
  let kills = 0;
  while (!over.signal.aborted) {
    await pause(300);
    await stage.victims[kills++ % stage.victims.length]?.restart('SIGKILL');
  }
  await load;
  const twice = doubled(stage.victims.flatMap(({ acted }) => acted));
  const figures = { posts: posting.sent, kills, failed: posting.failed, doubled: twice };
  // A kill meets at most what each caller has under way.
  const inFlight = kills * callers;
  const problems = [
    ...(twice > 0 ? [`${twice} POSTs were acted on twice`] : []),
    ...(posting.failed > inFlight ? [`more failed than were in flight: ${listed(posting.failures)}`] : []),
  ];
  return { name: 'POSTs under kill -9', figures, problems };
}

async function underLoad(
  name: string,
  stage: Stage,
  callers: number,
  gapMs: number,
  trouble: () => Promise<number>,
): Promise<Outcome> {
  const getting = new Callers(stage.weft, 'GET', callers, gapMs);
  const posting = new Callers(stage.weft, 'POST', callers, gapMs);
  const load = [getting.run(), posting.run()];
  const restarts = await trouble();
  getting.stop();
  posting.stop();
  await Promise.all(load);
  const twice = doubled(stage.victims.flatMap(({ acted }) => acted));
  getting.latencies.sort((a, b) => a - b);
  const figures = {
    restarts,
    GETs: getting.sent,
    'failed GETs': getting.failed,
    POSTs: posting.sent,
    'failed POSTs': posting.failed,
    'doubled POSTs': twice,
    'p99 ms': Math.round(quantile(getting.latencies, 0.99)),
  };
  const problems = [
    ...(getting.failed > 0 ? [`GETs failed: ${listed(getting.failures)}`] : []),
    ...(twice > 0 ? [`${twice} POSTs were acted on twice`] : []),
    ...(posting.failed > restarts * callers ? [`POSTs failed: ${listed(posting.failures)}`] : []),
    ...(getting.sent < 100 ? [`only ${getting.sent} GETs were sent`] : []),
  ];
  return { name, figures, problems };
}
