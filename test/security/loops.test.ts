/** A request that leads back to the sidecar it came through is found out, by whatever name it goes. */
import { hostname } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { get, wordOf } from '../integration/mesh.ts';
import { openClient } from '../support/client.ts';
import { Stage } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a request to the own outbound listener', () => {
  test.for(['127.0.0.1', 'localhost', 'LOCALHOST.', '0.0.0.0', '127.0.0.2', '[::ffff:127.0.0.1]', '[::]', hostname()])(
    'as %s',
    async (host) => {
      const { outbound } = stage.weft.ports;
      const before = await stage.weft.metric('weft_downstream_connections');
      using client = await openClient(outbound);
      await client.write(get(`${host}:${outbound}`));
      const answer = await client.answer('GET', 5_000);
      expect(answer.status).toBe(502);
      expect(wordOf(answer)).toMatch(/^(loop_detected|connect_refused|connect_failed|dns_error)$/);
      expect((await stage.weft.metric('weft_downstream_connections')) - before).toBeLessThan(5);
    },
  );
});
