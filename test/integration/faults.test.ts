/** The scenes of `make faults` in short. */
import { expect, test } from 'vitest';
import { allDown, clientAborts, midBodyDeaths, slowEndpoint } from '../faults/scenes/outages.ts';
import { overloadedService, overloadedSidecar } from '../faults/scenes/overload.ts';
import { reloads } from '../faults/scenes/reloads.ts';
import { killEvery, postsUnderKills, rollingRestart } from '../faults/scenes/restarts.ts';
import type { Outcome } from '../faults/scenes/stage.ts';

const TIME = 120_000;

function expectWell({ name, figures, problems }: Outcome): void {
  console.log(`${name}:`, figures);
  expect(problems, name).toEqual([]);
}

/** A scene of figures alone: where others use the machine, too, a second run decides. */
async function expectFigures(scene: () => Promise<Outcome>): Promise<void> {
  const first = await scene();
  if (first.problems.length > 0) console.log(`${first.name}, again:`, first.figures, first.problems);
  expectWell(first.problems.length > 0 ? await scene() : first);
}

test('a rolling restart of three services costs no GET and doubles no POST', { timeout: TIME }, async () => {
  expectWell(await rollingRestart({ rounds: 1, callers: 4, gapMs: 10 }));
});

test('kill -9 of one of three costs no GET, and POSTs at most those in flight', { timeout: TIME }, async () => {
  expectWell(await killEvery({ kills: 3, everyMs: 500, callers: 4, gapMs: 10 }));
});

test('no POST is acted on twice while services are killed', { timeout: TIME }, async () => {
  expectWell(await postsUnderKills(2_000, 4));
});

test('while everything is down requests fail fast, and are served soon after it is back', {
  timeout: TIME,
}, async () => {
  expectWell(await allDown(1_000));
});

test('an endpoint that is slow by two seconds is ejected, and nobody fails', { timeout: TIME }, async () => {
  await expectFigures(() => slowEndpoint(10));
});

test('an answer that is cut in its body never looks whole', { timeout: TIME }, async () => {
  expectWell(await midBodyDeaths(20));
});

test('callers that leave at any phase leave nothing open', { timeout: TIME }, async () => {
  expectWell(await clientAborts(60));
});

test('policy that changes all the time, and then is broken, costs no request and no connection', {
  timeout: TIME,
}, async () => {
  expectWell(await reloads({ changes: 40, broken: 20, everyMs: 120, callers: 2, mostGrowth: 0.5 }));
});

test('three times more than the sidecar can do costs no goodput, and readiness still answers', {
  timeout: TIME,
}, async () => {
  await expectFigures(() => overloadedSidecar(1));
});

test('three times more than a service can do is refused in time by adaptive concurrency', {
  timeout: TIME,
}, async () => {
  await expectFigures(() => overloadedService(3));
});
