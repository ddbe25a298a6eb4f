/** Policy that changes all the time, and policy that is broken, under callers who must not notice. */
import { setTimeout as pause } from 'node:timers/promises';
import { countLines, get, plain, residentBytes } from '../../integration/mesh.ts';
import { openClient } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { httpRoute } from '../../support/policy.ts';
import { Callers, listed, type Outcome, SERVICE, type Stage, setStage } from './stage.ts';

export interface ReloadScale {
  /** Changes that are written, and after them broken ones. */
  readonly changes: number;
  readonly broken: number;
  /** The folder must have been quiet for 100 ms before it is read: what comes faster is taken together. */
  readonly everyMs: number;
  readonly callers: number;
  /** Share of the memory at the beginning by which it may be more at the end. */
  readonly mostGrowth: number;
}

/** Changes after which the sidecar has all the memory that it needs for them. */
const WARM_CHANGES = 50;
const REST_MS = 7_000;
/** Of other Services, so that a snapshot has a size. */
const NEIGHBOURS = 50;

/** Only routes change, so not a single connection may end. */
export async function reloads({ changes, broken, everyMs, callers, mostGrowth }: ReloadScale): Promise<Outcome> {
  await using stage = await setStage();
  const { weft } = stage;
  await writing(stage, WARM_CHANGES, everyMs, (turn) => policy(stage, turn));
  await inForce(stage, WARM_CHANGES);
  const before = await bytesAtRest(weft.pid);
  const appliedBefore = countLines(weft, 'policy applied');
  const load = new Callers(weft, 'GET', callers, 10);
  const running = load.run();
  using client = await openClient(weft.ports.outbound);
  await writing(stage, changes, everyMs, async (turn) => {
    await client.exchange(get(SERVICE));
    return policy(stage, turn);
  });
  await inForce(stage, changes);
  const applied = countLines(weft, 'policy applied') - appliedBefore;
  await writing(stage, broken, everyMs, async (turn) => {
    await client.exchange(get(SERVICE));
    return [...policy(stage, turn), BREAKAGES[turn % BREAKAGES.length] as string];
  });
  await eventually(
    'the broken policy is refused',
    () => countLines(weft, 'policy problem') > 0 || broken === 0 || undefined,
  );
  const refused = await weft.metric('weft_policy_reloads_total', 'result="refused"');
  await writing(stage, 1, everyMs, () => policy(stage, changes + 1));
  await inForce(stage, changes + 1);
  load.stop();
  await running;
  const growth = (await bytesAtRest(weft.pid)) / before - 1;
  const figures = {
    changes,
    applied,
    broken,
    refused,
    GETs: load.sent,
    failed: load.failed,
    'memory MB': Math.round(before / 1e6),
    'growth %': (growth * 100).toFixed(1),
  };
  const problems = [
    ...(load.failed > 0 ? [`GETs failed: ${listed(load.failures)}`] : []),
    ...(applied === 0 ? ['no change was applied'] : []),
    ...(growth > mostGrowth ? [`memory grew by ${(growth * 100).toFixed(1)} %`] : []),
  ];
  return { name: 'reloads', figures, problems };
}

async function writing(
  { mesh }: Stage,
  count: number,
  everyMs: number,
  documents: (turn: number) => readonly string[] | Promise<readonly string[]>,
): Promise<void> {
  const startedAt = performance.now();
  for (let turn = 1; turn <= count; turn++) {
    mesh.write('caller', await documents(turn));
    await pause(Math.max(0, startedAt + turn * everyMs - performance.now()));
  }
}

/** Asks for what only the routes of this turn answer. */
async function inForce({ weft }: Stage, turn: number): Promise<void> {
  await eventually(`change ${turn} is in force`, async () => {
    using client = await openClient(weft.ports.outbound);
    return (await client.exchange(get(SERVICE, `/turn/${turn}`))).status === 302 || undefined;
  });
}

/** Resident bytes once the sidecar has had time to tidy up (proxy/memory-at-rest: five seconds without a change). */
async function bytesAtRest(pid: number): Promise<number> {
  await pause(REST_MS);
  return residentBytes(pid);
}

/** What policy gets wrong, in turn. */
const BREAKAGES: readonly string[] = [
  'kind: [\n',
  'apiVersion: v1\nkind: Service\nmetadata: {name: wrong}\nspec: {prots: []}\n',
  'apiVersion: v1\nkind: Nothing\nmetadata: {name: wrong}\n',
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${SERVICE}}\nspec: {}\n`,
  'a: &a [*a]\n',
];

/** Answers without asking anybody. */
const REDIRECT = { type: 'RequestRedirect', requestRedirect: { hostname: 'elsewhere', statusCode: 302 } };

/** Routes of which fifty are different every turn. */
function policy({ victims }: Stage, turn: number): string[] {
  const to = [{ name: SERVICE, port: 80 }];
  const rules = [
    { matches: [{ path: { type: 'Exact', value: `/turn/${turn}` } }], filters: [REDIRECT] },
    { matches: [{ path: { type: 'PathPrefix', value: '/' } }], backendRefs: to },
  ];
  const neighbours = Array.from({ length: NEIGHBOURS }, (_, i) => [
    ...plain({ name: `neighbour-${i}`, endpoints: [1] }),
    httpRoute({
      name: `neighbour-${i}`,
      parent: `neighbour-${i}`,
      rules: [{ matches: [{ path: { value: `/v${turn}` } }], backendRefs: to }, { backendRefs: to }],
    }),
  ]);
  const own = plain({ name: SERVICE, endpoints: victims.map(({ port }) => port) });
  return [...own, httpRoute({ name: SERVICE, parent: SERVICE, rules }), ...neighbours.flat()];
}
