/** More connections than file descriptors allow are turned away; what has begun, readiness and the admin port go on. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectionLimit } from '../../proxy/net/overload.ts';
import { get } from '../integration/mesh.ts';
import type { RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { Stage } from './stage.ts';

const DESCRIPTORS = 400;
const MOST = connectionLimit(DESCRIPTORS, 1);

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({ descriptors: DESCRIPTORS });
});
afterAll(() => stage[Symbol.asyncDispose]());

const open = (): Promise<number> => stage.weft.metric('weft_downstream_connections');
const turnedAway = (): Promise<number> => stage.weft.metric('weft_refusals_total', 'word="overloaded"');

test('a flood of connections leaves descriptors for those that are served, for readiness and for administration', async () => {
  stage.begin();
  const served: RawClient = await stage.outbound();
  const flood = await Promise.all(Array.from({ length: 3 * MOST }, () => stage.outbound()));
  const refused = await eventually('the surplus is turned away', async () => {
    const count = await turnedAway();
    return count > 2 * MOST ? count : undefined;
  });
  expect(refused).toBe(flood.length + 1 - MOST);
  expect(await open()).toBe(MOST);
  expect((await served.exchange(get('app', '/begun'))).status).toBe(200);
  expect(await stage.weft.isReady()).toBe(true);
  expect((await stage.weft.ask('admin', '/clusters')).status).toBe(200);
  for (const client of flood) client.close();
  await eventually('they are gone', async () => (await open()) === 1 || undefined);
  expect((await stage.victim('/after')).body.toString()).toBe('/after');
  served.close();
});
