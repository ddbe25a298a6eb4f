import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { listenProblem } from '../../../shared/listen-error.ts';

const failed = (code: string): Error => Object.assign(new Error(`listen ${code}`), { code });

test('a listener that cannot be had is told with what to do about it', () => {
  expect(listenProblem(failed('EADDRINUSE'))).toContain('EADDRINUSE: something listens there already');
  expect(listenProblem(failed('EADDRNOTAVAIL'))).toBe('EADDRNOTAVAIL: no interface of this host has this address');
  expect(listenProblem(failed('EACCES'))).toMatch(/^EACCES: .*CAP_NET_BIND_SERVICE/);
});

test('an unusual error keeps its own words', () => {
  expect(listenProblem(failed('EMFILE'))).toBe('listen EMFILE');
  expect(listenProblem('odd')).toBe('odd');
});

test('the codes are those that the kernel gives', async () => {
  const nowhere = createServer().listen(0, '192.0.2.1');
  const [error] = (await once(nowhere, 'error')) as [Error];
  expect(listenProblem(error)).toMatch(/^EADDRNOTAVAIL: /);
});
