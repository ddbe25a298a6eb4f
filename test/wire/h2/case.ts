/** One case of the HTTP/2 wire suite: frames to a server, what it answers, what its owner hears. */
import { expect } from 'vitest';
import { framesIn, greetedServer } from '../../support/h2.ts';

export interface Case {
  readonly says: string;
  readonly gets: readonly Buffer[];
  /** A connection error, or that of stream 1, or what it answers at least; nothing: all is well. */
  readonly fails?: string;
  readonly resets?: string;
  readonly sends?: readonly string[];
  readonly tells?: readonly string[];
}

export function check(entry: Case): void {
  const server = greetedServer();
  server.feed(...entry.gets);
  const sent = framesIn(server.take());
  const goaway = sent.filter((line) => line.startsWith('GOAWAY')).map((line) => line.split(' ')[2]);
  const resets = sent.filter((line) => line.startsWith('RST_STREAM'));
  expect(goaway).toEqual(entry.fails === undefined ? [] : [entry.fails]);
  if (entry.fails === undefined)
    expect(resets).toEqual(entry.resets === undefined ? [] : [`RST_STREAM ${entry.resets}`]);
  if (entry.sends !== undefined) expect(sent).toEqual(entry.sends);
  if (entry.tells !== undefined) expect(server.lines).toEqual(entry.tells);

  const slow = greetedServer();
  for (const byte of Buffer.concat(entry.gets)) slow.feed(Buffer.from([byte]));
  expect(slow.lines).toEqual(server.lines);
}
