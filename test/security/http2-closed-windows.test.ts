/** Callers of HTTP/2 whose windows are closed: what is said to them waits, and nothing of it is lost. */
import { expect, test } from 'vitest';
import * as f from '../../proxy/http/h2-frames.ts';
import { frame, framesIn, headers, POST, settings, uint32 } from '../support/h2.ts';
import { RoomStage } from '../unit/session/room-stage.ts';

test.each([
  ['whole', f.END_HEADERS | f.END_STREAM, ['DATA', 'DATA END']],
  ['unfinished', f.END_HEADERS, ['DATA', 'DATA END', 'RST_STREAM NO_ERROR']],
])('a refusal of a request that is %s waits for its window', async (_what, flags, expected) => {
  await using stage = await RoomStage.open();
  using client = await stage.connect();
  const request = POST.map(([name, value]) => [name, name === ':path' ? '/%00' : value] as const);
  const hello = [f.PREFACE, settings([4, 0]), frame(f.SETTINGS, f.ACK, 0)];
  await client.write(Buffer.concat([...hello, headers(1, request, flags)]));
  const refused = await client.until(() => told(client.received).find((line) => line === 'HEADERS 1'));
  expect(refused).toBe('HEADERS 1');
  await client.write(frame(f.WINDOW_UPDATE, 0, 1, uint32(10_000)));
  const rest = (): string[] => {
    const lines = told(client.received);
    return lines.slice(lines.indexOf('HEADERS 1') + 1).map((line) => line.replace(/ 1( \d+)?/, ''));
  };
  const all = await client.until(() => (rest().length >= expected.length ? rest() : undefined));
  expect(all).toEqual(expected);
});

/** The whole frames of what came. */
function told(bytes: Buffer): string[] {
  let end = 0;
  while (end + 9 <= bytes.length && end + 9 + bytes.readUIntBE(end, 3) <= bytes.length) {
    end += 9 + bytes.readUIntBE(end, 3);
  }
  return framesIn(bytes.subarray(0, end));
}
