import { expect, test } from 'vitest';
import type { Snapshot } from '../../proxy/config/snapshot.ts';
import type { Applied } from '../../proxy/data-thread.ts';
import { Rollout } from '../../proxy/rollout.ts';
import type { NameAnswer } from '../../proxy/upstream/names.ts';
import { ManualClock } from '../../shared/clock.ts';
import { service, snapshotOf } from '../support/policy-documents.ts';

const EXTERNAL = service('db', '{type: ExternalName, externalName: db.example, ports: [{port: 5432, name: tcp}]}');

/** Threads that take a snapshot when the test says so. */
class Fixture {
  readonly clock = new ManualClock();
  /** Handed to the threads, in order. */
  readonly begun: Snapshot[] = [];
  readonly log: string[] = [];
  says: readonly NameAnswer[] = [];
  private readonly waiting: ((applied: Applied) => void)[] = [];
  readonly rollout = new Rollout(
    (snapshot) => {
      this.begun.push(snapshot);
      return new Promise((resolve) => this.waiting.push(resolve));
    },
    this.clock,
    async () => this.says,
    {
      onApplied: ({ hash }, isNew) => this.log.push(`${isNew ? 'new' : 'addresses'} ${hash.slice(0, 6)}`),
      onRefused: ({ hash }, error) => this.log.push(`refused ${hash.slice(0, 6)}: ${error}`),
    },
  );

  /** The threads are through with the oldest that they have. */
  async done(error: string | null = null): Promise<void> {
    this.waiting.shift()?.({ error, longestTurnMs: 0 });
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function policy(name: string): Snapshot {
  return snapshotOf(service(name));
}

const short = ({ hash }: Snapshot): string => hash.slice(0, 6);

test('of what comes while a snapshot is on its way the newest follows it, and the others are never begun', async () => {
  const fixture = new Fixture();
  const [a, b, c] = [policy('a'), policy('b'), policy('c')];
  const all = fixture.rollout.apply(a);
  void fixture.rollout.apply(b);
  void fixture.rollout.apply(c);
  await fixture.done();
  await fixture.done();
  await all;
  expect(fixture.begun.map(short)).toEqual([short(a), short(c)]);
  expect(fixture.log).toEqual([`new ${short(a)}`, `new ${short(c)}`]);
});

test('one that a thread cannot use is told, and the next is tried all the same', async () => {
  const fixture = new Fixture();
  const [a, b] = [policy('a'), policy('b')];
  void fixture.rollout.apply(a);
  void fixture.rollout.apply(b);
  await fixture.done('no policy kind is named X');
  await fixture.done();
  expect(fixture.log).toEqual([`refused ${short(a)}: no policy kind is named X`, `new ${short(b)}`]);
});

test('a name is dialled as it is until its addresses are known, then each address is an endpoint', async () => {
  const fixture = new Fixture();
  const endpoints = (): (readonly string[])[] =>
    fixture.begun.map(({ clusters }) => clusters[0]?.endpoints.map(({ address }) => address) ?? []);
  const snapshot = snapshotOf(EXTERNAL);
  fixture.says = [
    { address: '10.0.0.1', ttlSeconds: 30 },
    { address: '10.0.0.2', ttlSeconds: 30 },
  ];
  void fixture.rollout.apply(snapshot);
  await fixture.done();
  await fixture.done();
  expect(endpoints()).toEqual([['db.example'], ['10.0.0.1', '10.0.0.2']]);
  fixture.says = [{ address: '10.0.0.3', ttlSeconds: 30 }];
  fixture.clock.advance(30_000);
  await fixture.done();
  await fixture.done();
  expect(endpoints().at(-1)).toEqual(['10.0.0.3']);
  expect(fixture.log).toEqual([
    `new ${short(snapshot)}`,
    `addresses ${short(snapshot)}`,
    `addresses ${short(snapshot)}`,
  ]);
  fixture.rollout.close();
  fixture.clock.advance(600_000);
  await fixture.done();
  expect(fixture.begun).toHaveLength(3);
});

test('policy that comes with known names has their addresses from the start', async () => {
  const fixture = new Fixture();
  fixture.says = [{ address: '10.0.0.1', ttlSeconds: 30 }];
  void fixture.rollout.apply(snapshotOf(EXTERNAL));
  await fixture.done();
  await fixture.done();
  void fixture.rollout.apply(snapshotOf(EXTERNAL + service('more', '{clusterIP: 10.9.9.9, ports: [{port: 80}]}')));
  await fixture.done();
  const last = fixture.begun.at(-1)?.clusters.find(({ service: name }) => name === 'db');
  expect(last?.endpoints).toEqual([expect.objectContaining({ address: '10.0.0.1', port: 5432, resolved: true })]);
  expect(fixture.begun).toHaveLength(3);
});

test('addresses that change while a newer policy is on its way do not bring the older one back', async () => {
  const fixture = new Fixture();
  const newer = EXTERNAL + service('more', '{clusterIP: 10.9.9.9, ports: [{port: 80}]}');
  const [a, b] = [snapshotOf(EXTERNAL), snapshotOf(newer)];
  fixture.says = [{ address: '10.0.0.1', ttlSeconds: 30 }];
  void fixture.rollout.apply(a);
  await fixture.done();
  await fixture.done();
  void fixture.rollout.apply(b);
  fixture.says = [{ address: '10.0.0.2', ttlSeconds: 30 }];
  fixture.clock.advance(30_000);
  await new Promise((resolve) => setImmediate(resolve));
  await fixture.done();
  await fixture.done();
  expect(fixture.log).toEqual([`new ${short(a)}`, `addresses ${short(a)}`, `new ${short(b)}`, `addresses ${short(b)}`]);
  const last = fixture.begun.at(-1)?.clusters.find(({ service: name }) => name === 'db');
  expect(last?.endpoints).toMatchObject([{ address: '10.0.0.2' }]);
});

test('addresses that change while a policy is on its way that no thread can use are those of the one that stays', async () => {
  const fixture = new Fixture();
  const [a, b] = [snapshotOf(EXTERNAL), policy('b')];
  fixture.says = [{ address: '10.0.0.1', ttlSeconds: 30 }];
  void fixture.rollout.apply(a);
  await fixture.done();
  await fixture.done();
  void fixture.rollout.apply(b);
  fixture.says = [{ address: '10.0.0.2', ttlSeconds: 30 }];
  fixture.clock.advance(30_000);
  await new Promise((resolve) => setImmediate(resolve));
  await fixture.done('no policy kind is named X');
  await fixture.done();
  expect(fixture.log.slice(2)).toEqual([`refused ${short(b)}: no policy kind is named X`, `addresses ${short(a)}`]);
});
