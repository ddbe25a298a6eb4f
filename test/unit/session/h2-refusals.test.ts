/** Requests of HTTP/2 that are refused before they become an exchange. */
import { expect, test } from 'vitest';
import { PREFACE } from '../../../proxy/http/h2-frames.ts';
import { H2Caller } from '../../interop/http2-peers.ts';
import { eventually } from '../../support/eventually.ts';
import { GET, headers, type Pair, settings } from '../../support/h2.ts';
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

test.each<[string, string, Pair[], string, string]>([
  ['answered', '/a%00b', [], 'bad_path', ':path cannot be normalised'],
  ['reset', '/', [['te', 'gzip']], 'malformed_header', 'TE says more than trailers'],
])('a refused request that is %s is told in the log, as over HTTP/1', async (_how, path, fields, word, detail) => {
  await using stage = await RoomStage.open({ protocol: 'http2' });
  using client = await stage.connect();
  const head: Pair[] = GET.map(([name, value]) => [name, name === ':path' ? path : value]);
  await client.write(Buffer.concat([PREFACE, settings(), headers(1, [...head, ...fields])]));
  await eventually('a line', () => stage.notices.length > 0 || undefined);
  expect(stage.notices).toMatchObject([{ direction: 'outbound', word, detail, downstream: '127.0.0.1' }]);
});
