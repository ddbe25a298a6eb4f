/** A policy folder while the process is out of file descriptors: looking at names still works, opening files does not. */
import { expect, test, vi } from 'vitest';
import { PolicySource } from '../../../proxy/config/sources.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { policyFolder, service } from '../../support/policy.ts';

const descriptors = vi.hoisted(() => ({ left: true }));
vi.mock(import('node:fs/promises'), async (importOriginal) => {
  const real = await importOriginal();
  const open: typeof real.open = (...args) =>
    descriptors.left
      ? real.open(...args)
      : Promise.reject(Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' }));
  return { ...real, open };
});

test('a policy that could not be read is read again, though its files do not change', async () => {
  using folder = policyFolder([service({ name: 'a', ports: [{ port: 80 }] })]);
  const clock = new ManualClock();
  const problems: string[] = [];
  const applied = Promise.withResolvers<void>();
  const source = new PolicySource(
    folder.path,
    { namespace: 'default', labels: {}, serviceAccount: 'default' },
    {
      onSnapshot: () => applied.resolve(),
      onProblems: ([problem]) => problems.push(problem?.message ?? ''),
      onTestFailures: () => {},
    },
    clock,
  );
  descriptors.left = false;
  await source.start();
  clock.advance(5_000);
  await source.reload();
  expect(problems).toEqual(['cannot be read (EMFILE)']);
  descriptors.left = true;
  clock.advance(5_000);
  await applied.promise;
  source.close();
});
