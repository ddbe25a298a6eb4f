/** Requests of HTTP/2 that are refused before they become an exchange. */
import { expect, test } from 'vitest';
import { H2Caller } from '../../interop/http2-peers.ts';
import { RoomStage } from './room-stage.ts';

const MANY = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`x-${i}`, 'v']));

test.each([
  ['a path that is read in two ways', { ':path': '/a%00b' }, 400],
  ['an expectation that nobody knows', { expect: 'more' }, 417],
  ['more fields than the limit', MANY, 431],
])('HEAD with %s is refused without a body, as HEAD is', async (_what, fields, status) => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  using caller = new H2Caller(stage.port);
  const answer = await caller.ask({ ':method': 'HEAD', ':authority': 'app', ...fields });
  expect([answer.status, answer.reset, String(answer.body)]).toEqual([status, 0, '']);
  const whole = await caller.ask({ ':authority': 'app', ...fields });
  expect([whole.status, String(whole.body)]).toEqual([status, expect.stringContaining(': ')]);
});
