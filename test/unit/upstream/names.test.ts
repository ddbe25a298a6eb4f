import { expect, test } from 'vitest';
import { type NameAnswer, Names } from '../../../proxy/upstream/names.ts';
import { ManualClock } from '../../../shared/clock.ts';

/** Names asked of a DNS that says what the test wants; every question must be answered before time goes on. */
class Fixture {
  readonly clock = new ManualClock();
  readonly asked: string[] = [];
  /** null: nobody answers. */
  says: readonly NameAnswer[] | null = [];
  changes = 0;
  readonly names = new Names(
    this.clock,
    async (name) => {
      this.asked.push(name);
      if (this.says === null) throw new Error('no server');
      return this.says;
    },
    () => this.changes++,
  );

  async watch(...names: string[]): Promise<void> {
    this.names.watch(new Set(names));
    await settled();
  }

  async pass(seconds: number): Promise<void> {
    this.clock.advance(seconds * 1_000);
    await settled();
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function at(ttlSeconds: number, ...addresses: string[]): NameAnswer[] {
  return addresses.map((address) => ({ address, ttlSeconds }));
}

test('a name is asked for at once, and again when its time to live is over', async () => {
  const dns = new Fixture();
  dns.says = at(30, '10.0.0.2', '10.0.0.1');
  await dns.watch('db.example');
  expect(dns.names.addressesOf('db.example')).toEqual(['10.0.0.1', '10.0.0.2']);
  await dns.pass(29);
  expect(dns.asked).toHaveLength(1);
  dns.says = at(30, '10.0.0.3');
  await dns.pass(2);
  expect(dns.asked).toHaveLength(2);
  expect(dns.names.addressesOf('db.example')).toEqual(['10.0.0.3']);
  expect(dns.changes).toBe(2);
});

test('the shortest time to live counts, but five seconds are the least and five minutes the most', async () => {
  const dns = new Fixture();
  dns.says = [...at(60, '10.0.0.1'), ...at(0, '10.0.0.2')];
  await dns.watch('db.example');
  await dns.pass(4);
  expect(dns.asked).toHaveLength(1);
  dns.says = at(86_400, '10.0.0.1');
  await dns.pass(1);
  await dns.pass(299);
  expect(dns.asked).toHaveLength(2);
  await dns.pass(1);
  expect(dns.asked).toHaveLength(3);
});

test('the same addresses in another order are no change', async () => {
  const dns = new Fixture();
  dns.says = at(5, '10.0.0.1', '10.0.0.2');
  await dns.watch('db.example');
  dns.says = at(5, '10.0.0.2', '10.0.0.1', '10.0.0.2');
  await dns.pass(5);
  expect([dns.asked.length, dns.changes]).toEqual([2, 1]);
});

test.each([
  ['without an answer', null],
  ['with empty answers', []],
])('%s the last good addresses stay for five minutes, then none, and come back with DNS', async (_case, silence) => {
  const dns = new Fixture();
  dns.says = at(30, '10.0.0.1');
  await dns.watch('db.example');
  dns.says = silence;
  for (let elapsed = 0; elapsed < 295; elapsed += 5) await dns.pass(5);
  expect(dns.names.addressesOf('db.example')).toEqual(['10.0.0.1']);
  // Asked at 30 s, then after pauses of 5, 10, 20, 40 and 60 s.
  expect(dns.asked).toHaveLength(9);
  for (let elapsed = 0; elapsed < 65; elapsed += 5) await dns.pass(5);
  expect(dns.names.addressesOf('db.example')).toEqual([]);
  dns.says = at(30, '10.0.0.1');
  for (let elapsed = 0; elapsed < 60; elapsed += 5) await dns.pass(5);
  expect(dns.names.addressesOf('db.example')).toEqual(['10.0.0.1']);
  expect(dns.changes).toBe(3);
});

test('of a huge answer 256 addresses are kept', async () => {
  const dns = new Fixture();
  dns.says = at(5, ...Array.from({ length: 5_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`));
  await dns.watch('db.example');
  expect(dns.names.addressesOf('db.example')).toHaveLength(256);
});

test('what is watched no longer is asked for no longer, and an answer that comes late changes nothing', async () => {
  const dns = new Fixture();
  dns.says = at(5, '10.0.0.1');
  dns.names.watch(new Set(['gone.example', 'kept.example']));
  dns.names.watch(new Set(['kept.example']));
  await settled();
  expect([dns.changes, dns.names.addressesOf('gone.example')]).toEqual([1, []]);
  await dns.pass(5);
  expect(dns.asked).toEqual(['gone.example', 'kept.example', 'kept.example']);
  dns.names.close();
  await dns.pass(60);
  expect(dns.asked).toHaveLength(3);
});
