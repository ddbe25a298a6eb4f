import { closeSync, fstatSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { expect, test } from 'vitest';
import { bind } from '../../../proxy/listener/bind.ts';
import { GivenSocket } from '../../../proxy/listener/given-socket.ts';

const dup2 = koffi.load(null).func('int dup2(int from, int to)') as (from: number, to: number) => number;

function boundSocket(): number {
  const [binding] = bind('127.0.0.1', 0, 1);
  if (binding === undefined) throw new Error('nothing is bound');
  const [fd = -1, ...others] = binding.duplicate();
  for (const other of others) closeSync(other);
  binding.close();
  return fd;
}

test('a socket that nobody adopted is closed, once', () => {
  const fd = boundSocket();
  const given = new GivenSocket(fd);
  given.close();
  expect(() => fstatSync(fd)).toThrow('EBADF');
  given.close();
});

test.each<[string, () => number]>([
  ['a file', () => openSync('/dev/null', 'r')],
  ['another socket', boundSocket],
])('a number that has gone to %s since is left alone', (_what, open) => {
  const fd = boundSocket();
  const given = new GivenSocket(fd);
  const other = open();
  dup2(other, fd);
  given.close();
  expect(fstatSync(fd).ino).toBe(fstatSync(other).ino);
  for (const descriptor of [fd, other]) closeSync(descriptor);
});
